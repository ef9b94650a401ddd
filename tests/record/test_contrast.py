"""bench.comparison on sessions drawn from known distributions: false alarms, power, four words, variances."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import polygamma

from bench.comparison.contrast import (
    FASTER,
    MOST_SESSIONS,
    SAME,
    SLOWER,
    UNKNOWN,
    Contrast,
    Defaults,
    Estimate,
    Judged,
    Sample,
    contrast,
    holm,
    judged,
)
from bench.comparison.spread import DEFAULT_SESSIONS, Parts, fit_prior, moderated, parts

FAMILIES, EACH = 20, 8
FAMILY = np.repeat(np.arange(FAMILIES), EACH)
THRESHOLD = math.log(1.03)
ASSUMED = Parts(0.008, 0.012)


class World(NamedTuple):
    """Sessions of one machine, and what is known of it beforehand."""

    values: np.ndarray
    errors: np.ndarray
    known: Defaults


def defaults(assumed: Parts = ASSUMED) -> Defaults:
    families = np.full(FAMILIES, assumed.family**2 + assumed.row**2 / EACH)
    rows = np.full(len(FAMILY), assumed.family**2 + assumed.row**2)
    return Defaults(families, rows, np.zeros(FAMILIES, int), np.zeros(len(FAMILY), int), FAMILY)


def drawn(sessions: int, seed: int, sds: Parts = ASSUMED, assumed: Parts = ASSUMED) -> World:
    """y = row + family x session + row x session."""
    draw = np.random.default_rng(seed).normal
    rows = draw(0, 1, len(FAMILY))
    shared = draw(0, sds.family, (FAMILIES, sessions))
    own = draw(0, sds.row, (len(FAMILY), sessions))
    values = rows[:, None] + shared[FAMILY] + own
    return World(values, np.full(values.shape, 0.004), defaults(assumed))


def between(world: World, a: list[int], b: list[int], known: bool = False) -> Contrast:
    rest = [i for i in range(world.values.shape[1]) if i not in (*a, *b)]
    samples = (Sample(world.values, world.errors, side, [rest] if known else []) for side in (a, b))
    return contrast(*samples, world.known, True)


def alarms(said: list[Judged]) -> tuple[float, float]:
    """Shares of rows, and of pages with any row or family, that are called."""
    rows = np.mean([one.rows < SAME for one in said])
    return float(rows), float(np.mean([(one.rows < SAME).any() or (one.families < SAME).any() for one in said]))


def slowed(of: Contrast, by: float, family: int = 0) -> Contrast:
    size = -math.log1p(by)
    families = of.families.shifted(size * (np.arange(FAMILIES) == family))
    return Contrast(families, of.rows.shifted(size * (of.family == family)), of.family)


TWO_SIDES: dict[str, Callable[[World], Contrast]] = {
    "one session a side": lambda world: between(world, [0], [1]),
    "and the machine's others": lambda world: between(world, [0], [1], known=True),
    "three a side": lambda world: between(world, [0, 1, 2], [3, 4, 5]),
}


@pytest.mark.parametrize("sides", TWO_SIDES.values(), ids=TWO_SIDES)
def test_false_alarms_and_power(sides: Callable[[World], Contrast]) -> None:
    """Of rows and of pages on which nothing changed at most 5 % are called; +10 % in a family is found in 95 %."""
    pages = [sides(drawn(8, seed)) for seed in range(60)]
    rows, page = alarms([judged(one, THRESHOLD) for one in pages])
    assert rows <= 0.005
    assert page <= 0.05
    said = [judged(slowed(one, 0.10), THRESHOLD) for one in pages]
    assert np.mean([one.families[0] == SLOWER for one in said]) >= 0.95
    assert np.mean([one.families[0] == FASTER for one in said]) == 0
    assert np.mean([(one.families[1:] < SAME).any() for one in said]) <= 0.05


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_the_machines_own_sessions_correct_the_default(noise: float) -> None:
    """A machine with more noise than the default raises false alarms until its sessions are known; one with less has
    a lower floor.
    """
    sds = Parts(ASSUMED.family * noise, ASSUMED.row * noise)
    worlds = [drawn(10, seed, sds) for seed in range(30)]
    blind, informed = (
        [judged(between(world, [0], [1], known), THRESHOLD) for world in worlds] for known in (False, True)
    )
    floors = [float(np.mean([one.family_floor for one in said])) for said in (blind, informed)]
    assert alarms(informed)[1] <= 0.05
    if noise > 1:
        assert alarms(blind)[1] > 0.3
        assert floors[1] > 1.5 * floors[0]
    else:
        assert floors[1] < 0.8 * floors[0]


def test_rows_of_one_session_are_no_independent_draws() -> None:
    """A family's mean is as uncertain as its sessions differ, however many rows it has."""
    world = drawn(8, 1, Parts(0.03, 0.001), Parts(0.03, 0.001))
    found = between(world, [0, 1, 2, 3], [4, 5, 6, 7])
    expected = 0.03 * math.sqrt(2 / 4)
    assert np.median(found.families.error) == pytest.approx(expected, rel=0.2)
    assert np.std(found.families.value) == pytest.approx(expected, rel=0.5)


