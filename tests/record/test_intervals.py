"""bench.record.intervals: medians of samples that came in visits, on synthetic samples whose median is known."""

import numpy as np
import pytest

from bench.record.intervals import Interval, median_interval, student
from bench.report.text import interval, spread


def log_samples(seed: int, visits: int, size: int, noise: float) -> np.ndarray:
    """(visits, size) logs of samples: lag-1 autocorrelation 0.3, one in ten takes 1.5 to 3 times as long."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((visits, size))
    for i in range(1, size):
        x[:, i] = 0.3 * x[:, i - 1] + np.sqrt(1 - 0.3**2) * x[:, i]
    return noise * x + (random.random(x.shape) < 0.1) * np.log(random.uniform(1.5, 3, x.shape))


@pytest.mark.parametrize(
    ("visits", "size", "moves", "noise"),
    [
        (3, 5, 0, 0.02),
        (3, 10, 0.01, 0.05),
        (3, 15, 0.05, 0.02),
        (3, 10, 0.05, 0.1),
        (4, 10, 0.03, 0.05),
        (2, 15, 0.05, 0.05),
    ],
)
def test_coverage(visits: int, size: int, moves: float, noise: float) -> None:
    """moves: standard deviation between visits."""
    names = np.repeat(np.arange(visits), size)
    truth = np.median(log_samples(0, 1, 20_000, noise))
    found = []
    for seed in range(200):
        effect = moves * np.random.default_rng(1000 + seed).standard_normal((visits, 1))
        found.append(median_interval(np.exp(log_samples(seed, visits, size, noise) + effect).ravel(), names))
    assert np.mean([i.low <= np.exp(truth) <= i.high for i in found]) >= 0.92  # 90 %, and two standard errors of 200
    assert np.median([np.log(i.high / i.low) / 2 for i in found]) < 0.02 + 4 * np.hypot(moves, noise)


def samples(seed: int = 1) -> tuple[list[float], list[int]]:
    return (1e-3 * np.exp(log_samples(seed, 3, 9, 0.05))).ravel().tolist(), [0] * 9 + [1] * 9 + [2] * 9


def test_the_same_each_time_and_in_every_unit() -> None:
    x, visits = samples()
    interval = median_interval(x, visits)
    assert interval == median_interval(np.array(x), tuple(visits))
    assert interval.value == np.median(x)
    assert 0 < interval.low < interval.value < interval.high
    for by in (1e-9, 7, 1e12):
        scaled = median_interval([by * v for v in x], visits)
        assert scaled.as_dict() == pytest.approx(interval.scaled(by).as_dict())
    inverse = median_interval([1 / v for v in x], visits)
    assert inverse.as_dict() == pytest.approx(interval.inverse(1).as_dict(), rel=1e-6)


def test_order_of_visits_and_their_names_do_not_matter() -> None:
    x, visits = samples()
    mixed = np.random.default_rng(0).permutation(len(x))
    other = median_interval([x[i] for i in mixed], [f"visit {visits[i]}" for i in mixed])
    assert other.as_dict() == pytest.approx(median_interval(x, visits).as_dict())


def test_visits_that_differ_widen_the_interval() -> None:
    x, visits = samples()
    moved = [v * (1, 1.2, 0.8)[visit] for v, visit in zip(x, visits, strict=True)]
    assert width(median_interval(moved, visits)) > 3 * width(median_interval(x, visits))


def test_visits_that_agree_by_chance_do_not_narrow_it() -> None:
    """Three medians of 1, from samples that scatter by a quarter."""
    one = [0.75, 0.8, 1, 1.25, 1.3]
    assert width(median_interval(3 * one, [0] * 5 + [1] * 5 + [2] * 5)) > 0.2


def width(interval: Interval) -> float:
    return float(np.log(interval.high / interval.low))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_equal_samples_are_a_point(count: int) -> None:
    assert median_interval([2.5] * 2 * count, list(range(count)) * 2) == Interval(2.5, 2.5, 2.5)


def test_one_sample_is_a_point() -> None:
    assert median_interval([3.0], [0]) == Interval(3, 3, 3)


@pytest.mark.parametrize(
    ("values", "visits"),
    [
        ([1, 2], [0, 0]),
        ([1, 2], [0, 1]),
        ([1, 1, 1, 1, 2], [0] * 5),
        ([1, 1, 1, 1, 9], [0, 0, 0, 0, 1]),
        ([1, 2, 3], [0, 1, 2]),
        ([1e-300, 1e300, 1, 1e-300], [0, 1, 2, 2]),
        ([5e-324, 1e300], [0, 1]),
    ],
)
def test_little_to_go_by(values: list[float], visits: list[int]) -> None:
    """No interval fails, turns round, or reaches 0 or infinity."""
    interval = median_interval(values, visits)
    assert 0 < interval.low <= interval.value == np.median(values) <= interval.high < np.inf


@pytest.mark.parametrize(
    ("values", "visits"),
    [
        ([], []),
        ([1, 2], []),
        ([1, 2], [0]),
        ([1, 0], [0, 0]),
        ([1, -2], [0, 0]),
        ([1, np.nan], [0, 0]),
        ([np.inf], [0]),
    ],
)
def test_bad_samples(values: list[float], visits: list[int]) -> None:
    with pytest.raises(ValueError, match="positive, finite"):
        median_interval(values, visits)


@pytest.mark.parametrize("df", [1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 7, 8.5, 12, 30, 200])
def test_student(df: float) -> None:
    from scipy.special import stdtrit

    assert 1 <= student(df) / stdtrit(df, 0.975) * (1 + 2e-4) < 1.013


def test_overlap() -> None:
    interval = Interval(4.0, 2.0, 8.0)
    assert interval.overlaps(Interval(9.0, 8.0, 9.0))
    assert interval.overlaps(Interval(5.0, 4.5, 5.5))
    assert not interval.overlaps(Interval(9.0, 8.5, 9.0))
    assert not Interval(1.0, 1.0, 1.9).overlaps(interval)


def test_inverse() -> None:
    interval = Interval(4.0, 2.0, 8.0)
    assert interval.inverse(16) == Interval(4.0, 2.0, 8.0)
    assert interval.inverse(16).inverse(16) == interval


def test_an_interval_that_tells_nothing_is_not_shown() -> None:
    """Ctrl-C in the first visit, one of two samples preempted: 12.7 standard errors each way."""
    found = median_interval([1e-3, 8e-3])
    assert found.high > 100 * found.low
    assert interval(found.as_dict(), 4) == "0.0045 [-]" and spread(found.as_dict()) == "-"
    assert found.shown == Interval(found.value, found.value, found.value)
    wide = Interval(1.0, 0.2, 5.0)
    assert wide.shown == wide
    assert (interval(wide.as_dict()), spread(wide.as_dict())) == ("1.00 [0.20, 5.00]", "±400.0 %")
