"""Layers as tables: a line for each contestant, and one for each of its layers."""

from collections.abc import Sequence

from rich.console import RenderableType

from bench.escape.layers.figures import Way
from bench.escape.layers.limits import MEANING
from bench.escape.layers.summary import Summary, summaries
from bench.escape.names import BACKENDS
from bench.record.metrics import Metrics
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval

TITLE = "Fewer bytes per weight: one token's products, weights from memory"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def _range(low: float, high: float, digits: int = 0) -> str:
    a, b = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return a if a == b else f"{a} to {b}"


def _limits(summary: Summary) -> str:
    if len(summary.limits) == 1:
        return summary.limits[0][0]
    return ", ".join(f"{limit} {count}" for limit, count in summary.limits) or "-"


def _weights(way: Way) -> str:
    return way.type + ("" if way.packed else ", plain")


WEIGHTS = "Weights: their type, packed in the kernel's own order unless they are plain."
ACTIVATIONS = "Activations: rounded to 8 bits inside the call, or kept in f32."
SPEEDUP = "Speedup: over the same backend's f32, median over the same rounds."
ACHIEVED = "% of ratio: of the byte ratio, scales included, that became speed."
ROOF = "% of read roof: stored bytes/s, scales included, over the read probe's in the same rounds."
HOT = "Hot: GB/s of stored weights of one core, in its L2; cores: that many of these would saturate memory."
ERROR = "Error: RMS over the result's RMS, of normal random numbers."
PAPER = 'Paper: what "AI and Memory Wall" (Gholami et al. 2024) says.'

SUMMARY: Sequence[Column[Summary]] = (
    Column("weights", lambda s: _weights(s.one), WEIGHTS, left=True),
    Column("activations", lambda s: s.one.activations, ACTIVATIONS, left=True),
    Column("in", lambda s: BACKENDS[s.one.backend], left=True),
    Column("threads", lambda s: str(s.one.threads)),
    Column("layers", lambda s: str(s.layers), "Geometric means over layers."),
    Column("bytes", lambda s: f"{s.byte_ratio:.2f}x"),
    Column("speedup [95 %]", lambda s: interval(s.speedup.as_dict()), SPEEDUP),
    Column("% of ratio", lambda s: _percent(s.achieved), ACHIEVED),
    Column("% of read roof", lambda s: "-" if s.roof is None else _range(*s.roof), ROOF),
    Column("hot GB/s per core", lambda s: _number(s.hot_gbps), HOT),
    Column("cores", lambda s: _number(s.saturating)),
    Column("limited by", lambda s: _limits(s), MEANING, left=True),
    Column("error %", lambda s: _range(100 * s.error[0], 100 * s.error[1], 2), ERROR),
    Column("the paper", lambda s: s.one.claim or "-", PAPER, left=True),
)

LAYERS: Sequence[Column[Way]] = (
    Column("layer", lambda w: w.layer, left=True, once=True),
    Column("n x k", lambda w: f"{w.n} x {w.k}", once=True),
    Column("weights", _weights, WEIGHTS, left=True),
    Column("activations", lambda w: w.activations, ACTIVATIONS, left=True),
    Column("in", lambda w: BACKENDS[w.backend], left=True),
    Column("threads", lambda w: str(w.threads)),
    Column("bytes", lambda w: f"{w.byte_ratio:.2f}x"),
    Column("speedup [95 %]", lambda w: interval(w.speedup.as_dict()), SPEEDUP),
    Column("% of ratio", lambda w: _percent(w.achieved), ACHIEVED),
    Column("GB/s", lambda w: f"{w.gbps:.1f}"),
    Column(
        "% of read roof [95 %]",
        lambda w: "-" if w.percent_of_read_roof is None else interval(w.percent_of_read_roof.as_dict(), 0),
        ROOF,
    ),
    Column("hot GB/s per core", lambda w: _number(w.hot_gbps), HOT),
    Column("limited by", lambda w: w.limited_by or "-", MEANING, left=True),
)


def show(metrics: Metrics, entries: Sequence[Way]) -> list[RenderableType]:
    """For a terminal."""
    return [
        table("Each layer", LAYERS, entries, group=lambda way: (way.layer, way.n, way.k)),
        table(TITLE, SUMMARY, summaries(entries), group=lambda s: s.one.threads),
    ]


def page(metrics: Metrics, entries: Sequence[Way]) -> list[str]:
    """For a page: the table of contestants."""
    return [f"**{TITLE}**", "", *markdown(SUMMARY, summaries(entries)), "", caption_of(SUMMARY)]
