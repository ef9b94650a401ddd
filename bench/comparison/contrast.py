"""Two sides on arrays: differences with their standard errors, and which of four words each is called.

Families are judged first, under Holm's correction for as many as stand on the page; then rows: those of families that
were called among themselves, and all rows of the page under a smaller share of the error. So at most 5 % of pages on
which nothing changed call anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # scipy.special, 0.2 s, is imported when it is first used
from numpy.typing import NDArray

from bench.comparison.spread import Floats, Ints, Spread, centred, means, moderated, squares

FASTER, SLOWER, SAME, UNKNOWN = range(4)
WORDS = ("faster", "slower", "same", "can't tell")

FAMILY_ERROR = 0.04  # false alarms a page, of families and of the rows in them
ROW_ERROR = 0.01  # and of rows whose family wasn't called
CONFIDENCE = 0.95
POWER = 0.8
HEAVY = 10  # degrees of freedom at most: disturbed sessions make the tails heavier than a normal distribution's
MOST_SESSIONS = 99


class Estimate(NamedTuple):
    """Differences of logarithms, B minus A, positive: B is faster.

    error    standard errors of the differences
    single   of one session against one
    freedom  degrees of freedom of both
    """

    value: Floats
    error: Floats
    single: Floats
    freedom: Floats

    def at(self, which: Ints) -> "Estimate":
        """Some of them."""
        return Estimate(*(one[which] for one in self))

    def shifted(self, by: Floats | float) -> "Estimate":
        return self._replace(value=self.value + by)

    @property
    def p(self) -> Floats:
        """Two-sided, of no difference."""
        result: Floats = 2 * scipy.special.stdtr(self.freedom, -np.abs(self.value) / self.error)
        return result

    def half(self, error: Floats | float) -> Floats:
        """Half of the interval that misses with this probability."""
        result: Floats = scipy.special.stdtrit(self.freedom, 1 - np.asarray(error) / 2) * self.error
        return result

    def sessions(self, effect: float, error: Floats | float) -> Ints:
        """Sessions a side that find an effect with a probability of POWER; one more than MOST_SESSIONS: not so few.

        The t distribution shifted stands for the non-central one.
        """
        counts = np.arange(1, MOST_SESSIONS + 1)
        freedom = np.minimum(self.freedom[:, None] + 2 * (counts - 1), HEAVY)
        critical = scipy.special.stdtrit(freedom, 1 - np.broadcast_to(np.asarray(error), self.value.shape)[:, None] / 2)
        found = scipy.special.stdtr(freedom, effect / (self.single[:, None] / np.sqrt(counts)) - critical) >= POWER
        return np.where(found.any(axis=1), counts[found.argmax(axis=1)], MOST_SESSIONS + 1)


@dataclass(frozen=True)
class Contrast:
    """Families and rows of a page; family: of each row the index of its family."""

    families: Estimate
    rows: Estimate
    family: Ints


class Sample(NamedTuple):
    """One machine's figures of the rows of a page, rows x sessions, nan where a session lacks one.

    errors   standard errors within the sessions
    side     columns that are compared
    others   groups of columns that are replicates of each other: what is known besides
    """

    values: Floats
    errors: Floats
    side: Sequence[int]
    others: Sequence[Sequence[int]] = ()


class Defaults(NamedTuple):
    """What is known of the rows without data: variances of families and rows, and the class of each."""

    families: Floats
    rows: Floats
    family_class: Ints
    row_class: Ints
    family: Ints


def spreads(values: Floats, groups: Sequence[Sequence[int]], known: Defaults) -> tuple[Spread, Spread]:
    """Of families and of rows, from groups of replicates."""
    residuals, freedom = centred(values, groups)
    sessions = sum(len(group) - 1 for group in groups if len(group) > 1)
    rows = moderated(squares(residuals, freedom), freedom, known.rows, known.row_class, sessions)
    count = len(known.families)
    together = means(residuals, known.family, count)
    present = [np.isfinite(together[:, group]).sum(axis=1) for group in groups]
    free = np.sum([np.maximum(p - 1, 0) for p in present], axis=0) if present else np.zeros(count)
    free = np.asarray(free, float)
    families = moderated(squares(together, free), free, known.families, known.family_class, sessions)
    return families, rows


class _Side(NamedTuple):
    rows: Floats
    families: Floats
    count_rows: Floats
    count_families: Floats
    floor_rows: Floats
    floor_families: Floats


def _side(sample: Sample, known: Defaults) -> _Side:
    """Means of one side, how many sessions are behind each, and the variance that one session has within itself."""
    values, squared = sample.values[:, sample.side], sample.errors[:, sample.side] ** 2
    has = np.isfinite(values)
    count = has.sum(axis=1)
    rows = np.where(has, values, 0).sum(axis=1) / count
    inside = np.where(np.isfinite(squared), squared, 0).sum(axis=1) / count
    of = len(known.families)
    size = np.bincount(known.family, minlength=of)
    families = np.bincount(known.family, weights=rows, minlength=of) / size
    per_family = np.bincount(known.family, weights=count, minlength=of) / size
    inside_family = np.bincount(known.family, weights=inside, minlength=of) / size**2
    return _Side(rows, families, count, per_family, inside, inside_family)


def contrast(a: Sample, b: Sample, known: Defaults, one_machine: bool) -> Contrast:
    """B minus A; every row has a value on both sides.

    one_machine  a and b have the same values and others: the variance is pooled. Otherwise each machine has its own,
                 and the degrees of freedom are Welch's
    """
    ours, theirs = _side(a, known), _side(b, known)
    if one_machine:
        groups = [a.side, b.side, *a.others]
        mine = yours = spreads(a.values, groups, known)
    else:
        mine = spreads(a.values, [a.side, *a.others], known)
        yours = spreads(b.values, [b.side, *b.others], known)

    def estimate(which: int, difference: Floats, counts: Sequence[Floats], floors: Sequence[Floats]) -> Estimate:
        variances = [np.maximum(of[which].variance, floor) for of, floor in zip((mine, yours), floors, strict=True)]
        free = [of[which].freedom for of in (mine, yours)]
        each = [variance / count for variance, count in zip(variances, counts, strict=True)]
        freedom = free[0]
        if not one_machine:
            freedom = (each[0] + each[1]) ** 2 / (each[0] ** 2 / free[0] + each[1] ** 2 / free[1])
        freedom = np.minimum(freedom, HEAVY)
        return Estimate(difference, np.sqrt(each[0] + each[1]), np.sqrt(variances[0] + variances[1]), freedom)

    return Contrast(
        estimate(
            0,
            theirs.families - ours.families,
            (ours.count_families, theirs.count_families),
            (ours.floor_families, theirs.floor_families),
        ),
        estimate(
            1, theirs.rows - ours.rows, (ours.count_rows, theirs.count_rows), (ours.floor_rows, theirs.floor_rows)
        ),
        known.family,
    )


class Judged(NamedTuple):
    """Indices of WORDS, and what decided.

    error  the probability of a false alarm that each was held to, at the first step of Holm's procedure
    floor  the smallest difference of logarithms that would have been called
    """

    families: NDArray[np.int8]
    rows: NDArray[np.int8]
    family_error: Floats
    row_error: Floats
    family_floor: Floats
    row_floor: Floats


def holm(p: Floats, error: float) -> NDArray[np.bool_]:
    """Which hypotheses fall, so that one that is true falls with at most this probability (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    passed = p[order] <= error / np.arange(len(p), 0, -1)
    fallen = np.zeros(len(p), bool)
    fallen[order[: len(p) if passed.all() else int(np.argmin(passed))]] = True
    return fallen


class Called(NamedTuple):
    """Which families and rows are called, whatever the direction."""

    families: NDArray[np.bool_]
    rows: NDArray[np.bool_]


def called(of: Contrast, p: tuple[Floats, Floats], threshold: float, pages: int = 1) -> Called:
    """p: those of of.families and of.rows. See judged() for the rest."""
    families = holm(p[0], FAMILY_ERROR / pages) & (np.abs(of.families.value) >= threshold)
    rows = holm(p[1], ROW_ERROR / pages)
    for one in np.flatnonzero(families):
        members = np.flatnonzero(of.family == one)
        rows[members] |= holm(p[1][members], FAMILY_ERROR / pages)
    return Called(families, rows & (np.abs(of.rows.value) >= threshold))


def judged(of: Contrast, threshold: float, pages: int = 1) -> Judged:
    """threshold  a log: differences below it are never called, and those whose whole interval is below are "same"
    pages      comparisons among which the error is divided
    """
    families, rows = of.families, of.rows
    found = called(of, (families.p, rows.p), threshold, pages)
    size = np.bincount(of.family, minlength=len(found.families))
    alone = ROW_ERROR / pages / len(found.rows)
    row_error = np.where(found.families, FAMILY_ERROR / pages / size, alone)[of.family]
    family_error = np.full(len(size), FAMILY_ERROR / pages / len(size))
    return Judged(
        _words(families, found.families, threshold),
        _words(rows, found.rows, threshold),
        family_error,
        row_error,
        np.maximum(families.half(family_error), threshold),
        np.maximum(rows.half(row_error), threshold),
    )


def _words(of: Estimate, called: NDArray[np.bool_], threshold: float) -> NDArray[np.int8]:
    inside = np.abs(of.value) + of.half(1 - CONFIDENCE) <= threshold
    word = np.where(called, np.where(of.value > 0, FASTER, SLOWER), np.where(inside, SAME, UNKNOWN))
    return word.astype(np.int8)
