"""Tables of a page: the columns that terminals, Markdown and CSV have, as HTML; and those that only pages have."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple, TypeVar

from rich.text import Text

from bench.comparison.families import role
from bench.errors import plain
from bench.record.intervals import quantile
from bench.record.runs.run import Run, RunFigures
from bench.report.columns import Cell, Column, Ridge
from bench.report.page.columns import Machine
from bench.report.page.words import Wall
from bench.report.tables import caption_of, ridges_of, telling
from bench.report.text import interval, seconds, spread

T = TypeVar("T")
CLASSES = {"green": "good", "bold red": "bad", "red": "bad", "yellow": "unsure", "cyan": "memory", "magenta": "compute"}
"""What a style of rich's is called in the page's own."""


def html_table(title: str, columns: Sequence[Column[T]], entries: Sequence[T], notes: str = "") -> str:
    """A table that the page's script can sort; its name is its caption, notes follow it. No column of dashes."""
    columns = telling(columns, entries)
    heads = "".join(f'<th scope="col"{_kind(column)}>{_heading(column.heading)}</th>' for column in columns)
    rows = "".join(f"<tr>{''.join(_cell(column, entry) for column in columns)}</tr>" for entry in entries)
    said = caption_of(columns, notes)
    below = f'<p class="notes">{escape(said)}</p>' if said else ""
    body = f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
    place = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">'
    return f'{place}<table class="sorted">{body}</table></div>{below}'


def _heading(text: str) -> str:
    return "<br>".join(escape(line) for line in text.splitlines())


def _kind(column: Column[Any]) -> str:
    return "" if column.left else ' class="n"'


def _cell(column: Column[T], entry: T) -> str:
    made: Cell = column.cell(entry)
    names = [] if column.left else ["n"]
    if isinstance(made, Text) and str(made.style) in CLASSES:
        names.append(CLASSES[str(made.style)])
    inside = escape(plain(made))
    return f'<td class="{" ".join(names)}">{inside}</td>' if names else f"<td>{inside}</td>"


# --- roofs


def _rate(value: float) -> str:
    return f"{value / 1e9:.0f}" if value >= 1e11 else f"{value / 1e9:.1f}"


def _known(rate: Mapping[str, float]) -> str:
    """ "97.5 ±2.0 %"; the value alone where nothing tells how far it would differ."""
    return f"{_rate(rate['value'])} {spread(rate)}".removesuffix(" -")


class Roof(NamedTuple):
    """A peak and the bandwidths under it."""

    letter: str
    role: str
    threads: int
    type: str
    isa: str
    peak: Mapping[str, float]
    reads: Mapping[str, Mapping[str, float]]
    ridge: Mapping[str, float] | None


def _level(level: str) -> Column[Roof]:
    def cell(roof: Roof) -> str:
        found = roof.reads.get(level)
        return "-" if found is None else _known(found)

    return Column(f"{level} GB/s", cell)


ROOFS: Sequence[Column[Roof]] = (
    Column("", lambda r: r.letter, left=True),
    Column("threads", lambda r: f"{r.role} ({r.threads})" if r.threads > 1 else "one", left=True),
    Column("type", lambda r: f"{r.type} {r.isa}", left=True),
    Column(
        "GFLOP/s,\nGOP/s",
        lambda r: _known(r.peak),
        "Medians with the larger half of their 95 % interval.",
    ),
    *map(_level, ("DRAM", "L3", "L2", "L1")),
    Column("ridge, FLOP/byte", lambda r: interval(r.ridge) if r.ridge else "-"),
)


def roofs_of(machine: Machine) -> list[Roof]:
    found = []
    for known in machine.metrics.roofs.values():
        for (type_, isa), peak in known.peaks.items():
            reads = {level: rate.as_dict() for level, rate in known.bandwidths.items()}
            ridge = known.ridges.get((type_, isa))
            where = machine.letter, machine.role_of(known.threads), known.threads
            found.append(Roof(*where, type_, isa, peak.as_dict(), reads, ridge.as_dict() if ridge else None))
    return found


def kernels_ridges(machines: Sequence[Machine]) -> list[Ridge]:
    """The ridges that kernels themselves show, by machine."""
    return [one for m in machines for one in ridges_of(m.metrics, m.letter) if one.of.startswith("kernels")]


RIDGES: Sequence[Column[Ridge]] = (
    Column("", lambda r: r.record, left=True),
    Column("threads", lambda r: str(r.threads)),
    Column("types", lambda r: r.dtype, left=True),
    Column("whose", lambda r: r.of.removeprefix("kernels: "), left=True),
    Column("ridge [95 %]", lambda r: interval(r.ridge) if r.ridge else "undecided"),
    Column("of ceilings'", lambda r: f"{r.ridge['value'] / r.ceilings:.2f}" if r.ridge else "-"),
    Column("remark", lambda r: r.remark, left=True),
)


