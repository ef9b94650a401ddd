"""The layers' figures as tables, and what follows in words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.table import Table

from bench.parallel.figures import Found, Layer, Roofs
from bench.parallel.model import SUMS, Least, Wire
from bench.record.format import Interconnect
from bench.record.intervals import Interval
from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval, ratio, seconds, spread


def _us(of: Interval | None) -> str:
    return f"{1e6 * of.value:.1f} {spread(of.as_dict())}" if of else "-"


def rate(beta: float) -> str:
    """ "940 Mbit/s", "25 Gbit/s"."""
    bits = 8 * beta
    return f"{bits / 1e9:.3g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.3g} Mbit/s"


def _off(layer: Layer, model: Interval | None) -> str:
    off = layer.off(model)
    return "-" if off is None or not model else f"{1e6 * model.value:.1f} us, {100 * off:+.0f} %"


MEASURED: Sequence[Column[Layer]] = (
    Column("layer", lambda x: x.name, left=True),
    Column("whole\nus", lambda x: _us(x.whole), "Whole: on rank 0 alone, the others asleep;"),
    Column("one share\nus", lambda x: _us(x.alone[x.ranks]), "one share: a rank's part of it, the others asleep;"),
    Column("all shares\nus", lambda x: _us(x.together), "all shares: of all ranks at once, without sums;"),
    Column(f"{SUMS} sums\nus", lambda x: _us(x.sums), "sums: over the ranks, alone;"),
    Column("split\nus", lambda x: _us(x.split), "split: shares and sums, as a model would run it."),
    Column("speed-up", lambda x: interval(x.speedup.as_dict()), "Speed-up: whole over split, round by round."),
    Column("by line\nexpected, off", lambda x: _off(x, x.by_line), "Off: what a model expects, over what split took."),
    Column(
        "by messages\nexpected, off",
        lambda x: _off(x, x.by_messages),
        "By line: all shares, and sums of messages by alpha and beta; by messages: of such as were measured.",
    ),
)


class Met(NamedTuple):
    """A layer, and the roofs of its ranks."""

    layer: Layer
    roofs: Roofs


def _per_message(met: Met) -> str:
    at = met.layer.place()
    return f"{at.flops / at.messages / 1e6:.3g}"


def _ridge(met: Met) -> str:
    """MFLOP that a rank can do while a sum's message is under way."""
    layer = met.layer
    at, whole = layer.place(), SUMS * met.roofs.wire.sum_(layer.ranks, layer.size)
    return f"{met.roofs.peak * whole / at.messages / 1e6:.3g}"


PLACES: Sequence[Column[Met]] = (
    Column("layer", lambda x: x.layer.name, left=True),
    Column("FLOP / B\nof memory", lambda x: f"{x.layer.place().arithmetic_intensity:.3g}"),
    Column("B of memory\n/ B sent", lambda x: f"{x.layer.place().memory_intensity:.3g}"),
    Column("bytes of\na sum", lambda x: str(x.layer.size)),
    Column(
        "of which\nlatency",
        lambda x: f"{100 * x.roofs.wire.latency_share(x.layer.ranks, x.layer.size):.0f} %",
        "Latency: what of a sum's time no bandwidth makes shorter.",
    ),
    Column(
        "MFLOP per\nmessage",
        _per_message,
        "MFLOP per message, and the ridge: what a rank multiplies and adds in f32 while one is under way.",
    ),
    Column("ridge", _ridge),
    Column(
        "bound by",
        lambda x: x.roofs.bound(x.layer.place()),
        "Bound by: what alone would take longest: FLOPs at peak, reading at the read roof, bytes at the link's "
        "bandwidth, or messages at its latency.",
        left=True,
    ),
)


class Other(NamedTuple):
    """A layer over a link."""

    wire: Wire
    layer: Layer


class Pays(NamedTuple):
    """A layer over so many ranks, and the least link that helps."""

    layer: Layer
    ranks: int
    least: Least | None


