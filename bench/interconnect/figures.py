"""What follows from a record's rows of level link: latencies, rates, the line through them, the ridges."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy  # scipy.stats is imported when it is first used

from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.probes import LINK
from bench.record.roofs import Roofs, Series, over
from bench.record.row import Row, call_seconds, counted, good

RESAMPLES = 999
FEWEST = 4  # sizes, for a line
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
class Line:
    """seconds = alpha + bytes / beta through the latencies, relative errors squared; 95 % by bootstrap.

    half    bytes at which half of beta is reached: alpha beta
    misses  the largest of the line's relative errors, and the size that has it
    """

    rotating: bool
    alpha: Interval
    beta: Interval
    half: Interval
    misses: float
    misses_at: int


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
    """Of the latencies, a point per size and visit, of which samples are drawn with a fixed seed."""
    points: list[tuple[int, float]] = []
    for row in rows:
        if row["operation"] == "ping_pong" and _rotates(row) == rotating:
            times, which = call_seconds(row), good(row)
            for visit in {row["visits"][i] for i in which}:
                points.append((row["dims"]["bytes"], median(times[i] for i in which if row["visits"][i] == visit)))
    sizes, seconds = np.array(points, float).reshape(-1, 2).T
    if len(set(sizes)) < FEWEST:
        return None
    with np.errstate(all="ignore"):  # of seconds that nobody measured comes no line, or one without a rate
        alpha, beta, half = map(float, _fitted(sizes, seconds))
        drawn = scipy.stats.bootstrap(
            (sizes, seconds),
            _fitted,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval
    low, high = drawn.low.tolist(), drawn.high.tolist()
    if not all(0 < value < math.inf for value in (alpha, beta, half, *low, *high)):
        return None  # no line with a latency and a rate
    each = [
        Interval(value, min(value, a), max(value, b))
        for value, a, b in zip((alpha, beta, half), low, high, strict=True)
    ]
    errors = np.abs((alpha + sizes / beta) / seconds - 1)
    worst = int(errors.argmax())
    return Line(rotating, each[0], each[1], each[2], float(errors[worst]), int(sizes[worst]))


def _fitted(sizes: np.ndarray, seconds: np.ndarray, axis: int = -1) -> np.ndarray:
    """alpha, beta and their product by least squares with weights 1 / seconds^2, along an axis."""
    w = (seconds.min() / seconds) ** 2
    total, x, y = w.sum(axis), (w * sizes).sum(axis), (w * seconds).sum(axis)
    xx, xy = (w * sizes**2).sum(axis), (w * sizes * seconds).sum(axis)
    slope = (total * xy - x * y) / (total * xx - x * x)
    alpha = (y - slope * x) / total
    return np.stack([alpha, 1 / slope, alpha / slope])


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
