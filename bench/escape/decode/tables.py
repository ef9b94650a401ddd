"""Whole models as a table."""

from collections.abc import Sequence

from rich.console import RenderableType

from bench.escape.decode.figures import Decoding
from bench.escape.names import BACKENDS
from bench.record.metrics import Metrics
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval

TITLE = "Whole models: tokens generated one by one, the LM head's weights stored too"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


DECODINGS: Sequence[Column[Decoding]] = (
    Column("model", lambda d: d.layer, left=True, once=True),
    Column("weights", lambda d: d.type, left=True),
    Column("activations", lambda d: d.activations, left=True),
    Column("in", lambda d: BACKENDS[d.backend], left=True),
    Column("threads", lambda d: str(d.threads)),
    Column("bytes", lambda d: f"{d.byte_ratio:.2f}x", "Bytes: of weights and KV cache, over the f32 model's."),
    Column("speedup [95 %]", lambda d: interval(d.speedup.as_dict())),
    Column("% of ratio", lambda d: f"{100 * d.achieved:.0f}"),
    Column("tokens/s", lambda d: f"{d.tokens:.1f}"),
    Column("f32's", lambda d: f"{d.native:.1f}", "f32's: tokens/s by the speedup."),
    Column(
        "% of read roof [95 %]",
        lambda d: "-" if d.percent_of_read_roof is None else interval(d.percent_of_read_roof.as_dict(), 0),
    ),
    Column(
        "limited by",
        lambda d: d.limited_by or "-",
        "Limited by: as of layers; latency, here, is also what isn't a product.",
        left=True,
    ),
    Column("error %", lambda d: _percent(d.error), "Error: RMS of the logits' error over their RMS."),
    Column(
        "same top %",
        lambda d: _percent(d.same_top),
        "Same top: tokens with the same likeliest next one; random weights and tokens.",
    ),
    Column("the paper", lambda d: d.claim or "-", left=True),
)


def show(metrics: Metrics, entries: Sequence[Decoding]) -> list[RenderableType]:
    """For a terminal."""
    return [table(TITLE, DECODINGS, entries, group=lambda d: (d.threads, d.layer))]


def page(metrics: Metrics, entries: Sequence[Decoding]) -> list[str]:
    """For a page."""
    return [f"**{TITLE}**", "", *markdown(DECODINGS, entries), "", caption_of(DECODINGS)]
