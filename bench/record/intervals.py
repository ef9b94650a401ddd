"""Figures with their 95 % intervals: medians of samples that came in visits."""

import math
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median

import numpy as np

CONFIDENCE = 0.95
SERIAL = 1.22  # standard error of a median at a lag-1 autocorrelation of 0.3, over that of independent samples
TWO_VISITS = 0.03  # standard deviation between visits that is assumed, as one degree of freedom, where there are two
STUDENT = {1: 12.706, 1.5: 6.039, 2: 4.303, 2.5: 3.575, 3: 3.182, 4: 2.776, 6: 2.447, 10: 2.228, 20: 2.086, 1e9: 1.960}
"""Student's t at 97.5 %, by degrees of freedom; between them linear in 1 / df, at most 1 % above the exact one."""


RESAMPLES = 999
FEWEST = 4  # sizes of messages, for a line
FLAT = 100.0  # times below the smallest size, or above the largest, half of a rate can't be told from none
STEP, POLISHED = 0.1, 4  # of a size's logarithm, when a line is sought, and how often what was found is bettered

TELLING = 100.0
"""High over low: an interval that spans more, as of two samples of one visit, tells nothing."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high

    def scaled(self, by: float) -> "Interval":
        return Interval(self.value * by, self.low * by, self.high * by)

    def inverse(self, numerator: float) -> "Interval":
        """numerator / this: from seconds to a rate."""
        return Interval(numerator / self.value, numerator / self.high, numerator / self.low)

    @property
    def shown(self) -> "Interval":
        """As tables and pictures have it: the value alone, low and high equal, where the interval tells nothing."""
        return self if self.high <= TELLING * self.low else Interval(self.value, self.value, self.value)

    def over(self, other: "Interval") -> "Interval":
        """The quotient of two figures that share no visit: as wide as both ends allow."""
        return Interval(self.value / other.value, self.low / other.high, self.high / other.low)

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@cache
def student(df: float) -> float:
    """Student's t at 97.5 % with df >= 1 degrees of freedom (see STUDENT)."""
    return float(np.interp(-1 / df, [-1 / known for known in STUDENT], list(STUDENT.values())))


def median_interval(values: Sequence[float], visits: Sequence[Hashable] | None = None) -> Interval:
    """The median of positive samples; its 95 % interval is for the median over many more visits.

    visits   which visit each sample belongs to; None: all are of one

    On a log scale, the wider of two: Student's t over the visits' medians, and what the scatter within visits alone
    gives (McGill, Tukey and Larsen 1978: 0.926 IQR / sqrt(n), times SERIAL, with (n - visits) / 2 degrees of freedom).
    Nothing is drawn at random, so the figures of a record can be derived again. Three visits or more: coverage is 94 to
    99 % whatever visits do. Two can't tell: the interval trusts that visits differ by about 3 %, and covers less than
    94 % where they differ by more than 7 %. One visit: the interval is that visit's, and knows nothing of how another
    would differ: 40 samples with 2 % noise cover 27 % where visits differ by 3 %. One sample, or samples
    that are all equal: a point. ValueError if there is none, one isn't positive and finite, or visits aren't as many.
    """
    data = [float(v) for v in values]
    names = [0] * len(data) if visits is None else list(visits)
    if not data or len(names) != len(data) or not all(0 < v < math.inf for v in data):
        raise ValueError("a median needs positive, finite samples, and a visit for each")
    value = median(data)
    if min(data) == max(data):
        return Interval(value, value, value)
    groups = defaultdict(list)
    for name, v in zip(names, data, strict=True):
        groups[name].append(v)
    medians = {name: math.log(median(group)) for name, group in groups.items()}
    rest = sorted(math.log(v) - medians[name] for name, v in zip(names, data, strict=True))
    error = SERIAL * 0.926 * (quantile(rest, 0.75) - quantile(rest, 0.25)) / math.sqrt(len(rest))
    count = len(medians)
    reach = student(max(1, (len(rest) - count) / 2)) * error
    if count == 2:
        spread = (_variance(medians.values()) + 2 * error**2 + TWO_VISITS**2) / 2
        reach = max(reach, student(2) * math.sqrt(spread / 2))
    elif count > 2:
        reach = max(reach, student(count - 1) * math.sqrt(_variance(medians.values()) / count))
    middle = fmean(medians.values())
    low, high = (math.exp(max(-700.0, min(700.0, middle + side))) for side in (-reach, reach))
    return Interval(value, min(low, value), max(high, value))


