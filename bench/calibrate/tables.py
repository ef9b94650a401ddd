"""The tables of bench.calibrate."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.calibrate.trials import ClassSpread, Found, Ridges, Trial
from bench.comparison.spread import Parts
from bench.report.columns import Column


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


TRIALS: Sequence[Column[Trial]] = (
    Column("variance", lambda t: t.way, left=True),
    Column("pairs", lambda t: str(t.pairs)),
    Column("rows", lambda t: _percent(t.rows, 2), "Shares that are called faster or slower."),
    Column("families", lambda t: _percent(t.families, 2)),
    Column("pages with any", lambda t: _percent(t.pages)),
    Column("rows same", lambda t: _percent(t.rows_same), "same: equivalent within the threshold."),
    Column("families same", lambda t: _percent(t.families_same)),
    Column("floor", lambda t: _percent(t.floor - 1), "floor: the median family's smallest change that is called."),
)


class FoundEntry(NamedTuple):
    way: str
    percent: int
    found: Found


def found_entries(tried: Sequence[Trial]) -> list[FoundEntry]:
    return [FoundEntry(one.way, percent, found) for one in tried for percent, found in one.found.items()]


FOUND: Sequence[Column[FoundEntry]] = (
    Column("variance", lambda e: e.way, left=True),
    Column("slowed by", lambda e: f"+{e.percent} %"),
    Column(
        "families slower",
        lambda e: _percent(e.found.families),
        "Times of every family in turn, in one session of a pair: how often it is called slower, and its rows.",
    ),
    Column("rows slower", lambda e: _percent(e.found.rows)),
    Column("families faster", lambda e: _percent(e.found.families_faster)),
    Column("rows faster", lambda e: _percent(e.found.rows_faster)),
)


def _row(parts: Parts | None) -> str:
    return "-" if parts is None else f"{100 * (parts.family**2 + parts.row**2) ** 0.5:.1f}"


def _shared(parts: Parts | None) -> str:
    return "-" if parts is None else f"{100 * parts.family:.1f}"


CLASSES: Sequence[Column[ClassSpread]] = (
    Column("class", lambda c: c.class_, left=True),
    Column("rows", lambda c: str(c.rows)),
    Column("time", lambda c: _row(c.speed), "Of one row,"),
    Column("its family's part", lambda c: _shared(c.speed), "and what all rows of its family share."),
    Column("share of roof", lambda c: _row(c.share)),
    Column("its family's part", lambda c: _shared(c.share)),
)

RIDGES: Sequence[Column[Ridges]] = (
    Column("threads", lambda r: r.role, left=True),
    Column("lowest", lambda r: f"{r.lowest:.2f}"),
    Column("highest", lambda r: f"{r.highest:.2f}"),
    Column("intervals overlap", lambda r: f"{r.overlapping} of {r.pairs} pairs"),
)
