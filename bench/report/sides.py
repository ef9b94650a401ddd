"""What is shown of sides: the sides, what differs between them, families, rows, a pivot of several machines."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from rich.text import Text

from bench.comparison.contrast import CONFIDENCE, MOST_SESSIONS
from bench.comparison.families import Key
from bench.comparison.page import FamilyOutcome, Outcome, Page, RowOutcome, Side
from bench.comparison.session import Value
from bench.quantities import plural
from bench.report.columns import Cell, Column
from bench.report.text import seconds

STYLES = {"faster": "green", "slower": "bold red", "same": "", "can't tell": "yellow"}
UNMATCHED = 5  # lines of families without a partner on a side, unless all rows are asked for
SHOWN = 20  # rows that are called, unless all are asked for


# --- the sides


def _range(values: Sequence[str]) -> str:
    """ "A", or "A to C"."""
    return " to ".join(dict.fromkeys([min(values), max(values)]))


def _when(side: Side) -> str:
    count = len(side.sessions)
    days = _range([one.started[:10] for one in side.sessions])
    return days + (f", {plural(count, 'session')}" if count > 1 else "")


def roof(side: Side, role: str, name: str) -> float | None:
    """The mean of a roof over the sessions that know it: peak in FLOP/s, read in bytes/s, ridge in FLOP/byte."""
    known = [one.roofs[role][name] for one in side.sessions if name in one.roofs.get(role, {})]
    return fmean(known) if known else None


def _rate(side: Side, role: str, name: str) -> str:
    """In 1e9 a second; for all cores, also of each."""
    rate, cores = roof(side, role, name), side.sessions[0].cores
    if rate is None:
        return "-"
    of_each = f" ({rate / 1e9 / cores:.3g})" if role == "all" and cores else ""
    return f"{rate / 1e9:.3g}{of_each}"


SIDES: Sequence[Column[Side]] = (
    Column("", lambda s: s.letter, left=True),
    Column("machine", lambda s: s.machine, left=True),
    Column("trust", lambda s: _range([one.grade or "none" for one in s.sessions]), left=True),
    Column("ISA", lambda s: s.sessions[0].isa, left=True),
    Column("cores", lambda s: str(s.sessions[0].cores or "?")),
    Column("GFLOP/s\none", lambda s: _rate(s, "one", "peak"), "FMA peak and read bandwidth of memory,"),
    Column("GB/s\none", lambda s: _rate(s, "one", "read"), "on one thread"),
    Column("GFLOP/s\nall", lambda s: _rate(s, "all", "peak"), "and on all cores"),
    Column("GB/s\nall", lambda s: _rate(s, "all", "read"), "(for each core)."),
)


class Difference(NamedTuple):
    """Something that the sides don't have in common: its name, and what each has."""

    name: str
    of: Sequence[str]


def differences(sides: Sequence[Side]) -> list[Difference]:
    """When they were measured, ridges, and every fact that isn't the same on all sides."""
    found = [Difference("measured", [_when(side) for side in sides])]
    for role in dict.fromkeys(role for side in sides for one in side.sessions for role in one.roofs):
        ridges = [roof(side, role, "ridge") for side in sides]
        if any(ridges):
            found.append(Difference(f"ridge, {role} (FLOP/byte)", [f"{x:.2f}" if x else "-" for x in ridges]))
    for name in dict.fromkeys(name for side in sides for one in side.sessions for name in one.facts):
        of = [", ".join(dict.fromkeys(one.facts.get(name, "unknown") for one in side.sessions)) for side in sides]
        if len(set(of)) > 1:
            found.append(Difference(name, of))
    return found


def difference_columns(sides: Sequence[Side]) -> Sequence[Column[Difference]]:
    def of(index: int, letter: str) -> Column[Difference]:
        return Column(letter, lambda d: d.of[index], left=True)

    return (Column("", lambda d: d.name, left=True), *(of(i, side.letter) for i, side in enumerate(sides)))