# --- trust


class Noise(NamedTuple):
    """A machine, and how far the figures of its rows are known: halves of 95 % intervals, as shares."""

    machine: Machine
    median: float | None
    most: float | None


def noise_of(machine: Machine) -> Noise:
    """Median and 90 % quantile over kernel rows that were measured in two visits or more."""
    halves = []
    for row, found in machine.metrics.pairs:
        known = found.get("percent_of_roof") or found["seconds"]
        if row["kind"] == "kernel" and len(set(row["visits"])) > 1:
            halves.append(max(known["high"] - known["value"], known["value"] - known["low"]) / known["value"])
    ordered = sorted(halves)
    return Noise(machine, quantile(ordered, 0.5), quantile(ordered, 0.9)) if ordered else Noise(machine, None, None)


def _share(value: float | None) -> str:
    return "-" if value is None else f"±{100 * value:.1f} %"


TRUST: Sequence[Column[Noise]] = (
    Column("", lambda n: n.machine.letter, left=True),
    Column("machine", lambda n: n.machine.name, left=True),
    Column("trust", lambda n: Text(n.machine.metrics.trust["grade"] or "none", _grade(n.machine)), left=True),
    Column("figures differ by", lambda n: _effect(n.machine)),
    Column(
        "a row is known to",
        lambda n: _share(n.median),
        "a row is known to: half of the 95 % interval, median over rows;",
    ),
    Column("9 of 10 rows to", lambda n: _share(n.most), "smaller differences can't be told: the noise floor."),
    Column("reasons", lambda n: "; ".join(n.machine.metrics.trust["reasons"]) or "none", left=True),
)


def _grade(machine: Machine) -> str:
    grade = machine.metrics.trust["grade"]
    return {"A": "green", "B": "green", "D": "bold red"}.get(grade or "", "yellow")


def _effect(machine: Machine) -> str:
    effect = machine.metrics.trust["effect"]
    return "-" if effect is None else f"{100 * effect:.1f} %"


# --- whole models


class Modelled(NamedTuple):
    """A whole model, by the machines that ran it."""

    name: str
    phase: str
    length: int
    backend: str
    types: str
    role: str
    of: Mapping[str, tuple[Run, RunFigures]]


def models_of(machines: Sequence[Machine]) -> list[Modelled]:
    found: dict[tuple[str, str, int, str, str, str], dict[str, tuple[Run, RunFigures]]] = {}
    for machine in machines:
        for run, figures in machine.metrics.run_pairs:
            where = role(run["threads"], machine.record["machine"])
            types = ", ".join(dict.fromkeys([*run["types"].values(), *filter(None, [run.get("linear")])]))
            key = run["model"]["name"], run["phase"], run["length"], run["backend"], types, where
            found.setdefault(key, {})[machine.letter] = run, figures
    return [Modelled(*key, of) for key, of in found.items()]


def model_columns(machines: Sequence[Machine]) -> Sequence[Column[Modelled]]:
    """A latency and a share of the bound for every machine that ran any."""

    def of(letter: str) -> Sequence[Column[Modelled]]:
        return (
            Column(f"{letter}\nlatency", lambda m: _latency(m.of.get(letter))),
            Column(f"{letter}\n% of roof", lambda m: _percent(m.of.get(letter))),
        )

    return (
        Column("model", lambda m: m.name, left=True),
        Column("phase", lambda m: m.phase, left=True),
        Column("length", lambda m: str(m.length)),
        Column("whose", lambda m: m.backend, left=True),
        Column("types", lambda m: m.types, left=True),
        Column("threads", lambda m: m.role, left=True),
        *(column for machine in machines if machine.metrics.run_pairs for column in of(machine.letter)),
    )


def _latency(known: tuple[Run, RunFigures] | None) -> str:
    return (
        "-"
        if known is None
        else f"{seconds(known[1]['seconds']['value'])} {spread(known[1]['seconds'])}".removesuffix(" -")
    )


def _percent(known: tuple[Run, RunFigures] | None) -> str:
    share = known and known[1].get("percent_of_roof")
    return f"{share['value']:.0f}" if share else "-"


# --- walls


WALLS: Sequence[Column[Wall]] = (
    Column("", lambda w: w.machine.letter, left=True),
    Column("machine", lambda w: w.machine.name, left=True),
    Column("threads", lambda w: str(w.threads)),
    Column("GFLOP/s", lambda w: _rate(w.peak)),
    Column("memory GB/s", lambda w: _rate(w.read)),
    Column("ridge, FLOP/byte", lambda w: interval({"value": w.ridge, "low": w.low, "high": w.high})),
)
