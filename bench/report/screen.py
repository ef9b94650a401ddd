"""What a session ends with: one screen for a terminal, and the page of Markdown beside its record."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from rich.console import Group, RenderableType
from rich.text import Text

from bench.comparison.families import role
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.report.classes import Class, Member, classes, members
from bench.report.columns import KERNELS, RIDGES, STYLES, Column, sizes
from bench.report.tables import caption_of, escaped, kernels_of, kernels_table, markdown, ridges_of, table
from bench.report.text import compiled_text, interval, machine_line, spread, trust_text
from bench.report.words import answer

T = TypeVar("T")
ABREAST = 5  # contestants in a table
EXTREMES = 3
BY_CLASS = "Kernels by class, in % of roof"
EXTREME_ROWS = "Rows nearest to their roof, and farthest from it"
LEVELS = ("L3", "L2", "L1")


# --- classes of rows


def _percent(of: Interval | None) -> str:
    if of is None:
        return "-"
    half = max(of.shown.high - of.value, of.value - of.shown.low)
    return f"{of.value:.0f} ±{half:.0f}" if half else f"{of.value:.0f}"


MEANING = (
    "Geometric means over rows, ± 95 %. Rows: m memory-bound (left of the ridge), c compute-bound (right of it), "
    "n neither (below half of their roof), u undecided, ! above their roof."
)
LETTERS = {"memory-bound": "m", "compute-bound": "c", "neither": "n", "undecided": "u", "above": "!"}


def _verdicts(of: Class) -> str:
    counts = of.verdicts
    return ", ".join(f"{counts[name]} {letter}" for name, letter in LETTERS.items() if counts[name])


def class_columns(contestants: Sequence[str], types: bool) -> Sequence[Column[Class]]:
    """% of roof by contestant; types: whether they differ."""

    def percent(name: str) -> Column[Class]:
        return Column(name.replace(" ", "\n"), lambda c: _percent(c.percent(name)))

    return (
        Column("% of roof", lambda c: c.name, left=True),
        *([Column[Class]("types", lambda c: c.types, left=True)] if types else []),
        Column("threads", lambda c: c.role, left=True),
        *map(percent, contestants),
        Column("verdicts", _verdicts, left=True),
    )


def _class_tables(found: Sequence[Class]) -> Iterator[tuple[Sequence[Column[Class]], Sequence[Class]]]:
    names = list(dict.fromkeys(name for one in found for name in one.contestants))
    types = len({one.types for one in found}) > 1
    for some in (names[i : i + ABREAST] for i in range(0, len(names), ABREAST)):
        yield class_columns(some, types), [one for one in found if set(some) & set(one.contestants)]


# --- rows


def _verdict(member: Member) -> Text:
    if "error" in member.figures:
        return Text("above roof", "bold red")
    return Text(member.figures["verdict"], STYLES[member.figures["verdict"]])


def _row_percent(member: Member) -> str:
    return _percent(Interval(**member.figures["percent_of_roof"]))


ROWS: Sequence[Column[Member]] = (
    Column("highest, lowest", lambda m: f"{m.key.operation} {m.key.types} {m.row['backend']}", left=True),
    Column("dims", lambda m: sizes(m.row["dims"])),
    Column("data", lambda m: "cold" if m.row["cold"] else f"hot {m.row['level']}", left=True),
    Column("threads", lambda m: m.key.role, left=True),
    Column("% of roof", _row_percent),
    Column("grade", lambda m: m.figures.get("grade", "-")),
    Column("verdict", _verdict, left=True),
)


def extremes(found: Sequence[Member]) -> list[Member]:
    """The rows nearest to their roof and those farthest from it, best first."""
    known = sorted((m for m in found if "percent_of_roof" in m.figures), key=_value, reverse=True)
    return known if len(known) <= 2 * EXTREMES else known[:EXTREMES] + known[-EXTREMES:]


def _value(member: Member) -> float:
    return member.figures["percent_of_roof"]["value"]


# --- roofs


class Roof(NamedTuple):
    """The roofs of a role of threads under one peak."""

    role: str
    peak: tuple[str, str] | None
    flops: Interval | None
    reads: Mapping[str, Interval]
    ridge: Interval | None


def _rate(of: Interval | None) -> str:
    return "-" if of is None else f"{of.value / 1e9:.{0 if of.value >= 1e11 else 1}f} {spread(of.as_dict())}"


def _level(level: str) -> Column[Roof]:
    return Column(level, lambda r: f"{r.reads[level].value / 1e9:.0f}" if level in r.reads else "-")


ROOFS: Sequence[Column[Roof]] = (
    Column("roofs", lambda r: " ".join(r.peak) if r.peak else "-", left=True),
    Column("threads", lambda r: r.role, left=True),
    Column("GFLOP/s,\nGOP/s", lambda r: _rate(r.flops)),
    Column("memory GB/s", lambda r: _rate(r.reads.get("DRAM"))),
    *map(_level, LEVELS),
    Column("ridge", lambda r: interval(r.ridge.as_dict(), 1) if r.ridge else "-"),
)


def roofs_of(metrics: Metrics) -> list[Roof]:
    """A line for each peak of each thread count."""
    found = []
    for threads, roofs in metrics.roofs.items():
        name = role(threads, metrics.record["machine"])
        reads = dict(roofs.bandwidths)
        for key, peak in roofs.peaks.items():
            found.append(Roof(name, key, peak, reads, roofs.ridges.get(key)))
        if not roofs.peaks:
            found.append(Roof(name, None, None, reads, None))
    return found


def kernels_ridges(metrics: Metrics) -> list[str]:
    """Where kernels themselves leave the slope, a line for each type and role of threads."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in metrics.measured_ridges:
        said = f"{one['ridge']['value']:.1f}" if one["ridge"] else "undecided"
        groups.setdefault((one["types"], role(one["threads"], metrics.record["machine"])), []).append(
            f"{one['backend']} {said}"
        )
    return [f"Ridges of GEMMs, {', '.join(key)}: {', '.join(said)}" for key, said in groups.items()]