# --- families and rows


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent_of_one(factor: float | None) -> str:
    """1.053: "5.3"."""
    if factor is None:
        return "-"
    change = 100 * (factor - 1)
    return f"{change:.1f}" if change < 10 else f"{change:.0f}" if change < 100 else ">99"


def _reach(outcome: Outcome) -> str:
    if outcome.low is None or outcome.high is None:
        return "-"
    return _percent_of_one(math.sqrt(outcome.high / outcome.low))


def _needs(outcome: Outcome) -> str:
    needed = outcome.sessions
    return "" if needed is None else f">{MOST_SESSIONS}" if needed > MOST_SESSIONS else str(needed)


def _word(outcome: Outcome) -> Text:
    return Text(outcome.word, STYLES[outcome.word])


RATIO = "A / B: times; above 1, B is faster. roof x own: how much of it the roof gave, and how much the row itself."
INTERVAL = f"±: {CONFIDENCE:.0%} interval of what is judged: own on one machine, A / B between machines."
FLOOR = "floor: the smallest change that would be called."
NEEDS = "needs: so many sessions a side would find the change that is looked for in 80 %."

FAMILIES: Sequence[Column[FamilyOutcome]] = (
    Column("kernel", lambda f: f.family.kernel, left=True),
    Column("class, threads", lambda f: f"{f.family.class_}, {f.family.role}", left=True),
    Column("rows", lambda f: str(f.rows), "Geometric means over rows."),
    Column("A / B", lambda f: _times(f.outcome.ratio), RATIO),
    Column("roof", lambda f: _times(f.outcome.roof)),
    Column("own", lambda f: _times(f.outcome.own)),
    Column("± %", lambda f: _reach(f.outcome), INTERVAL),
    Column("floor\n%", lambda f: _percent_of_one(f.outcome.floor), FLOOR),
    Column("B is", lambda f: _word(f.outcome), left=True),
    Column("needs", lambda f: _needs(f.outcome), NEEDS),
)


def _mean(values: Sequence[Value], name: str) -> float:
    return fmean(getattr(one, name) for one in values)


def _time(key: Key, values: Sequence[Value]) -> str:
    """Seconds of a call, or the rate of a probe."""
    speed = math.exp(_mean(values, "speed"))
    if key.kind == "probe":
        return f"{speed / 1e9:.3g} G/s"
    return seconds(1 / speed)


def _percent(values: Sequence[Value]) -> str:
    share = _mean(values, "share")
    return f"{100 * math.exp(share):.0f}" if math.isfinite(share) else "-"


def _dims(key: Key) -> str:
    return "x".join(str(size) for _, size in key.dims) or "-"


def _data(key: Key) -> str:
    return {"kernel": "cold" if key.cold else "hot"}.get(key.kind, key.level)


CALLED: Sequence[Column[RowOutcome]] = (
    Column("row", lambda r: f"{r.key.operation} {r.key.types} {r.key.backend}", left=True),
    Column("dims", lambda r: _dims(r.key), left=True),
    Column("data, threads", lambda r: f"{_data(r.key)}, {r.key.role}", left=True),
    Column("A", lambda r: _time(r.key, r.a)),
    Column("B", lambda r: _time(r.key, r.b)),
    Column("A / B", lambda r: _times(r.outcome.ratio)),
    Column("own", lambda r: _times(r.outcome.own)),
    Column("± %", lambda r: _reach(r.outcome)),
    Column("B is", lambda r: _word(r.outcome), left=True),
)

ROWS: Sequence[Column[RowOutcome]] = (
    *CALLED[:6],
    Column("roof", lambda r: _times(r.outcome.roof)),
    *CALLED[6:8],
    Column("floor\n%", lambda r: _percent_of_one(r.outcome.floor)),
    Column("% of roof:\nA", lambda r: _percent(r.a)),
    Column("% of roof:\nB", lambda r: _percent(r.b)),
    CALLED[-1],
    Column("needs", lambda r: _needs(r.outcome)),
)