def test_four_words() -> None:
    values = np.array([0.2, -0.2, 0.001, 0.02])
    errors = np.array([0.01, 0.01, 0.001, 0.02])
    one = Estimate(values, errors, errors, np.full(4, 20.0))
    said = judged(Contrast(one, one, np.arange(4)), THRESHOLD)
    assert list(said.families) == [FASTER, SLOWER, SAME, UNKNOWN]
    assert list(said.rows) == [FASTER, SLOWER, SAME, UNKNOWN]


def test_same_needs_the_whole_interval_within_the_threshold() -> None:
    def word(value: float, error: float) -> int:
        one = Estimate(*(np.array([x]) for x in (value, error, error, 30.0)))
        return int(judged(Contrast(one, one, np.array([0])), THRESHOLD).families[0])

    assert word(0.0, 0.014) == SAME  # 2.04 x 0.014 < 0.0296
    assert word(0.0, 0.015) == UNKNOWN
    assert word(0.025, 0.001) == SAME  # surely not zero, but below what matters
    assert word(0.029, 0.001) == UNKNOWN
    assert word(0.031, 0.001) == FASTER
    assert word(-0.031, 0.001) == SLOWER


def test_a_row_is_called_where_its_family_is_not() -> None:
    world = drawn(8, 3)
    found = between(world, [0], [1], known=True)
    rows = found.rows.shifted(-0.3 * (np.arange(len(FAMILY)) == 4))
    said = judged(Contrast(found.families, rows, FAMILY), THRESHOLD)
    assert np.flatnonzero(said.rows < SAME).tolist() == [4]


def test_disturbed_rows_have_wider_intervals() -> None:
    world = drawn(2, 5)
    world.errors[0] = 0.2
    found = between(world, [0], [1])
    assert found.rows.error[0] == pytest.approx(0.2 * math.sqrt(2))
    assert found.families.error[0] > 1.5 * found.families.error[1]


def test_missing_rows_leave_the_others_alone() -> None:
    world = drawn(6, 7)
    whole = between(world, [0, 1, 2], [3, 4, 5])
    world.values[5, 1] = np.nan
    found = between(world, [0, 1, 2], [3, 4, 5])
    assert np.isfinite([*found.rows.value, *found.rows.error, *found.families.error]).all()
    assert found.rows.error[5] > whole.rows.error[5] * 0.9
    assert found.rows.value[np.arange(len(FAMILY)) != 5] == pytest.approx(whole.rows.value[np.arange(len(FAMILY)) != 5])


