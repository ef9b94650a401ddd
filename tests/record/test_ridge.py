"""bench.record.ridge on synthetic roofs whose ridge is known, and the intervals behind every figure."""

import numpy as np
import pytest

from bench.record.intervals import SEED, Interval, best_interval, median_interval, ratio_interval
from bench.record.ridge import find_ridge, verdict

INTENSITY = np.geomspace(0.25, 128, 15)


def roof(flat: float, slope: float, sharpness: float, intensity: np.ndarray = INTENSITY) -> np.ndarray:
    """FLOP/s of a machine of `flat` FLOP/s and `slope` bytes/s that hides none (1) to all (inf) of the shorter time."""
    if np.isinf(sharpness):
        return np.minimum(flat, slope * intensity)
    return (flat**-sharpness + (slope * intensity) ** -sharpness) ** (-1 / sharpness)


def noise(of: float, seed: int, size: int = INTENSITY.size) -> np.ndarray:
    return np.exp(of * np.random.default_rng(seed).standard_normal(size))


ROOFS = [(5e10, 5e10), (3e12, 1e11), (8e9, 8e8)]
SHARPNESS = [1, 1.5, 4, np.inf]


@pytest.mark.parametrize("sharpness", SHARPNESS)
@pytest.mark.parametrize(("flat", "slope"), ROOFS)
def test_exact_roof(flat: float, slope: float, sharpness: float) -> None:
    measured = find_ridge(INTENSITY, roof(flat, slope, sharpness))
    assert measured.ridge is not None, measured.reason
    assert [measured.ridge.value, measured.flat, measured.slope] == pytest.approx([flat / slope, flat, slope], rel=0.02)
    assert measured.ridge.low <= measured.ridge.value <= measured.ridge.high
    assert measured.points == INTENSITY.size
    assert measured.sharpness == pytest.approx(min(sharpness, 16), rel=0.05)


@pytest.mark.parametrize(("sharpness", "spread"), [(1, 0.03), (3, 0.02), (np.inf, 0.05)])
def test_interval_covers_the_ridge(sharpness: float, spread: float) -> None:
    """In most repetitions, and it is narrow enough to say something."""
    flat, slope = 1e11, 1.4e10
    found = [find_ridge(INTENSITY, roof(flat, slope, sharpness) * noise(spread, seed)) for seed in range(12)]
    ridges = [measured.ridge for measured in found if measured.ridge]
    assert len(ridges) >= 11
    assert sum(r.low <= flat / slope <= r.high for r in ridges) >= 9
    assert all(r.high / r.low < 1 + 10 * spread for r in ridges)


def test_order_and_units_do_not_matter() -> None:
    y = roof(1e11, 1e10, 2) * noise(0.03, 1)
    measured, again = find_ridge(INTENSITY, y), find_ridge(INTENSITY, y)
    assert measured == again
    mixed = np.random.default_rng(0).permutation(y.size)
    other, scaled = find_ridge(INTENSITY[mixed], y[mixed]), find_ridge(INTENSITY, 1000 * y)
    assert measured.ridge and other.ridge and scaled.ridge
    assert other.ridge.value == pytest.approx(measured.ridge.value, rel=1e-4)
    assert scaled.ridge.value == pytest.approx(measured.ridge.value, rel=1e-4)
    assert scaled.flat == pytest.approx(1000 * measured.flat, rel=1e-4)


@pytest.mark.parametrize("spread", [0, 0.02, 0.05])
@pytest.mark.parametrize("power", [0, 0.5, 0.9, 1])
def test_straight_lines_have_no_ridge(power: float, spread: float) -> None:
    """Pure compute, power laws, pure memory."""
    for seed in range(10):
        measured = find_ridge(INTENSITY, 1e10 * INTENSITY**power * noise(spread, seed))
        assert measured.ridge is None
        assert measured.reason


@pytest.mark.parametrize("ridge", [0.3, 100])
def test_a_bend_at_the_end_is_undecided(ridge: float) -> None:
    """With one point beyond it, nothing says that the curve has levelled off."""
    measured = find_ridge(INTENSITY, roof(1e11, 1e11 / ridge, np.inf) * noise(0.01, 3))
    assert measured.ridge is None
    assert measured.reason


def test_points_too_close_together_are_undecided() -> None:
    intensity = np.linspace(2, 7.9, 12)
    assert "factor of 4" in str(find_ridge(intensity, roof(1e11, 2e10, 4, intensity)).reason)


