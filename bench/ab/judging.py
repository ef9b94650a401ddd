"""What the visits say: of each kernel and each row how many times as fast B is, with an interval and one of four words.

A visit's figure is the median over its rounds of log(seconds of A / seconds of B); a row's is the mean over visits,
with a t-interval. Few visits know their own variance badly, so it is drawn towards those of the other rows (Smyth
2004, the moderated t-statistic).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.ab.cases import label
from bench.ab.measuring import Row, Visit
from bench.comparison.contrast import CONFIDENCE, HEAVY, WORDS, Contrast, Estimate, judged
from bench.comparison.spread import Floats, fit_prior
from bench.record.intervals import Interval

LEAST_VISITS = 2  # from which there is a variance
FLOOR = 1e-4  # the least standard deviation between visits that is believed


def figure(visit: Visit) -> float:
    """A visit's log of B's speed over A's."""
    a, b = (np.asarray(seconds)[visit.good] for seconds in visit.seconds)
    return float(np.median(np.log(a / b)))


@dataclass(frozen=True)
class Verdict:
    """B's speed over A's of a kernel or a row. visits: the ratio of each; more: visits that would tell, roughly."""

    word: str
    ratio: Interval
    visits: Sequence[float]
    more: int | None

    def as_dict(self) -> dict[str, Any]:
        ratios = {"ratio": self.ratio.as_dict(), "visits": self.visits}
        return {"verdict": self.word, **ratios, **({"more": self.more} if self.more else {})}


@dataclass(frozen=True)
class Page:
    """Everything that is said: kernels first, then rows; those that weren't compared are in neither."""

    kernels: Mapping[tuple[str, str], Verdict]
    rows: Sequence[tuple[Row, Verdict]]

    @property
    def words(self) -> list[str]:
        return [v.word for v in (*self.kernels.values(), *(v for _, v in self.rows))]


def judge(rows: Sequence[Row], threshold: float) -> Page:
    """threshold: per cent; what is nearer to no change is never called."""
    kept = [row for row in rows if len(row.visits) >= LEAST_VISITS]
    if not kept:
        return Page({}, [])
    figures = [np.array([figure(visit) for visit in row.visits]) for row in kept]
    names = list(dict.fromkeys((row.case.operation, row.backend) for row in kept))
    family = np.array([names.index((row.case.operation, row.backend)) for row in kept], np.intp)
    means = [_together([x for x, f in zip(figures, family, strict=True) if f == i]) for i in range(len(names))]
    families, own = _estimate(means), _estimate(figures)
    said = judged(Contrast(families, own, family), math.log1p(threshold / 100))
    kernels = [_verdict(families, i, int(said.families[i]), x, threshold) for i, x in enumerate(means)]
    verdicts = [_verdict(own, i, int(said.rows[i]), x, threshold) for i, x in enumerate(figures)]
    return Page(dict(zip(names, kernels, strict=True)), list(zip(kept, verdicts, strict=True)))


def _together(figures: Sequence[Floats]) -> Floats:
    """The mean over rows, visit by visit, of those visits that all of them have."""
    visits = min(map(len, figures))
    mean: Floats = np.mean([x[:visits] for x in figures], axis=0)
    return mean


def _estimate(figures: Sequence[Floats]) -> Estimate:
    """Means over visits with moderated standard errors."""
    count = np.array([len(x) for x in figures])
    variances = np.array([max(float(np.var(x, ddof=1)), FLOOR**2) for x in figures])
    freedom = count - 1.0
    if len(figures) > 1:
        common, prior = fit_prior(variances, freedom)
        if np.isinf(prior):
            variances, freedom = np.full(len(figures), common), np.full(len(figures), float(freedom.sum()))
        else:
            variances, freedom = (prior * common + freedom * variances) / (prior + freedom), freedom + prior
    single = np.sqrt(variances)
    value = np.array([float(x.mean()) for x in figures])
    return Estimate(value, single / np.sqrt(count), single, np.minimum(freedom, HEAVY))


def _verdict(of: Estimate, i: int, word: int, figures: Floats, threshold: float) -> Verdict:
    value, half = float(of.value[i]), float(of.half(1 - CONFIDENCE)[i])
    more = None
    if WORDS[word] == "can't tell":
        least = math.log1p(threshold / 100)
        telling = max(least - abs(value), abs(value))  # half an interval that is inside, or that leaves out no change
        more = max(len(figures) + 1, math.ceil(len(figures) * (half / telling) ** 2))
    ratio = Interval(math.exp(value), math.exp(value - half), math.exp(value + half))
    return Verdict(WORDS[word], ratio, np.exp(figures).tolist(), more)


def as_dict(row: Row, verdict: Verdict | None = None) -> dict[str, Any]:
    """A row for JSON, with the seconds of every round; without a verdict, one that wasn't compared."""
    samples = [
        {"seconds": list(visit.seconds), "marked": [i for i, marked in enumerate(visit.marked) if marked]}
        for visit in row.visits
    ]
    missing = {"AB"[i]: reason for i, reason in row.missing.items()}
    head = {"row": label(row.case), "operation": row.case.operation, "dims": row.case.dims, "backend": row.backend}
    return {**head, **(verdict.as_dict() if verdict else {"missing": missing}), "samples": samples}
