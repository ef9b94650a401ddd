"""One side against the yardstick: rows matched, families and rows judged, what moved split, and what has no partner."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.comparison.alike import Agreed, Unlike, agreed
from bench.comparison.contrast import (
    CONFIDENCE,
    UNKNOWN,
    WORDS,
    Defaults,
    Estimate,
    Sample,
    contrast,
    judged,
)
from bench.comparison.families import Family, Key
from bench.comparison.session import Session, Value
from bench.comparison.spread import DEFAULTS, SHARE, SPEED, Floats

THRESHOLD = 3.0  # per cent
TELL = 10.0  # per cent: the change for which the number of sessions is said


@dataclass(frozen=True)
class Side:
    """Sessions that are replicates of each other; known: groups of other sessions of the same machine."""

    letter: str
    sessions: Sequence[Session]
    known: Sequence[Sequence[Session]] = ()

    @property
    def machine(self) -> str:
        return self.sessions[0].machine

    @cached_property
    def keys(self) -> set[Key]:
        return set().union(*(session.values for session in self.sessions))


class Outcome(NamedTuple):
    """What is said of a family or a row. Ratios are B's speed over A's.

    ratio     of times, A / B
    roof, own its two factors; None where there is no share of a roof
    interval  95 %, of the ratio that was judged: own on one machine, ratio between machines; None where a side can't
              tell whether it would repeat
    floor     the smallest ratio of that kind that would have been called faster; None: none would
    sessions  a side that would tell; None where the word is another
    """

    word: str
    ratio: float
    roof: float | None
    own: float | None
    low: float | None
    high: float | None
    floor: float | None
    sessions: int | None

    def as_dict(self) -> dict[str, Any]:
        return {"verdict": self.word, **{k: v for k, v in self._asdict().items() if k != "word"}}


class FamilyOutcome(NamedTuple):
    family: Family
    rows: int
    outcome: Outcome


class RowOutcome(NamedTuple):
    key: Key
    outcome: Outcome
    a: Sequence[Value]
    b: Sequence[Value]


@dataclass(frozen=True)
class Page:
    """B against A.

    moved  by role, how many times as fast the roofs became: the median over rows; None where no row has a roof
    only_a, only_b  rows without a partner
    unlike  what a side lacks of the roofs, and what is done about it
    once    by side how many rows it measured in one visit of one session: these are never called
    """

    a: Side
    b: Side
    families: Sequence[FamilyOutcome]
    rows: Sequence[RowOutcome]
    moved: Mapping[str, float]
    only_a: Sequence[Key]
    only_b: Sequence[Key]
    unlike: Sequence[Unlike] = ()
    once: Mapping[str, int] = field(default_factory=dict)

    @property
    def one_machine(self) -> bool:
        return self.a.machine == self.b.machine

    @property
    def replicates(self) -> int:
        """Sessions that repeat another one of the same making: what the variance is estimated from."""
        groups = [side.sessions for side in (self.a, self.b)] + [g for side in (self.a, self.b) for g in side.known]
        return sum(len(group) for group in groups if len(group) > 1)

    @property
    def slower(self) -> bool:
        """Whether a kernel or a whole model is. Probes are the machine's own speed."""
        return any(f.outcome.word == "slower" and f.family.class_ != "probes" for f in self.families) or any(
            r.outcome.word == "slower" and r.key.kind != "probe" for r in self.rows
        )


class Panel(NamedTuple):
    """Values of some rows in some sessions, rows x sessions; nan where a session lacks one."""

    speed: Floats
    speed_error: Floats
    share: Floats
    share_error: Floats


def panel(keys: Sequence[Key], sessions: Iterable[Session], alike: Agreed) -> Panel:
    nothing = Value(*[math.nan] * 4)
    values = [[alike.value(one, key) if key in one.values else nothing for key in keys] for one in sessions]
    cube = np.array(values, float).reshape(len(values), len(keys), 4)
    return Panel(*np.ascontiguousarray(cube.transpose(2, 1, 0)))


def defaults(keys: Sequence[Key], shares: np.ndarray) -> tuple[Defaults, list[Family]]:
    """Of rows that are judged by their share of the roof, or by their speed; and their families in order."""
    order = {family: i for i, family in enumerate(dict.fromkeys(key.family for key in keys))}
    family = np.array([order[key.family] for key in keys], np.intp)
    classes = {name: i for i, name in enumerate(DEFAULTS[SPEED])}
    sds = [DEFAULTS[SHARE if share else SPEED][key.class_] for key, share in zip(keys, shares, strict=True)]
    shared, own = (np.array([sd[i] ** 2 for sd in sds]) for i in (0, 1))
    size = np.bincount(family, minlength=len(order))

    def mean(values: Floats) -> Floats:
        return np.bincount(family, weights=values, minlength=len(order)) / size

    row_class = np.array([classes[key.class_] for key in keys], np.intp)
    family_class = np.array([classes[one.class_] for one in order], np.intp)
    return Defaults(mean(shared) + mean(own) / size, shared + own, family_class, row_class, family), list(order)