@pytest.mark.parametrize(
    ("intensity", "rate"),
    [
        ([1, 2, 4, 8, 16], [1, 2, 3, 4, 4]),
        ([], []),
        (INTENSITY, INTENSITY[1:]),
        (INTENSITY, [0, *INTENSITY[1:]]),
        (INTENSITY, [-1, *INTENSITY[1:]]),
        (INTENSITY, [np.nan, *INTENSITY[1:]]),
        ([np.inf, *INTENSITY[1:]], INTENSITY),
    ],
    ids=["five points", "none", "not pairs", "zero", "negative", "NaN", "infinite"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_points(intensity: list[float], rate: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 6 points"):
        find_ridge(intensity, rate)


# --- intervals


def samples(seed: int, size: int = 30) -> np.ndarray:
    return 1e-3 * (1 + 0.05 * np.random.default_rng(seed).standard_exponential(size))


def assert_scaled(interval: Interval, by: float, other: Interval) -> None:
    assert list(interval.scaled(by).as_dict().values()) == pytest.approx(list(other.as_dict().values()))


def test_median_interval() -> None:
    covered = 0
    for seed in range(40):
        x = samples(seed)
        interval = median_interval(x)
        assert interval.value == np.median(x)
        assert x.min() <= interval.low < interval.value < interval.high <= x.max()
        assert interval == median_interval(list(x))
        assert_scaled(interval, 1000, median_interval(1000 * x))
        covered += interval.low <= 1e-3 * (1 + 0.05 * np.log(2)) <= interval.high
    assert covered >= 34


@pytest.mark.parametrize("size", [2, 5, 40])
def test_median_interval_is_scipys(size: int) -> None:
    """To the last digit, without the seconds that importing scipy.stats takes."""
    from scipy.stats import bootstrap

    x = samples(7, size)
    found = bootstrap((x,), np.median, n_resamples=999, method="percentile", rng=SEED).confidence_interval
    assert median_interval(x) == Interval(float(np.median(x)), found.low, found.high)


@pytest.mark.parametrize("same", [[2.5], [2.5] * 9])
def test_median_interval_without_spread(same: list[float]) -> None:
    assert median_interval(same) == Interval(2.5, 2.5, 2.5)


def test_median_interval_narrows_with_more_samples() -> None:
    few, many = median_interval(samples(3, 10)), median_interval(samples(3, 1000))
    assert many.high - many.low < (few.high - few.low) / 2


def test_best_interval() -> None:
    rates, rounds = 1 / samples(4), list(range(30))
    interval = best_interval(rates, rounds)
    assert interval.value == interval.high == rates.max()
    assert rates.min() <= interval.low < interval.value
    assert interval == best_interval(rates, rounds)
    assert_scaled(interval, 8, best_interval(8 * rates, rounds))
    for lucky in (0, 4, 9):  # one round of ten was faster: a third of the resamples don't meet it, whichever it was
        interval = best_interval([2.0 if i == lucky else 1.0 for i in range(10)], range(10))
        assert interval == Interval(2, 1, 2)
    assert best_interval(rates, [0] * 30) == Interval(rates.max(), rates.max(), rates.max())


def test_ratio_interval() -> None:
    up, down, rounds = 6e10 / samples(5), 1e10 / samples(6), list(range(30))
    interval = ratio_interval(up, rounds, down, rounds)
    assert interval.value == up.max() / down.max()
    assert interval.low <= interval.value <= interval.high
    assert interval.low < interval.high
    assert interval == ratio_interval(up, rounds, down, rounds)
    assert_scaled(interval, 4, ratio_interval(4 * up, rounds, down, rounds))
    assert_scaled(interval, 1 / 4, ratio_interval(up, rounds, 4 * down, rounds))


def test_ratio_interval_of_steady_ceilings_is_a_point() -> None:
    interval = ratio_interval([6.0] * 9, range(9), [2.0] * 5, range(5))
    assert interval == Interval(3, 3, 3)


def test_ratio_interval_sees_a_ceiling_that_moved() -> None:
    """The second half of the session ran at half the bandwidth."""
    down = [2.0] * 8 + [1.0] * 8
    interval = ratio_interval([6.0] * 16, range(16), down, range(16))
    assert (interval.low, interval.value) == (3, 3)
    assert ratio_interval([6.0] * 16, range(16), [2.0] + [1.0] * 15, range(16)).high == 6


@pytest.mark.parametrize(
    ("intensity", "expected"),
    [(1.99, "memory-bound"), (2, "undecided"), (4, "undecided"), (8, "undecided"), (8.01, "compute-bound")],
)
def test_verdict(intensity: float, expected: str) -> None:
    assert verdict(intensity, Interval(4.0, 2.0, 8.0)) == expected
