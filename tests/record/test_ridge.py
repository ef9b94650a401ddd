"""bench.record.ridge on synthetic roofs whose ridge is known."""

import numpy as np
import pytest

from bench.record.intervals import Interval
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


def points(
    seed: int, size: int, matrices: int, spread: float, sharpness: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Intensity, FLOP/s and matrix of each point; the ridge is 7. Matrices deviate by 3 %, one point in ten is slow."""
    random = np.random.default_rng(seed)
    of = np.arange(size) % matrices
    intensity = np.geomspace(0.25, 128, size)
    slow = (random.random(size) < 0.1) * np.log(random.uniform(1.5, 3, size))
    off = 0.03 * random.standard_normal(matrices)[of] + spread * random.standard_normal(size) - slow
    return intensity, roof(7e10, 1e10, sharpness, intensity) * np.exp(off), of.tolist()


@pytest.mark.parametrize(
    ("size", "matrices", "spread", "sharpness"),
    [(9, 1, 0.05, 16), (9, 3, 0.02, 2), (15, 3, 0.1, 16), (15, 1, 0.02, 2), (30, 5, 0.02, 16), (30, 5, 0.05, 2)],
)
def test_interval_covers_the_ridge(size: int, matrices: int, spread: float, sharpness: float) -> None:
    """In nine of ten repetitions, and it is narrow enough to say something."""
    found = [find_ridge(*points(seed, size, matrices, spread, sharpness)) for seed in range(40)]
    ridges = [measured.ridge for measured in found if measured.ridge]
    assert len(ridges) >= 24  # of nine points two or three may be slow
    assert np.mean([r.low <= 7 <= r.high for r in ridges]) >= 0.9
    assert np.median([np.log(r.high / r.low) for r in ridges]) < 10 * max(spread, 0.03) * np.sqrt(15 / size)


def test_matrices_are_resampled_whole() -> None:
    """Six matrices of different speeds, each on one side of the ridge only: they carry the ridge along."""
    intensity, rate, _ = points(0, 30, 1, 0.01, 4)
    matrix = np.repeat(np.arange(6), 5)
    rate = roof(7e10, 1e10, 4, intensity) * np.exp(0.1 * np.array([1, -1, 1, -1, 1, -1])[matrix]) * noise(0.01, 2, 30)
    alone, together = find_ridge(intensity, rate).ridge, find_ridge(intensity, rate, matrix.tolist()).ridge
    assert alone and together
    assert together.high / together.low > 1.2 * alone.high / alone.low


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
    for seed in range(6):
        measured = find_ridge(INTENSITY, 1e10 * INTENSITY**power * noise(spread, seed))
        assert measured.ridge is None
        assert measured.reason


@pytest.mark.parametrize("ridge", [0.3, 100])
def test_a_bend_at_the_end_is_undecided(ridge: float) -> None:
    """With one point beyond it, nothing says that the curve has levelled off."""
    measured = find_ridge(INTENSITY, roof(1e11, 1e11 / ridge, np.inf) * noise(0.01, 3))
    assert measured.ridge is None
    assert measured.reason


def test_what_is_undecided_says_why() -> None:
    sharp = roof(1e11, 1e10, np.inf)
    assert "straight line explains" in str(find_ridge(INTENSITY, 1e10 * INTENSITY**0.5 * noise(0.03, 1)).reason)
    scattered = [find_ridge(INTENSITY[::2], sharp[::2] * noise(1, seed, 8)) for seed in range(8)]
    reasons = [str(measured.reason) for measured in scattered if measured.ridge is None]
    assert len(reasons) >= 6
    assert all(reason.startswith("the points scatter by ") for reason in reasons), reasons
    few = np.append(np.geomspace(0.25, 16, 10), 200)
    assert find_ridge(few, roof(1e11, 5e9, 8, few)).reason == "too few points at intensities above the ridge"
    few = 50 / few[::-1]
    assert find_ridge(few, roof(1e11, 4e10, 8, few)).reason == "too few points at intensities below the ridge"


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


def test_a_group_for_each_point() -> None:
    with pytest.raises(ValueError, match="group for each point"):
        find_ridge(INTENSITY, roof(1e11, 1e10, 4), [0, 1])


@pytest.mark.parametrize("matrices", [["a"] * 15, list(range(15)), ["a"] + ["b"] * 14, ["a", "b", "c"] * 5])
def test_odd_groups(matrices: list[str]) -> None:
    ridge = find_ridge(INTENSITY, roof(1e11, 1e10, 4) * noise(0.03, 1), matrices).ridge
    assert ridge
    assert ridge.low < ridge.value < ridge.high


@pytest.mark.parametrize(
    ("intensity", "expected"),
    [(1.99, "memory-bound"), (2, "undecided"), (4, "undecided"), (8, "undecided"), (8.01, "compute-bound")],
)
def test_verdict(intensity: float, expected: str) -> None:
    assert verdict(intensity, Interval(4.0, 2.0, 8.0)) == expected
