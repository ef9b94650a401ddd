"""All layers of one contestant in a line."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.escape.layers.figures import Way
from bench.record.intervals import Interval, geometric_mean_interval


@dataclass(frozen=True)
class Summary:
    """A type on a backend and so many threads: geometric means over layers, and the range of shares of the roof.

    hot_gbps, of_peak, saturating  medians over the layers' kernels, which differ in their orientation alone
    limits                         how many layers each limit stops, the most frequent first
    """

    one: Way
    layers: int
    byte_ratio: float
    speedup: Interval
    roof: tuple[float, float] | None
    hot_gbps: float | None
    of_peak: float | None
    saturating: float | None
    limits: Sequence[tuple[str, int]]
    error: tuple[float, float]

    @property
    def achieved(self) -> float:
        return self.speedup.value / self.byte_ratio


def summaries(ways: Sequence[Way]) -> list[Summary]:
    """One per contestant, in the order of the first."""
    groups = defaultdict(list)
    for way in ways:
        groups[way.contestant].append(way)
    return [_summary(group) for group in groups.values()]


def _summary(group: Sequence[Way]) -> Summary:
    ratios = [way.byte_ratio for way in group]
    shares = [way.percent_of_read_roof.value for way in group if way.percent_of_read_roof]
    errors = [way.error for way in group]
    return Summary(
        group[0],
        len(group),
        geometric_mean_interval(ratios, [{} for _ in ratios]).value,
        geometric_mean_interval([way.speedup.value for way in group], [way.by_visit for way in group]),
        (min(shares), max(shares)) if shares else None,
        _median([way.hot_gbps for way in group]),
        _median([way.of_peak for way in group]),
        _median([way.saturating for way in group]),
        Counter(way.limited_by for way in group if way.limited_by).most_common(),
        (min(errors), max(errors)),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
