"""What the command prints: counts, latencies, parts, and latencies beside other libraries."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval, of_threads, seconds
from bench.transformer.rows import place_label
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
        model.beyond(max(r["length"] for r in rows)),
        group=lambda r: r["length"],
        style=lambda r: "bold" if r["operator"] == "total" else None,
    )


def _milliseconds(figure: Mapping[str, float]) -> str:
    return interval({key: 1e3 * value for key, value in figure.items()}, 1)


def percent(figure: Mapping[str, float] | None) -> str:
    return "-" if figure is None else f"{figure['value']:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}"


def _whole(figure: Mapping[str, float]) -> str:
    """Milliseconds with their interval, as many digits as say something."""
    return interval({key: 1e3 * value for key, value in figure.items()}, 0 if figure["value"] >= 1 else 1)


def graded(row: Row) -> str:
    """By how far its visits differ, and how many of its samples were disturbed."""
    return (row["grade"] or "-") + (f" {row['marked']}/{row['samples']}" if row["marked"] else "")


LATENCY: Sequence[Column[Row]] = (
    Column(
        "model",
        lambda r: f"{r['model']} {r['phase']}",
        "decode: all tokens one by one, from an empty cache;",
        True,
        True,
    ),
    Column("tokens", lambda r: str(r["length"]), once=True),
    Column("by", lambda r: r["backend"], left=True),
    Column("ms [95 %]", lambda r: _whole(r["seconds"]), "medians of samples from three passes;"),
    Column(
        "% of\nbound",
        lambda r: percent(r["percent_of_bound"]),
        "bound: what FMA peak and read bandwidth of the same rounds allow, call by call;",
    ),
    Column(
        "BERT = 1",
        lambda r: "-" if r["normalised"] is None else f"{r['normalised']['value']:.2f}",
        "1 is BERT-Base at 128 tokens on the same kernels, timed in the same rounds;",
    ),
    Column(
        "paper",
        lambda r: "" if r["paper"] is None else f"{r['paper']:g}",
        "paper: Intel Gold 6242, framework not stated.",
    ),
    Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
    Column(
        "grade",
        graded,
        "grade: by how far its visits differ, as trust's; 2/9: two of nine samples were disturbed.",
        True,
    ),
)
"""On one screen."""

WIDE: Sequence[Column[Row]] = (
    *LATENCY,
    Column("GFLOP/s", lambda r: f"{r['gflops']:.1f}"),
    Column("% of peak", lambda r: _share(r["share_of_peak"]), "Peak and read bandwidth are this session's."),
    Column("GB/s", lambda r: f"{r['gbytes']:.1f}", "GB/s: of weights and KV cache."),
    Column("% of read", lambda r: _share(r["share_of_read"])),
    Column("remark", lambda r: r["note"] or "", left=True),
)
"""On the page."""


def latency_table(rows: Sequence[Row]) -> Table:
    title = f"Latency, {of_threads(rows[0]['threads'])}, {rows[0]['dtype']}"
    return table(title, LATENCY, rows, group=lambda r: (r["model"], r["phase"], r["length"]), ruled=False)


Part = Sequence[Row]
"""A part of a model, on each backend in turn."""


def part_columns(rows: Sequence[Row]) -> Sequence[Column[Part]]:
    """What a part does, and how long each row's backend takes for it."""

    def of(b: int) -> Sequence[Column[Part]]:
        whole = sum(part["seconds"]["value"] for part in rows[b]["parts"])
        return (
            Column(f"{rows[b]['backend']}: time", lambda p: seconds(p[b]["seconds"]["value"])),
            Column("% of all", lambda p: f"{100 * p[b]['seconds']['value'] / whole:.1f}"),
            Column("% of bound", lambda p: percent(p[b]["percent_of_roof"])),
        )

    return (
        Column("part", lambda p: p[0]["name"], left=True),
        Column("calls", lambda p: str(p[0]["calls"])),
        Column("GFLOP", lambda p: f"{p[0]['flops'] / 1e9:.3f}"),
        Column("MB from memory", lambda p: f"{p[0]['cold_bytes'] / 1e6:,.1f}"),
        Column("MB in caches", lambda p: f"{p[0]['hot_bytes'] / 1e6:,.1f}"),
        Column("bound", lambda p: "-" if p[0]["bound_seconds"] is None else seconds(p[0]["bound_seconds"])),
        *(column for b in range(len(rows)) for column in of(b)),
    )


def parts_table(rows: Sequence[Row]) -> Table:
    """The parts of one model, phase and length, the longest first."""
    first = rows[0]
    took = " and ".join(f"{seconds(row['seconds']['value'])} in {row['backend']}" for row in rows)
    parts: list[Part] = list(zip(*(row["parts"] for row in rows), strict=True))
    return table(
        f"{place_label(first)}: {took}, part by part",
        part_columns(rows),
        sorted(parts, key=lambda part: -part[0]["seconds"]["value"]),
    )


Beside = tuple[Row, str]
"""A row of LibraryLatency, and one of those that took part."""


def _over(one: Beside) -> Text:
    row, name = one
    ratio = row["over"].get(name)
    if ratio is None:
        return Text("")
    colour = "" if name != row["best_library"] else "bold green" if ratio["value"] >= 1 else "bold red"
    return Text(interval(ratio), style=colour)


BESIDE: Sequence[Column[Beside]] = (
    Column(
        "model", lambda b: b[0]["model"], "Medians of samples taken in turn, in three passes.", left=True, once=True
    ),
    Column("phase", lambda b: b[0]["phase"], left=True, once=True),
    Column("tokens", lambda b: str(b[0]["length"]), once=True),
    Column("by", lambda b: b[1], left=True),
    Column("ms [95 %]", lambda b: _milliseconds(b[0]["seconds"][b[1]])),
    Column("tokens/s", lambda b: f"{b[0]['tokens_per_second'][b[1]]:,.1f}"),
    Column(
        "% of peak",
        lambda b: _share(b[0]["share_of_peak"].get(b[1])),
        "% of peak and of read: the FLOPs and the bytes from memory that C executes, over each one's time, beside this "
        "session's FMA peak and read bandwidth.",
    ),
    Column("% of read", lambda b: _share(b[0]["share_of_read"].get(b[1]))),
    Column(
        "C / library",
        _over,
        "C / library: how many times the library's speed C's is, round by round, the median [95 %]; of the fastest "
        "library in colour. decode: all tokens one by one, from an empty cache.",
    ),
)


def beside_table(rows: Sequence[Row]) -> Table:
    title = f"Latency beside other libraries, {of_threads(rows[0]['threads'])}, f32"
    entries = [(row, name) for row in rows for name in row["seconds"]]
    return table(title, BESIDE, entries, group=lambda b: id(b[0]))