def judged_by(of: Panel, by_share: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """What is judged, the share of the roof or else the speed; and errors within sessions."""
    chosen = by_share[:, None]
    return np.where(chosen, of.share, of.speed), np.where(chosen, of.share_error, of.speed_error)


def compare(a: Side, b: Side, threshold: float = THRESHOLD, pages: int = 1) -> Page:
    """threshold  in per cent
    pages      how many sides are compared with A: false alarms are held to 5 % for all of them together
    """
    keys = sorted(a.keys & b.keys, key=_order)
    only_a, only_b = (sorted(side.keys - set(keys), key=_order) for side in (a, b))
    if not keys:
        return Page(a, b, [], [], {}, only_a, only_b)
    one_machine = a.machine == b.machine
    alike = agreed(keys, {side.letter: side.sessions for side in (a, b)}, one_machine)
    ours, theirs = (panel(keys, side.sessions, alike) for side in (a, b))
    has_roof = np.logical_and(*(np.all(np.isfinite(s.share) | ~np.isfinite(s.speed), axis=1) for s in (ours, theirs)))
    by_share = has_roof if one_machine else np.zeros(len(keys), bool)
    known, families = defaults(keys, by_share)
    between = contrast(*_samples(keys, a, b, by_share, alike), known, one_machine)
    ratio = _mean(theirs.speed) - _mean(ours.speed)
    own = np.where(has_roof, _mean(theirs.share) - _mean(ours.share), np.nan)
    said = judged(between, math.log1p(threshold / 100), pages)
    tell = math.log1p(max(TELL, threshold) / 100)
    in_families = [
        np.bincount(known.family, weights=x, minlength=len(families)) / np.bincount(known.family) for x in (ratio, own)
    ]
    sizes = np.bincount(known.family)
    repeated = {side.letter: repeats(keys, side) for side in (a, b)}
    rows_told = np.logical_and(*repeated.values())
    told = 2 * np.bincount(known.family, weights=rows_told) > sizes  # a family, by most of its rows
    of_families = _outcomes(
        between.families, said.families, said.family_floor, said.family_error, in_families, tell, told
    )
    of_rows = _outcomes(between.rows, said.rows, said.row_floor, said.row_error, (ratio, own), tell, rows_told)
    return Page(
        a,
        b,
        [FamilyOutcome(*x) for x in zip(families, map(int, sizes), of_families, strict=True)],
        [
            RowOutcome(key, one, _values(key, a, alike), _values(key, b, alike))
            for key, one in zip(keys, of_rows, strict=True)
        ],
        _moved(keys, ratio - own),
        only_a,
        only_b,
        alike.unlike,
        {letter: int(np.sum(~of)) for letter, of in repeated.items() if not of.all()},
    )


def repeats(keys: Sequence[Key], side: Side) -> NDArray[np.bool_]:
    """Which rows a side has twice, in two sessions or in two visits of one: others can't tell what would repeat."""
    having = ([one for one in side.sessions if key in one.values] for key in keys)
    found = [len(of) > 1 or any(key not in one.once for one in of) for key, of in zip(keys, having, strict=True)]
    return np.array(found, bool)


def _order(key: Key) -> tuple[Any, ...]:
    """As a table has them: kernels before whole models and probes, roles and families together, small before large."""
    place = ("kernel", "run", "probe").index(key.kind)
    return place, key.role != "one", key.role, *key.family, [size for _, size in key.dims], key


def _values(key: Key, side: Side, alike: Agreed) -> list[Value]:
    return [alike.value(session, key) for session in side.sessions if key in session.values]


def _mean(values: Floats) -> Floats:
    """Over the sessions that have the row; nan where none has it."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _samples(
    keys: Sequence[Key], a: Side, b: Side, by_share: NDArray[np.bool_], alike: Agreed
) -> tuple[Sample, Sample]:
    """Both sides, each with what is known of its machine: of one machine, the same columns."""

    def of(sessions: Sequence[Session]) -> tuple[Floats, Floats]:
        return judged_by(panel(keys, sessions, alike), by_share)

    def groups(known: Sequence[Sequence[Session]], start: int) -> list[list[int]]:
        ends = start + np.cumsum([0, *map(len, known)])
        return [list(range(*ends[i : i + 2])) for i in range(len(known))]

    first, second = len(a.sessions), len(b.sessions)
    if a.machine == b.machine:
        known = [*a.known, *b.known]
        values = of([*a.sessions, *b.sessions, *(session for group in known for session in group)])
        others = groups(known, first + second)
        return Sample(*values, range(first), others), Sample(*values, range(first, first + second), others)
    made = []
    for side in (a, b):
        values = of([*side.sessions, *(session for group in side.known for session in group)])
        made.append(Sample(*values, range(len(side.sessions)), groups(side.known, len(side.sessions))))
    return made[0], made[1]


def _outcomes(
    of: Estimate,
    words: NDArray[np.int8],
    floors: Floats,
    errors: Floats,
    parts: Sequence[Floats],
    tell: float,
    told: NDArray[np.bool_],
) -> list[Outcome]:
    """parts: logs of the ratio of times, and of the share of it that is no roof's; told: which can be called at all."""
    half = of.half(1 - CONFIDENCE)
    ratio, own = (np.exp(x) for x in parts)
    low, high, floor = np.exp(of.value - half), np.exp(of.value + half), np.exp(floors)
    sessions = of.sessions(tell, errors)
    found = []
    for i, word in enumerate(words):
        has_roof = bool(np.isfinite(own[i]))
        called = word if told[i] else UNKNOWN
        needed = max(int(sessions[i]), 1 if told[i] else 2)
        found.append(
            Outcome(
                WORDS[called],
                float(ratio[i]),
                float(ratio[i] / own[i]) if has_roof else None,
                float(own[i]) if has_roof else None,
                float(low[i]) if told[i] else None,
                float(high[i]) if told[i] else None,
                float(floor[i]) if told[i] else None,
                needed if called == UNKNOWN else None,
            )
        )
    return found


def _moved(keys: Sequence[Key], roofs: Floats) -> dict[str, float]:
    roles = dict.fromkeys(key.role for key in keys)
    found = {}
    for role in roles:
        mine = [x for key, x in zip(keys, roofs, strict=True) if key.role == role and np.isfinite(x)]
        if mine:
            found[role] = float(np.exp(np.median(mine)))
    return found
