"""False alarms and power of bench.compare, tried on sessions of one machine between which nothing changed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from bench.comparison.alike import agreed
from bench.comparison.contrast import SAME, Contrast, Defaults, Estimate, Sample, called, contrast, judged
from bench.comparison.families import Family, Key
from bench.comparison.page import defaults, judged_by, panel
from bench.comparison.session import Session
from bench.comparison.spread import Floats, Ints, Parts, parts
from bench.quantities import plural

SLOWED = (3, 5, 10, 25)  # per cent
ALONE = "one record a side, nothing else known"
FOLDER = "with the machine's other records"
SPLITS, SEED = 40, 14123


class Matrix(NamedTuple):
    """Rows that all sessions have, rows x sessions. Values and errors are shares of the roof, or else speeds."""

    keys: Sequence[Key]
    families: Sequence[Family]
    known: Defaults
    values: Floats
    errors: Floats
    speed: Floats
    share: Floats


def matrix(sessions: Sequence[Session]) -> Matrix:
    """left out: rows that a session lacks."""
    keys = sorted(set.intersection(*(set(one.values) for one in sessions)))
    every = panel(keys, sessions, agreed(keys, {"": sessions}, one_machine=True))
    by_share = np.all(np.isfinite(every.share), axis=1, keepdims=True)
    known, families = defaults(keys, by_share[:, 0])
    values, errors = judged_by(every, by_share[:, 0])
    return Matrix(keys, families, known, values, errors, every.speed, every.share)


@dataclass
class Found:
    """Of slowing one family in one session of a pair, for all families and pairs: shares in 0 to 1."""

    families: float
    rows: float
    families_faster: float
    rows_faster: float


@dataclass
class Trial:
    """Over all pairs of sessions: shares of rows, families and pages that are called, though nothing changed; of those
    that are called the same; the median noise floor of a family, as a ratio; and what was found by how much slower.
    """

    way: str
    pairs: int
    rows: float
    families: float
    pages: float
    rows_same: float
    families_same: float
    floor: float
    found: Mapping[int, Found] = field(default_factory=dict)


def trials(of: Matrix, threshold: float) -> list[Trial]:
    """threshold: a log. Both ways to know the variance of a pair, and half of the sessions against the other half.

    The second from four sessions on, the third from six.
    """
    count = of.values.shape[1]
    found = [_trial(of, ALONE, _pages(of, False), threshold)]
    if count >= 4:
        found.append(_trial(of, FOLDER, _pages(of, True), threshold))
    if count >= 6:
        found.append(_trial(of, f"{plural(count // 2, 'record')} a side", _halves(of), threshold))
    return found


def _halves(of: Matrix) -> Iterator[Contrast]:
    """SPLITS times half of the sessions, drawn at random, against the other half."""
    random, count = np.random.default_rng(SEED), of.values.shape[1]
    for _ in range(SPLITS):
        drawn = random.permutation(count).tolist()
        half = count // 2
        one, other = (Sample(of.values, of.errors, side) for side in (drawn[:half], drawn[half : 2 * half]))
        yield contrast(one, other, of.known, True)


def _pages(of: Matrix, others: bool) -> Iterator[Contrast]:
    """Every pair, compared; the variance is never from the pair itself."""
    count = of.values.shape[1]
    for a, b in combinations(range(count), 2):
        known = [[i for i in range(count) if i not in (a, b)]] if others else []
        one, other = (Sample(of.values, of.errors, [side], known) for side in (a, b))
        yield contrast(one, other, of.known, True)


def _trial(of: Matrix, way: str, compared: Iterator[Contrast], threshold: float) -> Trial:
    said: list[list[float]] = []
    seen: dict[int, list[tuple[float, ...]]] = {percent: [] for percent in SLOWED}
    for page in compared:
        words = judged(page, threshold)
        both = words.rows, words.families
        alarms = [float(np.mean(one < SAME)) for one in both]
        same = [float(np.mean(one == SAME)) for one in both]
        said.append([*alarms, float(max(alarms) > 0), *same, float(np.median(words.family_floor))])
        for direction in (page, _turned(page)):
            for percent in SLOWED:
                seen[percent] += _slowed(direction, math.log1p(percent / 100), threshold)
    rows, families, pages, rows_same, families_same, floor = np.mean(said, axis=0).tolist()
    found = {percent: Found(*np.mean(shares, axis=0).tolist()) for percent, shares in seen.items()}
    return Trial(way, len(said), rows, families, pages, rows_same, families_same, math.exp(floor), found)


def _turned(page: Contrast) -> Contrast:
    families, rows = (one._replace(value=-one.value) for one in (page.families, page.rows))
    return Contrast(families, rows, page.family)


def _slowed(page: Contrast, by: float, threshold: float) -> Iterator[tuple[float, float, float, float]]:
    """Of each family, slowed alone: whether it is called slower, the share of its rows, and the same of faster."""
    p = page.families.p, page.rows.p
    for family in range(len(page.families.value)):
        members = np.flatnonzero(page.family == family)
        (families, p_families), (rows, p_rows) = (
            _moved(page.families, p[0], np.array([family]), -by),
            _moved(page.rows, p[1], members, -by),
        )
        found = called(Contrast(families, rows, page.family), (p_families, p_rows), threshold)
        slower = rows.value[members] < 0
        hit, row_hits = found.families[family], found.rows[members]
        yield (
            float(hit and families.value[family] < 0),
            float((row_hits & slower).mean()),
            float(hit and families.value[family] > 0),
            float((row_hits & ~slower).mean()),
        )


def _moved(of: Estimate, p: Floats, which: Ints, by: float) -> tuple[Estimate, Floats]:
    """Some of the differences moved, and all p."""
    value, new = of.value.copy(), p.copy()
    value[which] += by
    new[which] = of._replace(value=value).at(which).p
    return of._replace(value=value), new


class ClassSpread(NamedTuple):
    """Standard deviations between sessions of a class, of times and of shares of the roof; None: it has none."""

    class_: str
    rows: int
    speed: Parts | None
    share: Parts | None

    def as_dict(self) -> dict[str, Any]:
        sds = {name: one and one._asdict() for name, one in zip(("speed", "share"), self[2:], strict=True)}
        return {"class": self.class_, "rows": self.rows, **sds}


def class_spreads(of: Matrix) -> list[ClassSpread]:
    found = []
    replicates = [range(of.values.shape[1])]
    for name in dict.fromkeys(key.class_ for key in of.keys):
        mine = np.array([key.class_ == name for key in of.keys])

        def sds(values: Floats, of_rows: np.ndarray) -> Parts | None:
            if not of_rows.any():
                return None
            _, family = np.unique(of.known.family[of_rows], return_inverse=True)
            return parts(values[of_rows], replicates, family, int(family.max()) + 1)

        has_share = mine & np.isfinite(of.share).all(axis=1)
        found.append(ClassSpread(name, int(mine.sum()), sds(of.speed, mine), sds(of.share, has_share)))
    return found


class Ridges(NamedTuple):
    """The ceilings' ridge of one role over sessions: its extremes, and in how many pairs the intervals overlap."""

    role: str
    lowest: float
    highest: float
    pairs: int
    overlapping: int


def ridges(sessions: Sequence[Session]) -> list[Ridges]:
    found = []
    for role in dict.fromkeys(role for one in sessions for role in one.roofs):
        known = [one.roofs[role] for one in sessions if "ridge" in one.roofs.get(role, {})]
        pairs = list(combinations(known, 2))
        if pairs:
            over = sum(a["ridge_low"] <= b["ridge_high"] and b["ridge_low"] <= a["ridge_high"] for a, b in pairs)
            values = [one["ridge"] for one in known]
            found.append(Ridges(role, min(values), max(values), len(pairs), over))
    return found