def test_two_machines_have_variances_of_their_own() -> None:
    quiet, loud = drawn(4, 1, Parts(0.005, 0.005)), drawn(4, 2, Parts(0.08, 0.08))
    sides = range(4)
    found = contrast(Sample(*quiet[:2], sides), Sample(*loud[:2], sides), quiet.known, False)
    alike = contrast(Sample(*quiet[:2], sides), Sample(*drawn(4, 3)[:2], sides), quiet.known, False)
    assert np.median(found.rows.error) > 2 * np.median(alike.rows.error)
    assert np.all(found.rows.freedom <= alike.rows.freedom + 8)


def test_sessions_that_would_tell() -> None:
    def sessions(single: float, freedom: float = 8.0) -> int:
        one = Estimate(*(np.array([x]) for x in (0.0, single, single, freedom)))
        return int(one.sessions(math.log(1.1), 0.001)[0])

    counts = [sessions(x) for x in (0.005, 0.03, 0.06, 0.12)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert sessions(10.0) == MOST_SESSIONS + 1
    worlds = [drawn(2 * counts[2], seed, Parts(0.06 / math.sqrt(2), 1e-4), Parts(0.0424, 1e-4)) for seed in range(20)]
    half = [list(range(counts[2])), list(range(counts[2], 2 * counts[2]))]
    found = [between(world, *half).families for world in worlds]
    power = np.mean([one.shifted(-math.log(1.1)).p[0] < 0.001 for one in found])
    assert power >= 0.6


def test_holm() -> None:
    p = np.array([0.03, 0.001, 0.02, 0.5])
    assert holm(p, 0.05).tolist() == [False, True, False, False]
    assert holm(p, 0.08).tolist() == [True, True, True, False]
    assert holm(np.array([]), 0.05).tolist() == []


@pytest.mark.parametrize("prior", [4.0, 20.0])
def test_prior_of_variances_is_found(prior: float) -> None:
    random = np.random.default_rng(1)
    true = 0.25 * prior / random.chisquare(prior, 4000)
    seen = true * random.chisquare(5, 4000) / 5
    scale, freedom = fit_prior(seen, np.full(4000, 5.0))
    assert scale == pytest.approx(0.25, rel=0.05)
    assert freedom == pytest.approx(prior, rel=0.25)
    scale, freedom = fit_prior(0.25 * random.chisquare(5, 4000) / 5, np.full(4000, 5.0))
    assert scale == pytest.approx(0.25, rel=0.05)
    assert freedom > 100


def test_variances_are_moderated() -> None:
    random = np.random.default_rng(2)
    freedom = np.full(200, 3.0)
    true = np.full(200, 4.0)
    seen = true * random.chisquare(3, 200) / 3
    found = moderated(seen, freedom, np.ones(200), np.zeros(200, int), 30)
    assert np.std(found.variance) < 0.3 * np.std(seen)
    assert np.mean(found.variance) == pytest.approx(4.0, rel=0.25)
    nothing = moderated(np.full(3, np.nan), np.zeros(3), np.array([1.0, 2.0, 3.0]), np.zeros(3, int), 0)
    assert nothing.variance.tolist() == [1, 2, 3]
    assert nothing.freedom.tolist() == [DEFAULT_SESSIONS] * 3


def test_parts_of_the_variance_are_told_apart() -> None:
    world = drawn(40, 9, Parts(0.03, 0.05))
    found = parts(world.values, [list(range(20)), list(range(20, 40))], FAMILY, FAMILIES)
    assert found == pytest.approx((0.03, 0.05), rel=0.15)
    assert parts(world.values, [[0], [1]], FAMILY, FAMILIES) is None


def test_newton_finds_where_trigamma_is() -> None:
    """The prior's degrees of freedom from the excess variance alone: as many as make trigamma(d / 2) that large."""
    freedom = np.full(2, 1e9)
    apart = 1.3
    _, found = fit_prior(np.exp(np.array([-apart, apart])), freedom)
    assert float(polygamma(1, found / 2)) == pytest.approx(2 * apart**2, rel=1e-4)
