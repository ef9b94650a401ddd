"""What follows from a record's rows of level link: latencies, rates, the line through them, the ridges."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.record.intervals import Interval, Messages
from bench.record.metrics import Metrics
from bench.record.probes import LINK
from bench.record.roofs import Roofs, Series, line_through, over
from bench.record.row import Row, counted

DTYPE = "f32"


@dataclass(frozen=True)
class Message:
    """An operation of LINK at one size: seconds of a call, and the rate of its bytes, with 95 % intervals.

    rotating  buffers of its own for each message; otherwise all have the same
    seconds   half of a round trip, a window, or a reduction
    rate      bytes/s, as OSU's MB/s and NCCL's algbw count them
    bus       of a reduction, NCCL's busbw in bytes/s: what each rank sends and receives at least, 2 (n - 1) / n
    """

    operation: str
    size: int
    rotating: bool
    seconds: Interval
    rate: Interval
    bus: Interval | None


@dataclass(frozen=True)
class Line(Messages):
    """Through the latencies, in the same buffer or in rotating ones."""

    rotating: bool


@dataclass(frozen=True)
class Ridge:
    """FLOPs that a rank can do while it sends a byte, in the largest window, and while it sends the shortest message.

    Peak over the link's rate of the same visits; below it a rank waits for the link.
    """

    rotating: bool
    peak: Interval
    per_byte: Interval
    per_message: Interval


@dataclass(frozen=True)
class Found:
    """Everything of a record."""

    messages: Sequence[Message]
    lines: Sequence[Line]
    ridges: Sequence[Ridge]

    def of(self, operation: str, rotating: bool) -> dict[int, Message]:
        """By size."""
        return {m.size: m for m in self.messages if (m.operation, m.rotating) == (operation, rotating)}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def found(metrics: Metrics) -> Found:
    """Empty where the record has no such rows."""
    rows = [row for row in metrics.rows if row["operation"] in LINK]
    lines = [line for rotating in (False, True) if (line := _line(rows, rotating))]
    return Found([_message(row) for row in rows], lines, _ridges(metrics, rows))


def _rotates(row: Row) -> bool:
    return bool(row["cold"])


def _message(row: Row) -> Message:
    rates = Series.of(row).interval
    seconds = Interval(*(counted(row) / rate for rate in (rates.value, rates.high, rates.low)))
    ranks = row["dims"].get("ranks")
    bus = rates.scaled(2 * (ranks - 1) / ranks) if ranks else None
    return Message(row["operation"], row["dims"]["bytes"], _rotates(row), seconds, rates, bus)


def _line(rows: Sequence[Row], rotating: bool) -> Line | None:
    fitted = line_through([row for row in rows if row["operation"] == "ping_pong" and _rotates(row) == rotating])
    return Line(**vars(fitted), rotating=rotating) if fitted else None


def _ridges(metrics: Metrics, rows: Sequence[Row]) -> list[Ridge]:
    ridges = []
    for rotating in (False, True):
        own = [row for row in rows if _rotates(row) == rotating]
        windows, single = ([row for row in own if row["operation"] == name] for name in ("window", "ping_pong"))
        roofs = metrics.roofs.get(own[0]["threads"]) if own else None
        peak = _peak(metrics, roofs) if roofs else None
        if windows and single and peak:
            widest = max(windows, key=lambda row: row["dims"]["bytes"])
            least = min(single, key=lambda row: row["dims"]["bytes"])
            ridges.append(
                Ridge(rotating, peak.interval, over(peak, Series.of(widest)), over(peak, Series.of(least, 1)))
            )
    return ridges


def _peak(metrics: Metrics, roofs: Roofs) -> Series | None:
    named = roofs.peak(DTYPE, metrics.record["session"]["isa"])
    return roofs.peak_series[DTYPE, named[0]] if named else None


def beside(found: Found, operation: str) -> list[tuple[Message, Message | None]]:
    """By size: in the same buffer, and rotating."""
    rotating: Mapping[int, Message] = found.of(operation, True)
    return [(one, rotating.get(size)) for size, one in found.of(operation, False).items()]
