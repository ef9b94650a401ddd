"""Figures with their 95 % bootstrap intervals, of medians, of bests and of ratios."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

MEDIAN_RESAMPLES = 999
RESAMPLES = 400  # of ratios and ridges
CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, 1 - (1 - CONFIDENCE) / 2)
SEED = 14123  # the figures of a record can be derived again, to the last digit
BLOCKS = 8  # neighbouring rounds share the machine's mood, so blocks of them are resampled, not single rounds


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

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

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def median_interval(seconds: Sequence[float]) -> Interval:
    """The median of samples with a percentile bootstrap interval; of one sample, that sample alone."""
    data = np.asarray(seconds, float)
    middle = float(np.median(data))
    if data.size < 2 or np.all(data == data[0]):
        return Interval(middle, middle, middle)
    picks = np.random.default_rng(SEED).integers(data.size, size=(MEDIAN_RESAMPLES, data.size))
    low, high = np.quantile(np.median(data[picks], axis=1), TAILS)
    return Interval(middle, float(low), float(high))


def best_interval(rates: Sequence[float], rounds: Sequence[int]) -> Interval:
    """The best of all samples, resampled in blocks of neighbouring rounds (see BLOCKS)."""
    return ratio_interval(rates, rounds, [1.0] * len(rates), rounds)


def ratio_interval(
    above: Sequence[float], above_rounds: Sequence[int], below: Sequence[float], below_rounds: Sequence[int]
) -> Interval:
    """Best of `above` / best of `below`: a ceilings' ridge with above = peak in FLOP/s, below = bandwidth in bytes/s.

    Both were sampled in the same rounds of a session; the interval comes from resampling blocks of rounds.
    """
    last = max(*above_rounds, *below_rounds) + 1
    blocks = min(BLOCKS, last)

    def best(values: Sequence[float], rounds: Sequence[int]) -> np.ndarray:
        per_block = np.full(blocks, -np.inf)
        np.maximum.at(per_block, np.asarray(rounds) * blocks // last, np.asarray(values, float))
        return per_block

    up, down = best(above, above_rounds), best(below, below_rounds)
    value = float(up.max() / down.max())
    picks = np.random.default_rng(SEED).integers(blocks, size=(RESAMPLES, blocks))
    ups, downs = up[picks].max(axis=1), down[picks].max(axis=1)
    whole = np.isfinite(ups) & np.isfinite(downs)  # a resample may miss the only block that has a probe
    ratios = ups[whole] / downs[whole]
    low, high = np.quantile(ratios, TAILS) if ratios.size else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value))