def extremes(rows: Sequence[RowOutcome]) -> list[RowOutcome]:
    """Those that are called, the SHOWN that changed most, in their order."""
    called = [row for row in rows if row.outcome.word in ("faster", "slower")]
    most = sorted(called, key=lambda row: -abs(math.log(row.outcome.own or row.outcome.ratio)))[:SHOWN]
    return [row for row in called if row in most]


class Pivoted(NamedTuple):
    """A family on every side but the first."""

    name: str
    class_: str
    role: str
    of: Sequence[Outcome | None]


def pivot(pages: Sequence[Page]) -> list[Pivoted]:
    """Every family that any page has."""
    found = [{one.family: one.outcome for one in page.families} for page in pages]
    names = dict.fromkeys(family for page in found for family in page)
    return [Pivoted(*family, [page.get(family) for page in found]) for family in names]


def pivot_columns(pages: Sequence[Page]) -> Sequence[Column[Pivoted]]:
    marks = {"faster": "+", "slower": "-", "same": "=", "can't tell": "?"}

    def of(index: int, letter: str) -> Column[Pivoted]:
        def cell(one: Pivoted) -> Cell:
            outcome = one.of[index]
            return Text(f"{outcome.ratio:.2f} {marks[outcome.word]}", STYLES[outcome.word]) if outcome else "-"

        return Column(f"A / {letter}", cell)

    return (
        Column("kernel", lambda p: p.name, left=True),
        Column("class", lambda p: p.class_, left=True),
        Column("threads", lambda p: p.role, left=True, caption="Ratios of times: above 1, faster than A."),
        *(of(i, page.b.letter) for i, page in enumerate(pages)),
        Column("", lambda p: "", "+ faster, - slower, = same, ? can't tell."),
    )


# --- lines


def counted(page: Page) -> str:
    """ "2 families slower, 20 same, ..."."""
    words = Counter(one.outcome.word for one in page.families)
    said = [f"{words[name]} {name}" for name in STYLES if words[name]]
    of = plural(len(page.families), "family", "families")
    return f"{page.b.letter} against {page.a.letter}: of {of} {', '.join(said)}"


def lines(page: Page, all_rows: bool, all_names: bool) -> Iterator[str]:
    """What moved, what the variance is from, what has no partner."""
    if page.moved:
        moved = ", ".join(f"{100 * (x - 1):+.1f} % ({role})" for role, x in page.moved.items())
        yield f"The machine moved by {moved}: the roofs' speed, median over rows."
    if page.replicates:
        known = plural(page.replicates, "session")
        yield f"Variance between sessions: from {known}, and the default where they are few."
    else:
        yield "Variance between sessions: the default, since no session of this machine repeats another."
    for one in page.unlike:
        yield f"{plural(one.rows, 'row')}: {one.text}."
    for letter, rows in page.once.items():
        why = f"measured in one visit in {letter}, which tells nothing of how another would differ"
        yield f"{plural(rows, 'row')}: {why}: not called."
    a, b = page.a.letter, page.b.letter
    called = sum(row.outcome.word in ("faster", "slower") for row in page.rows)
    if called > SHOWN and not all_rows:
        yield f"{plural(called, 'row')} are called; the {SHOWN} that changed most are shown, --rows shows all."
    yield f"{plural(len(page.rows), 'row')} compared, {len(page.only_a)} only in {a}, {len(page.only_b)} only in {b}."
    for letter, keys in ((a, page.only_a), (b, page.only_b)):
        yield from _unmatched(letter, keys, all_names)


def _unmatched(letter: str, keys: Sequence[Key], all_names: bool) -> Iterator[str]:
    if all_names:
        yield from (f"  only in {letter}: {key.text}" for key in keys)
        return
    families: Mapping[str, int] = Counter(", ".join(key.family) for key in keys)
    for name, count in list(families.items())[:UNMATCHED]:
        yield f"  only in {letter}: {name}: {plural(count, 'row')}"
    if len(families) > UNMATCHED:
        more = plural(len(families) - UNMATCHED, "family", "families")
        yield f"  only in {letter}: {more} more; --unmatched names all rows"
