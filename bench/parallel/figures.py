"""What follows from a record's layers: speed-ups, what the model expects of them, and their place in the plane.

The plane is that of Checconi, Tithi and Petrini, "Ridgeline: A 2D Roofline Model for Distributed Systems" (2022).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.parallel.model import SUMS, Curve, Least, Wire, expected, least, ways
from bench.record.intervals import Interval, Messages
from bench.record.metrics import Metrics
from bench.record.probes import LAYERS
from bench.record.roofs import Series, line_through, over
from bench.record.row import Row, counted

DTYPE = "f32"
ITEM = 4  # bytes of a number
Bound = Literal["compute", "memory", "network, bytes", "network, messages"]
Dims = Mapping[str, int]


@dataclass(frozen=True)
class Place:
    """What a rank does of a layer: FLOPs, bytes of its memory (weights, and of one token the KV cache), bytes that it
    sends, as few as a sum needs, in so many messages after each other where they are as few as can be.
    """

    flops: float
    memory: float
    sent: float
    messages: int

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte of memory."""
        return self.flops / self.memory

    @property
    def memory_intensity(self) -> float:
        """Bytes of memory per byte sent."""
        return self.memory / self.sent


@dataclass(frozen=True)
class Roofs:
    """Of a rank: FLOP/s, bytes/s from memory, and the link to another one."""

    peak: float
    read: float
    wire: Wire

    def seconds(self, at: Place) -> Mapping[Bound, float]:
        """What each of the limits alone would take."""
        return {
            "compute": at.flops / self.peak,
            "memory": at.memory / self.read,
            "network, bytes": at.sent / self.wire.beta,
            "network, messages": at.messages * self.wire.alpha,
        }

    def bound(self, at: Place) -> Bound:
        each = self.seconds(at)
        return max(each, key=lambda name: each[name])


@dataclass(frozen=True)
class Layer:
    """One layer in one phase, whole and split; seconds with 95 % intervals.

    name      of the model, and the phase
    ranks     that it was split over
    size      bytes of each of its SUMS
    alone     by ranks the time of one rank's share while the others sleep; of 1, the whole layer
    together  of the shares of all ranks at once, the slowest
    sums      of the two sums alone
    split     of the layer as it is split, sums and all
    speedup   whole over split, of the same rounds
    by_line   together and the model's sums, by alpha and beta of the measured link; None without a line
    by_messages   the same by messages of the sizes that a sum sends; None where none were measured
    """

    name: str
    ranks: int
    dims: Dims
    size: int
    alone: Mapping[int, Interval]
    together: Interval
    sums: Interval
    split: Interval
    speedup: Interval
    by_line: Interval | None
    by_messages: Interval | None

    @property
    def whole(self) -> Interval:
        return self.alone[1]

    def off(self, model: Interval | None) -> float | None:
        """The model's time over the measured one, minus one."""
        return model.value / self.split.value - 1 if model else None

    def place(self, ranks: int | None = None) -> Place:
        return place(self.dims, ranks or self.ranks)

    def expects(self, ranks: int, wire: Wire) -> float:
        """Seconds on hosts of their own, joined by a link."""
        return expected(self.alone[ranks].value, ranks, self.size, wire)

    def least(self, ranks: int) -> Least | None:
        return least(self.whole.value, self.alone[ranks].value, ranks, self.size)


@dataclass(frozen=True)
class Found:
    """Everything of a record. line: of messages between ranks; roofs: None where one of them wasn't measured."""

    layers: Sequence[Layer]
    line: Messages | None
    roofs: Roofs | None

    def as_dict(self) -> dict[str, Any]:
        of = asdict(self)
        for one, layer in zip(of["layers"], self.layers, strict=True):
            at = layer.place()
            one["off"] = {"by_line": layer.off(layer.by_line), "by_messages": layer.off(layer.by_messages)}
            one["plane"] = asdict(at) | {
                "arithmetic_intensity": at.arithmetic_intensity,
                "memory_intensity": at.memory_intensity,
                "bound": self.roofs.bound(at) if self.roofs else None,
            }
            one["least"] = {n: asdict(enough) if (enough := layer.least(n)) else None for n in layer.alone if n > 1}
        return of