def _variance(values: Collection[float]) -> float:
    """Of two or more; statistics' own counts in fractions, which takes as long as the rest of an interval."""
    mean = fmean(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def geometric_mean_interval(values: Sequence[float], by_visit: Sequence[Mapping[int, float]]) -> Interval:
    """The geometric mean of positive figures; its interval is for the mean over many more visits.

    by_visit   of each figure what it was in each visit: what moves all of them from visit to visit doesn't average out

    Student's t over the means of the visits that all have. A point where that is one visit or none.
    """
    value = math.exp(fmean(map(math.log, values)))
    common = sorted(set.intersection(*map(set, by_visit)))
    if len(common) < 2:
        return Interval(value, value, value)
    means = [math.exp(fmean(math.log(visits[v]) for visits in by_visit)) for v in common]
    found = median_interval(means, common)
    return Interval(value, min(found.low, value), max(found.high, value))


@dataclass(frozen=True)
class Messages:
    """seconds = alpha + bytes / beta of messages, squared logarithms of model over measured; 95 % by bootstrap.

    half    bytes at which half of beta is reached: alpha beta
    misses  the largest factor between the line and what was measured, whichever is larger, and the size that has it
    """

    alpha: Interval
    beta: Interval
    half: Interval
    misses: float
    misses_at: int


def messages(points: Sequence[tuple[int, float]]) -> Messages | None:
    """The line through (bytes, seconds), of which samples are drawn with a fixed seed.

    None where FEWEST sizes weren't measured, or there is none with a latency and a rate.
    """
    sizes, seconds = np.array(points, float).reshape(-1, 2).T
    if len(set(sizes)) < FEWEST:
        return None
    count = len(sizes)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    with np.errstate(all="ignore"):  # of seconds that nobody measured comes no line, or one without a rate
        every = _fitted(sizes, seconds, np.vstack([np.ones(count), drawn]))
        low, high = np.quantile(every[:, 1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1).tolist()
    alpha, beta, half = every[:, 0].tolist()
    if not all(0 < value < math.inf for value in (alpha, beta, half, *low, *high)):
        return None
    each = [
        Interval(value, min(value, a), max(value, b))
        for value, a, b in zip((alpha, beta, half), low, high, strict=True)
    ]
    errors = np.exp(np.abs(np.log((alpha + sizes / beta) / seconds)))
    worst = int(errors.argmax())
    return Messages(each[0], each[1], each[2], float(errors[worst]), int(sizes[worst]))


def _fitted(sizes: np.ndarray, seconds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """alpha, beta and their product, for each row of weights; the product is 0 or infinite where FLAT is passed.

    log seconds = log alpha + log(1 + bytes / half): half by trying STEP after STEP, and then by Gauss and Newton.
    """
    weights, logs = weights / weights.sum(1, keepdims=True), np.log(seconds)
    first, last = math.log(sizes.min() / FLAT), math.log(sizes.max() * FLAT)
    tried = np.arange(first, last, STEP)
    rest = logs[:, None] - np.log1p(sizes[:, None] / np.exp(tried))
    half = tried[(weights @ rest**2 - (weights @ rest) ** 2).argmin(1)]
    for _ in range(POLISHED):
        over = sizes / np.exp(half)[:, None]
        rest, slope = logs - np.log1p(over), over / (1 + over)
        slope -= (weights * slope).sum(1, keepdims=True)
        step = (weights * slope * rest).sum(1) / (weights * slope**2).sum(1).clip(min=1e-300)
        half = (half - step.clip(-STEP, STEP)).clip(first, last)
    alpha = np.exp((weights * (logs - np.log1p(sizes / np.exp(half)[:, None]))).sum(1))
    size = np.where(half <= first + STEP, 0.0, np.where(half >= last - 2 * STEP, math.inf, np.exp(half)))
    return np.stack([alpha, size / alpha, size])
