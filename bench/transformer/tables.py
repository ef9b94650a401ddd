"""What the command prints: counts, latencies, parts, and latencies beside other libraries."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval, of_threads, seconds
from bench.transformer.libraries import OURS
from bench.workloads.model import Model

Row = Mapping[str, Any]


def count_columns(dtype: str) -> Sequence[Column[Row]]:
    """Of rows of analytic()."""
    return (
        Column("tokens", lambda r: str(r["length"]), once=True),
        Column("operator", lambda r: r["operator"], left=True),
        Column("GFLOP", lambda r: f"{r['flops'] / 1e9:,.2f}"),
        Column("GMOP", lambda r: f"{r['mops'] / 1e9:,.3f}"),
        Column("FLOP/MOP", lambda r: f"{r['flop_per_mop']:.2f}"),
        Column(f"GB in {dtype}", lambda r: f"{r['bytes'] / 1e9:,.3f}"),
        Column(f"FLOP/byte in {dtype}", lambda r: f"{r['flop_per_byte']:.2f}"),
    )


def counts_table(model: Model, phase: str, rows: Sequence[Row], dtype: str) -> Table:
    work = "generating all tokens one by one, with a KV cache" if phase == "decode" else "one pass over all tokens"
    return table(
        f"{model.name}, {phase}: {work}",
        count_columns(dtype),
        rows,
        group=lambda r: r["length"],
        style=lambda r: "bold" if r["operator"] == "total" else None,
    )


def _milliseconds(figure: Mapping[str, float]) -> str:
    return interval({key: 1e3 * value for key, value in figure.items()}, 1)


LATENCY: Sequence[Column[Row]] = (
    Column("model", lambda r: r["model"], left=True),
    Column("phase", lambda r: r["phase"], "decode: all tokens one by one, from an empty cache;", left=True),
    Column("tokens", lambda r: str(r["length"])),
    Column("kernels", lambda r: r["backend"], left=True),
    Column("ms [95 %]", lambda r: _milliseconds(r["seconds"])),
    Column(
        "BERT-Base, 128 = 1",
        lambda r: "" if r["normalised"] is None else f"{r['normalised']:.2f}",
        "1 is BERT-Base on the same kernels;",
    ),
    Column(
        "paper",
        lambda r: "" if r["paper"] is None else f"{r['paper']:g}",
        "paper: Intel Gold 6242, framework not stated.",
    ),
    Column("GFLOP", lambda r: f"{r['executed']['flops'] / 1e9:,.1f}"),
    Column("GB from memory", lambda r: f"{r['executed']['cold_bytes'] / 1e9:,.2f}"),
    Column("GFLOP/s", lambda r: f"{r['gflops']:.1f}"),
    Column("% of peak", lambda r: f"{100 * r['share_of_peak']:.1f}", "Peak and read bandwidth are this session's."),
    Column("GB/s", lambda r: f"{r['gbytes']:.1f}"),
    Column("% of read", lambda r: f"{100 * r['share_of_read']:.1f}"),
    Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
)


def latency_table(rows: Sequence[Row]) -> Table:
    return table("Latency", LATENCY, rows)


Part = Sequence[Row]
"""A part of a model, on each backend in turn."""


def part_columns(rows: Sequence[Row]) -> Sequence[Column[Part]]:
    """What a part does, and how long each row's backend takes for it."""

    def of(b: int) -> Sequence[Column[Part]]:
        whole = sum(part["seconds"] for part in rows[b]["parts"])
        return (
            Column(f"{rows[b]['backend']}: time", lambda p: seconds(p[b]["seconds"])),
            Column("% of all", lambda p: f"{100 * p[b]['seconds'] / whole:.1f}"),
            Column("% of bound", lambda p: f"{100 * p[b]['bound_seconds'] / p[b]['seconds']:.0f}"),
        )

    return (
        Column("part", lambda p: p[0]["name"], left=True),
        Column("calls", lambda p: str(p[0]["calls"])),
        Column("GFLOP", lambda p: f"{p[0]['flops'] / 1e9:.3f}"),
        Column("MB from memory", lambda p: f"{p[0]['cold_bytes'] / 1e6:,.1f}"),
        Column("MB in caches", lambda p: f"{p[0]['hot_bytes'] / 1e6:,.1f}"),
        Column("bound", lambda p: seconds(p[0]["bound_seconds"])),
        *(column for b in range(len(rows)) for column in of(b)),
    )


def parts_table(rows: Sequence[Row]) -> Table:
    """The parts of one model, phase and length, the longest first."""
    first = rows[0]
    took = " and ".join(f"{seconds(row['seconds']['value'])} in {row['backend']}" for row in rows)
    parts: list[Part] = list(zip(*(row["parts"] for row in rows), strict=True))
    return table(
        f"{first['model']}, {first['phase']}, {first['length']} tokens: {took}, part by part",
        part_columns(rows),
        sorted(parts, key=lambda part: -part[0]["seconds"]),
    )


Beside = tuple[Row, str]
"""A row of LibraryLatency, and one of those that took part."""


def _over(one: Beside) -> Text:
    row, name = one
    colour = "" if name != row["best_library"] else "bold green" if row["over_best"] >= 1 else "bold red"
    times = row["seconds"][name]["value"] / row["seconds"][OURS]["value"]
    return Text("" if name == OURS else f"{times:.2f}", style=colour)


BESIDE: Sequence[Column[Beside]] = (
    Column("model", lambda b: b[0]["model"], "Medians of samples taken in turn.", left=True, once=True),
    Column("phase", lambda b: b[0]["phase"], left=True, once=True),
    Column("tokens", lambda b: str(b[0]["length"]), once=True),
    Column("by", lambda b: b[1], left=True),
    Column("ms [95 %]", lambda b: _milliseconds(b[0]["seconds"][b[1]])),
    Column("tokens/s", lambda b: f"{b[0]['tokens_per_second'][b[1]]:,.1f}"),
    Column(
        "% of peak",
        lambda b: f"{100 * b[0]['share_of_peak'][b[1]]:.0f}",
        "% of peak and of read: the FLOPs and the bytes from memory that C executes, over each one's time, beside this "
        "session's FMA peak and read bandwidth.",
    ),
    Column("% of read", lambda b: f"{100 * b[0]['share_of_read'][b[1]]:.0f}"),
    Column(
        "C / library",
        _over,
        "C / library: how many times the library's speed C's is; of the fastest library in colour. decode: all tokens "
        "one by one, from an empty cache.",
    ),
)


def beside_table(rows: Sequence[Row]) -> Table:
    title = f"Latency beside other libraries, {of_threads(rows[0]['threads'])}, f32"
    entries = [(row, name) for row in rows for name in row["seconds"]]
    return table(title, BESIDE, entries, group=lambda b: id(b[0]))