def place(dims: Dims, ranks: int) -> Place:
    """Of a layer with these dims, see Layer; of one rank nothing is sent."""
    rows, width = dims["m"], dims["width"]
    weights = width * (4 * width + 2 * dims["ffn"])
    flops = 2 * rows * weights + 4 * rows * dims["keys"] * width
    cache = 2 * (dims["keys"] - 1) * width if rows == 1 else 0
    each = ways(ranks, ITEM * rows * width)
    sent, steps = min(sent for _, sent in each), min(steps for steps, _ in each)
    return Place(flops / ranks, ITEM * (weights + cache) / ranks, SUMS * sent, SUMS * steps)


def found(metrics: Metrics) -> Found:
    """Empty where the record has no such rows."""
    pings = [row for row in metrics.rows if row["operation"] == "ping_pong"]
    line, curves = line_through(pings), _curves(pings)
    by_name: dict[str, list[Row]] = {}
    for row in metrics.rows:
        if row["operation"] in LAYERS and row["layers"]:
            by_name.setdefault(row["layers"][0], []).append(row)
    layers = [one for name, rows in by_name.items() if (one := _layer(name, rows, line, curves))]
    return Found(layers, line, _roofs(metrics, curves[0]) if curves else None)


def has_layers(rows: Iterable[Row]) -> bool:
    """Whether any was measured: the last of its rows is there."""
    return any(row["operation"] == LAYERS[-1] for row in rows)


def _layer(name: str, rows: Sequence[Row], line: Messages | None, curves: Sequence[Curve]) -> Layer | None:
    """None where a session ended before it had all of it."""
    of = {(row["operation"], row["dims"]["ranks"]): row for row in rows}
    split = next((row for row in rows if row["operation"] == "layer_split"), None)
    if not split or ("layer_share", 1) not in of:
        return None
    dims, ranks = split["dims"], split["dims"]["ranks"]
    if any((operation, ranks) not in of for operation in LAYERS):
        return None
    each = {key: _seconds(row) for key, row in of.items()}
    together, size = each["layer_shares", ranks], ITEM * dims["m"] * dims["width"]
    return Layer(
        name,
        ranks,
        dims,
        size,
        {n: seconds for (operation, n), seconds in sorted(each.items()) if operation == "layer_share"},
        together,
        each["layer_sums", ranks],
        each["layer_split", ranks],
        over(Series.of(split, 1), Series.of(of["layer_share", 1], 1)),
        _expected(together, ranks, size, _ends(line)) if line else None,
        _expected(together, ranks, size, curves) if curves else None,
    )


def _seconds(row: Row) -> Interval:
    """Of a call."""
    return Series.of(row, 1).interval.inverse(1)


def _expected(together: Interval, ranks: int, size: int, wires: Sequence[Wire]) -> Interval:
    """As wide as the ends of all that is in it allow. wires: value, low and high."""
    times = (together.value, together.low, together.high)
    return Interval(*(expected(one, ranks, size, wire) for one, wire in zip(times, wires, strict=True)))


def _ends(line: Messages) -> Sequence[Wire]:
    """The line as a link: value, low and high end of its times."""
    return [
        Wire("", line.alpha.value, line.beta.value),
        Wire("", line.alpha.low, line.beta.high),
        Wire("", line.alpha.high, line.beta.low),
    ]


def _curves(pings: Sequence[Row]) -> Sequence[Curve]:
    """The measured messages as a link: value, low and high end of their times."""
    each = {counted(row): _seconds(row) for row in pings}
    ends = ({size: getattr(of, end) for size, of in each.items()} for end in ("value", "low", "high"))
    return [Curve.through("as measured", points) for points in ends] if each else []


def _roofs(metrics: Metrics, wire: Wire) -> Roofs | None:
    of = next(iter(metrics.roofs.values()), None)
    peak = of.peak(DTYPE, metrics.record["session"]["isa"]) if of else None
    if not of or not peak or "DRAM" not in of.bandwidths:
        return None
    return Roofs(peak[1].value, of.bandwidths["DRAM"].value, wire)
