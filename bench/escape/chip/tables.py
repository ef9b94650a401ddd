"""Working sets as tables: a line per contestant with its fastest set of each level."""

from collections.abc import Sequence

from rich.console import RenderableType

from bench.escape.chip.figures import LEVELS, Curve, Point, curves
from bench.escape.names import BACKENDS
from bench.record.metrics import Metrics
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval

TITLE = "On chip: 1e9 weights/s where a matrix is read again and again"


def _cell(level: str, curve: Curve) -> str:
    point = curve.best.get(level)
    if point is None:
        return "-"
    gain = f" ({interval(point.gain.as_dict())}x)" if level != "DRAM" else ""
    return f"{point.weights.value:.2f}{gain}"


def _level(level: str, caption: str = "") -> Column[Curve]:
    return Column(level, lambda curve: _cell(level, curve), caption)


CURVES: Sequence[Column[Curve]] = (
    Column("weights", lambda c: c.one.type, left=True),
    Column("activations", lambda c: c.one.activations, left=True),
    Column("in", lambda c: BACKENDS[c.one.backend], left=True),
    Column("threads", lambda c: str(c.one.threads)),
    *(_level(level) for level in LEVELS[:-1]),
    _level(
        "DRAM",
        "1e9 weights/s of the fastest working set that each cache holds, and under DRAM of the largest, which is four "
        "last-level caches; in brackets, times the largest, with the 95 % interval. Every product is a call of its "
        "own from Python: where it takes a microsecond, the start of the call is most of it.",
    ),
)

POINTS: Sequence[Column[Point]] = (
    Column("weights", lambda p: p.type, left=True, once=True),
    Column("activations", lambda p: p.activations, left=True, once=True),
    Column("in", lambda p: BACKENDS[p.backend], left=True, once=True),
    Column("threads", lambda p: str(p.threads), once=True),
    Column("level", lambda p: p.level, left=True),
    Column("KiB", lambda p: f"{p.bytes / 1024:,.0f}"),
    Column("n x k", lambda p: f"{p.n} x {p.k}"),
    Column("1e9 weights/s [95 %]", lambda p: interval(p.weights.as_dict())),
    Column("GB/s", lambda p: f"{p.gbps.value:.1f}", "GB/s: of stored weights, scales included."),
    Column("x the largest [95 %]", lambda p: interval(p.gain.as_dict())),
)


def show(metrics: Metrics, entries: Sequence[Point]) -> list[RenderableType]:
    """For a terminal."""
    return [
        table("Each working set", POINTS, entries, group=lambda p: p.contestant),
        table(TITLE, CURVES, curves(entries), group=lambda c: c.one.threads),
    ]


def page(metrics: Metrics, entries: Sequence[Point]) -> list[str]:
    """For a page: the table of contestants."""
    return [f"**{TITLE}**", "", *markdown(CURVES, curves(entries)), "", caption_of(CURVES)]
