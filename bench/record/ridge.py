"""The measured ridge: where kernels leave the slanted roof, with its interval; scipy does the fitting.

Ridge: the arithmetic intensity, in FLOP/byte, at which peak FLOP/s and bandwidth bind equally (Williams et al. 2009).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.record.intervals import RESAMPLES, SEED, TAILS, Interval


@dataclass(frozen=True)
class MeasuredRidge:
    """Where measured performance leaves the slanted roof.

    ridge      FLOP/byte; None: undecided, and `reason` says why
    flat       FLOP/s it levels off at
    slope      bytes/s on the slanted part
    sharpness  p of the fitted curve: 1 when the times for bytes and FLOPs add up, large when the longer one hides the
    other
    """

    ridge: Interval | None
    flat: float
    slope: float
    sharpness: float
    points: int
    reason: str | None = None


def _curve(parameters: Any, x: np.ndarray) -> np.ndarray:
    """log FLOP/s at log intensity x: the p-norm of the two times, (F^-p + (b I)^-p)^(-1/p)."""
    log_flat, log_slope, p = parameters
    return np.asarray(-np.logaddexp(-p * log_flat, -p * (log_slope + x)) / p)


def _slopes(parameters: Any, x: np.ndarray) -> np.ndarray:
    """Derivatives of _curve() by log F, log b and p; the first two are the shares of the two times and add up to 1."""
    log_flat, log_slope, p = parameters
    y = _curve(parameters, x)
    flat, slope = np.exp(-p * (log_flat - y)), np.exp(-p * (log_slope + x - y))
    by_p = (log_flat * flat + (log_slope + x) * slope - y) / p
    return np.stack([flat, slope, by_p], axis=1)


def _fit(x: np.ndarray, y: np.ndarray, start: Sequence[float], free_p: bool) -> tuple[np.ndarray, float]:
    """Least squares in log space with a robust loss; returns (log F, log b, p) and the sum of squared residuals.

    free_p: whether p is fitted too, or stays at start's.
    """
    from scipy.optimize import least_squares  # here, for most records need no fit and importing it takes 0.2 s

    count, fixed = (3, ()) if free_p else (2, (start[2],))
    fit = least_squares(
        lambda q: _curve((*q, *fixed), x) - y,
        start[:count],
        jac=lambda q: _slopes((*q, *fixed), x)[:, :count],
        bounds=([-np.inf, -np.inf, 1.0][:count], [np.inf, np.inf, 16.0][:count]),
        loss="soft_l1",
        f_scale=0.1,
    )
    found = np.array((*fit.x, *fixed))
    return found, float(np.sum((_curve(found, x) - y) ** 2))


def find_ridge(intensity: Sequence[float], flops_per_second: Sequence[float]) -> MeasuredRidge:
    """Fits the smooth roof to measured points and decides whether they have a ridge.

    intensity         FLOP/byte of each point, at least 6 of them
    flops_per_second  achieved

    Undecided where a straight line (a power law) explains the points as well, or where fewer than two of them lie on
    either side of the ridge's interval: what wasn't walked across was not measured. ValueError on bad points.
    """
    x, y = np.log(np.asarray(intensity, float)), np.log(np.asarray(flops_per_second, float))
    if x.size != y.size or x.size < 6 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a ridge needs at least 6 points with positive, finite intensity and FLOP/s")
    start = (float(y.max()), float(np.median((y - x)[x <= np.median(x)])), 4.0)
    best, residue = _fit(x, y, start, free_p=True)
    log_flat, log_slope, p = best

    def undecided(reason: str) -> MeasuredRidge:
        return MeasuredRidge(None, float(np.exp(log_flat)), float(np.exp(log_slope)), float(p), x.size, reason)

    if np.ptp(x) < np.log(4):
        return undecided("the points span less than a factor of 4 in intensity")
    line = np.polyfit(x, y, 1)
    straight = float(np.sum((np.polyval(line, x) - y) ** 2))
    # Schwarz's criterion, the curve has one parameter more; below 1 % rms nothing is to be told from rounding
    floor = x.size * 0.01**2
    gain = x.size * np.log((straight + floor) / (residue + floor)) - np.log(x.size)
    if gain < 6:
        return undecided("a straight line explains the points as well as a roof with a ridge")

    random = np.random.default_rng(SEED)
    ridges = []
    for _ in range(RESAMPLES // 2):
        pick = random.integers(x.size, size=x.size)
        again, _ = _fit(x[pick], y[pick], (log_flat, log_slope, p), free_p=False)
        ridges.append(again[0] - again[1])
    low, high = np.quantile(ridges, TAILS)
    ridge = log_flat - log_slope
    low, high = min(low, ridge), max(high, ridge)
    if np.sum(x < low) < 2 or np.sum(x > high) < 2:
        return undecided("fewer than two points on one side of the ridge")
    interval = Interval(*(float(v) for v in np.exp([ridge, low, high])))
    return MeasuredRidge(interval, float(np.exp(log_flat)), float(np.exp(log_slope)), float(p), x.size)


def verdict(intensity: float, ridge: Interval) -> Literal["memory-bound", "compute-bound", "undecided"]:
    """memory-bound left of the ridge's interval, compute-bound right of it, undecided inside."""
    if intensity < ridge.low:
        return "memory-bound"
    return "compute-bound" if intensity > ridge.high else "undecided"