PAYS: Sequence[Column[Pays]] = (
    Column("layer", lambda x: x.layer.name, left=True, once=True),
    Column("ranks", lambda x: str(x.ranks)),
    Column("whole\nus", lambda x: f"{1e6 * x.layer.whole.value:.1f}"),
    Column("a share\nus", lambda x: f"{1e6 * x.layer.alone[x.ranks].value:.1f}"),
    Column(
        "a sum\nat most us",
        lambda x: f"{1e6 * x.least.sum_:.1f}" if x.least else "-",
        f"A sum at most: half of what sharing saves, for a layer has {SUMS}.",
    ),
    Column(
        "latency\nbelow",
        lambda x: seconds(x.least.alpha) if x.least else "never pays",
        "Latency, of a link without end of bandwidth;",
    ),
    Column(
        "bandwidth\nabove",
        lambda x: rate(x.least.beta) if x.least else "never pays",
        "bandwidth, of one without latency: a real one needs a little more of both.",
    ),
)


def others(layers: Sequence[Layer], wires: Sequence[Wire]) -> Table:
    """Every layer over every link, in columns by ranks."""
    counts = sorted({n for layer in layers for n in layer.alone if n > 1})

    def column(ranks: int) -> Column[Other]:
        def cell(x: Other) -> str:
            if ranks not in x.layer.alone:
                return "-"
            took = x.layer.expects(ranks, x.wire)
            return f"{1e6 * took:.0f} ({ratio(x.layer.whole.value / took)})"

        return Column(f"{ranks} ranks\nus (speed-up)", cell)

    columns: Sequence[Column[Other]] = (
        Column("layer", lambda x: x.layer.name, left=True, once=True),
        Column("link", lambda x: x.wire.name, left=True),
        Column("latency", lambda x: seconds(x.wire.alpha)),
        Column("bandwidth", lambda x: rate(x.wire.beta)),
        *map(column, counts),
    )
    entries = [Other(wire, layer) for layer in layers for wire in wires]
    notes = "Expected: one share, and the sums that the link would take, each rank on a host of its own."
    return table("Over other links", columns, entries, notes, group=lambda x: x.layer.name)


def show(found: Found, between: Interconnect, wires: Sequence[Wire]) -> Iterator[Table]:
    """All tables that have entries."""
    ranks = len(between["ranks"])
    yield table(f"A layer over {ranks} ranks: {between['link']['kind']}", MEASURED, found.layers)
    if found.roofs:
        yield table("Where it stands", PLACES, [Met(layer, found.roofs) for layer in found.layers])
        wires = [found.roofs.wire, *wires]
    yield others(found.layers, wires)
    pays = [Pays(layer, n, layer.least(n)) for layer in found.layers for n in layer.alone if n > 1]
    yield table("From which link on splitting pays", PAYS, pays, group=lambda x: x.layer.name)


def words(found: Found) -> Iterator[str]:
    """What follows: of the link, and of each layer."""
    if line := found.line:
        each = (
            f"{interval(line.alpha.scaled(1e6).as_dict())} us and {interval(line.beta.scaled(8e-9).as_dict())} Gbit/s"
        )
        yield f"Single messages: {each}; the line misses by a factor of {line.misses:.2f} at {line.misses_at} bytes."
    for layer in found.layers:
        gain, least = layer.speedup, layer.least(layer.ranks)
        does = "pays" if gain.low > 1 else "doesn't pay" if gain.high < 1 else "changes nothing that could be told"
        how = f"over {layer.ranks} ranks and this link {does}, {interval(gain.as_dict())} times as fast"
        said = f"{layer.name}: splitting {how}"
        if least:
            most = f"a sum of {layer.size} bytes takes less than {seconds(least.sum_)}"
            said += f"; on hosts of their own it pays where {most}"
        yield f"{said}."
        if layer.dims["m"] == 1:
            yield f"  {_small(layer, found)}"


def _small(layer: Layer, found: Found) -> str:
    """Of decoding."""
    said = f"A token waits for {SUMS} small messages per layer, one after the other"
    if not found.roofs:
        return f"{said}."
    part = found.roofs.wire.latency_share(layer.ranks, layer.size)
    return f"{said}: {100 * part:.0f} % of what they take here is latency, which more bandwidth leaves as it is."
