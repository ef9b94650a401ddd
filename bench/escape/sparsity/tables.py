"""Sparsity as tables: where each format crosses dense weights, and every density of every format."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import RenderableType

from bench.escape.names import BACKENDS
from bench.escape.sparsity.figures import Curve, Point
from bench.record.metrics import Metrics
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval

TITLE = "Sparsity: weights without their zeros against dense f32"
POINTS_TITLE = "Sparsity: each density"


class Line(NamedTuple):
    """A point with its curve."""

    curve: Curve
    point: Point


def backend(curve: Curve) -> str:
    return {**BACKENDS, "scipy": "SciPy"}.get(curve.backend, curve.backend)


def _crossover(curve: Curve) -> str:
    if found := curve.crossover:
        return f"{100 * found.value:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"
    return "faster at all" if curve.points[-1].speedup.value >= 1 else "faster at none"


def _at(curve: Curve, density: float) -> str:
    point = min(curve.points, key=lambda p: abs(p.density - density))
    if abs(point.density - density) > 0.005:
        return "-"
    return f"{interval(point.speedup.as_dict())}x, {point.of_ceiling.value:.0f} %"


def _at_density(percent: int) -> Column[Curve]:
    ceiling = "Ceiling: bytes of dense f32 weights over those of the format, indices and bitmaps included."
    heading = f"{percent} %: speedup,\nof ceiling"
    return Column(heading, lambda curve: _at(curve, percent / 100), ceiling if percent == 20 else "")


CURVES: Sequence[Column[Curve]] = (
    Column("weights", lambda c: c.format, left=True),
    Column("in", backend, left=True),
    Column("threads", lambda c: str(c.threads)),
    Column(
        "faster below\n% density [95 %]",
        _crossover,
        "Faster below: the share of weights that aren't zero up to which it is faster than dense f32; the interval is "
        "where the limits of the speedups' 95 % intervals cross 1.",
    ),
    Column(
        "fewer bytes\nbelow",
        lambda c: "at all" if c.at_ceiling is None else f"{100 * c.at_ceiling:.0f}",
        "Fewer bytes below: the same, were bytes all.",
    ),
    *map(_at_density, (10, 20, 50)),
)

POINTS: Sequence[Column[Line]] = (
    Column("weights", lambda x: x.curve.format, left=True, once=True),
    Column("in", lambda x: backend(x.curve), left=True, once=True),
    Column("threads", lambda x: str(x.curve.threads), once=True),
    Column("% density", lambda x: f"{100 * x.point.density:.1f}"),
    Column("n x k", lambda x: f"{x.point.n} x {x.point.k}"),
    Column("KiB", lambda x: f"{x.point.bytes / 1024:,.0f}"),
    Column("ceiling", lambda x: f"{x.point.ceiling:.2f}"),
    Column("speedup [95 %]", lambda x: interval(x.point.speedup.as_dict())),
    Column("% of ceiling [95 %]", lambda x: interval(x.point.of_ceiling.as_dict())),
)


def show(metrics: Metrics, entries: Sequence[Curve]) -> list[RenderableType]:
    """For a terminal."""
    lines = [Line(curve, point) for curve in entries for point in curve.points]
    return [
        table(POINTS_TITLE, POINTS, lines, group=lambda x: (x.curve.format, x.curve.backend, x.curve.threads)),
        table(TITLE, CURVES, _sweeps(entries), group=lambda c: c.threads),
    ]


def _sweeps(entries: Sequence[Curve]) -> list[Curve]:
    return [curve for curve in entries if len(curve.points) > 1]


def page(metrics: Metrics, entries: Sequence[Curve]) -> list[str]:
    """For a page: the table of formats, and what is of one density alone."""
    lines = [Line(curve, point) for curve in entries if len(curve.points) == 1 for point in curve.points]
    return [
        f"**{TITLE}**", "", *markdown(CURVES, _sweeps(entries)), "", caption_of(CURVES), "", *markdown(POINTS, lines)
    ]  # fmt: skip