# --- together


def summary(metrics: Metrics, rows: bool = False) -> RenderableType:
    """One screen; rows: the table of all kernel rows, too."""
    session, found = metrics.record["session"], members(metrics)
    parts: list[RenderableType] = [Text(machine_line(metrics.record["machine"], session))]
    if said := answer(metrics):
        parts += [Text(), *map(Text, said)]
    if rows and kernels_of(metrics):
        parts += [Text(), kernels_table(metrics)]
    for columns, entries in _class_tables(classes(found)):
        parts += [Text(), table("", columns, entries), Text(MEANING)]
    if shown := extremes(found):
        parts += [
            Text(),
            table("", ROWS, shown, group=lambda m: _value(m) >= _value(shown[min(EXTREMES, len(shown)) - 1])),
        ]
    if metrics.roofs:
        parts += [Text(), table("", ROOFS, roofs_of(metrics)), *map(Text, kernels_ridges(metrics))]
    return Group(*parts, Text(), trust_text(metrics))


def page(metrics: Metrics, pictures: Sequence[Path] = ()) -> str:
    """The same and all rows as Markdown, with pictures that lie beside it."""
    record, found = metrics.record, members(metrics)
    parts = [f"# {escaped(record['machine']['id'])}, {record['ended'][:16].replace('T', ' ')}"]
    parts.append(
        escaped(machine_line(record["machine"], record["session"])) + f". Made by `{escaped(record['command'])}`."
    )
    parts.append("\n".join(f"- {escaped(line)}" for line in answer(metrics)))
    parts += [f"![Roofline]({quote(os.fsencode(picture.name))})" for picture in pictures if picture.suffix == ".png"]
    for columns, entries in _class_tables(classes(found)):
        parts += [_section(BY_CLASS, columns, entries), MEANING]
    if shown := extremes(found):
        parts.append(_section(EXTREME_ROWS, ROWS, shown))
    if metrics.roofs:
        parts.append(_section("Roofs", ROOFS, roofs_of(metrics)))
    if ridges := list(ridges_of(metrics)):
        parts.append(_section("Ridges, in FLOP/byte", RIDGES, ridges))
    trust = trust_text(metrics).plain.splitlines()
    parts.append("\n".join(["## Trust\n", *(escaped(line.strip()) for line in trust)]))
    if record["session"]["jit_seconds"]:
        parts.append(escaped(compiled_text(record["session"])) + ".")
    if every := kernels_of(metrics):
        parts.append(_section("All rows", KERNELS, every))
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(title: str, columns: Sequence[Column[T]], entries: Sequence[T]) -> str:
    return "\n\n".join(filter(None, [f"## {title}", "\n".join(markdown(columns, entries)), caption_of(columns)]))
