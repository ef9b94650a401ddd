"""What training holds and what a step took, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.memory.sizes import Sizes
from bench.quantities import plural
from bench.record.intervals import Interval
from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval

Row = Mapping[str, Any]


def _mib(name: str, heading: str, caption: str = "") -> Column[Row]:
    return Column(heading, lambda r: f"{r[name] / 2**20:.1f}", caption)


def step_columns(layers: int) -> Sequence[Column[Row]]:
    """Of rows of bench.memory.experiment.compared(), whose chain has so many layers."""
    return (
        Column("every k layers", lambda r: str(r["interval"]) + (" (all kept)" if r["interval"] == layers else "")),
        _mib("peak_bytes", "MiB", "Gradients are equal in every bit."),
        _mib("traced_bytes", "tracemalloc"),
        _mib("predicted_bytes", "predicted"),
        Column("less memory", lambda r: f"{r['less_memory']:.2f}x"),
        Column(
            "uniform chain",
            lambda r: f"{r['less_memory_uniform']:.2f}x",
            "uniform chain: were a layer's activations no larger than a checkpoint.",
        ),
        Column("s per step", lambda r: f"{r['median']['value']:.3f}"),
        Column(
            "more time, %",
            lambda r: interval(Interval(**r["more_time"]).scaled(100).as_dict(), 0),
            "more time: median of the rounds, each over its own round's step with all kept [95 %];",
        ),
        Column("best, %", lambda r: f"{100 * r['more_time_best']:.0f}", "best: best over best."),
        Column(
            "by FLOPs, %",
            lambda r: f"{100 * r['more_time_by_flops']:.0f}",
            "by FLOPs: the backward pass has twice the forward's; what stays in cache until it is needed can take less "
            "time than that.",
        ),
        Column("grade", lambda r: r["grade"] or "-", "grade: by how far its visits differ, as trust's."),
    )


def steps_table(sizes: Sizes, rows: Sequence[Row]) -> Table:
    chain = f"{sizes.layers} FFN layers of {sizes.width} x {sizes.ffn}, {plural(sizes.rows, 'token')}"
    return table(
        f"Rematerialisation: {chain}, f32",
        step_columns(sizes.layers),
        rows,
        "MiB: the most that a step holds beside its weights and their gradients, which take "
        f"{sizes.fixed_bytes / 2**20:.0f} MiB more.",
    )


def _both(name: str, caption: str = "") -> Column[Row]:
    """Printed, and counted where it is."""

    def cell(row: Row) -> str:
        return f"{row[name] / 1e9:.2f}" + (f" / {row['held'][name] / 1e9:.2f}" if row["held"] else "")

    return Column(f"{name}, GB", cell, caption)


TRAINING: Sequence[Column[Row]] = (
    Column("model", lambda r: r["name"], "printed / counted.", left=True),
    Column("tokens", lambda r: str(r["length"]) if r["held"] else ""),
    Column("batch", lambda r: str(r["batch"])),
    _both("parameters"),
    _both("optimizer"),
    _both("activations"),
    Column(
        "gradients, GB",
        lambda r: f"{r['held']['gradients'] / 1e9:.2f}" if r["held"] else "",
        "The paper's totals have no gradients, the counted ones do.",
    ),
    _both(
        "total",
        "Counted: Adam, no dropout, everything that the backward pass reads. How the paper counts activations isn't "
        "stated.",
    ),
    Column(
        "remark",
        lambda r: r["remark"] or ("" if r["held"] else "not a stack of equal Transformer layers: not counted"),
        left=True,
    ),
)


def training_table(rows: Sequence[Row]) -> Table:
    return table("Training memory in f32: the paper's Fig. 4, and this model's count of it", TRAINING, rows)


def _part(name: str) -> Column[Row]:
    return Column(f"{name}, GB", lambda r: f"{r[name] / 1e9:,.2f}")


PARTS = tuple(map(_part, ("parameters", "gradients", "optimizer", "activations", "total")))


def own_table(own: Row) -> Table:
    title = f"Training memory of {own['model']}, {own['batch']} x {plural(own['length'], 'token')}, Adam, f32"
    return table(title, PARTS, [own], own["remark"])
