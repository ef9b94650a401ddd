"""The measured ridge: where kernels leave the slanted roof, with its interval.

Ridge: the arithmetic intensity, in FLOP/byte, at which peak FLOP/s and bandwidth bind equally (Williams et al. 2009).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.record.intervals import CONFIDENCE, Interval, student

RESAMPLES = 400
SEED = 14123  # the figures of a record can be derived again, to the last digit
SHARPEST = 16.0  # p beyond which no measurement tells one roof from another
CAUCHY = 2.385  # scales at which a residual weighs half: 95 % efficiency for normal noise
NOISE = 0.003  # log FLOP/s: a smaller scale than this isn't believed
ROUNDING = 0.01  # log FLOP/s, rms: below it nothing is to be told
FITTED = 4  # F, b, p and the scale
BETTER = 6.0  # by Schwarz's criterion, for a roof to be preferred to a straight line
LEAST = 2  # points beyond either end of the ridge's interval


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


def find_ridge(
    intensity: Sequence[float], flops_per_second: Sequence[float], groups: Sequence[Hashable] | None = None
) -> MeasuredRidge:
    """Fits the smooth roof to measured points and decides whether they have a ridge.

    intensity         FLOP/byte of each point, at least 6 of them
    flops_per_second  achieved
    groups            the weight matrix of each point: those of one matrix may deviate together; None: none do

    The roof is the p-norm of the two times, (F^-p + (b I)^-p)^(-1/p), fitted in log space with Cauchy's loss. Its
    interval comes from refitting all of F, b and p to resampled residuals, whole matrices first, then points; it is as
    much wider as Student's t is than the normal distribution.

    Undecided where a straight line (a power law) explains the points as well, or where fewer than two of them lie on
    either side of the ridge's interval: what wasn't walked across was not measured. ValueError on bad points.
    """
    x, y = np.log(np.asarray(intensity, float)), np.log(np.asarray(flops_per_second, float))
    if x.size != y.size or x.size < 6 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a ridge needs at least 6 points with positive, finite intensity and FLOP/s")
    if groups is not None and len(groups) != x.size:
        raise ValueError("a ridge needs a group for each point, or none at all")
    order = np.lexsort((y, x))  # so that the order of points doesn't matter
    x, y = x[order], y[order]
    matrices = np.zeros(x.size, int)
    if groups is not None:
        numbers: dict[Hashable, int] = {}
        matrices = np.array([numbers.setdefault(groups[i], len(numbers)) for i in order])
    best, rest, scale = _main_fit(x, y)
    log_flat, log_ridge, log_p = (float(v) for v in best)
    ridge, reason = None, _straight(x, y, rest, scale)
    if reason is None:
        low, high = _interval(x, best, rest, scale, matrices)
        ridge = Interval(*(math.exp(v) for v in (log_ridge, low, high)))
        reason = _not_crossed(x, rest, log_ridge, low, high)
    return MeasuredRidge(
        None if reason else ridge,
        math.exp(log_flat),
        math.exp(log_flat - log_ridge),
        math.exp(log_p),
        x.size,
        reason,
    )


def _curve(parameters: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row (log F, log ridge, log p) the log FLOP/s at log intensity x, and its three derivatives."""
    log_flat, log_ridge, log_p = (parameters[:, i : i + 1] for i in range(3))
    p, beyond = np.exp(log_p), x - log_ridge
    lost = np.logaddexp(0, -p * beyond) / p
    slanted = np.exp(-p * (beyond + lost))  # the share of the time for bytes: 1 far left of the ridge, 0 far right
    return log_flat - lost, np.stack([np.ones_like(lost), -slanted, lost + slanted * beyond], axis=1)


def _fit(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, scale: float, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row of y (fits, points) fitted from its row of start, by Levenberg and Marquardt, all of them at once.

    Returns parameters as _curve() takes them, residuals and their robust sums of squares.
    """
    knee = CAUCHY * scale
    found, damping = start.copy(), np.full(len(start), 1e-3)
    low, high = np.array([[-np.inf, x[0] - 1, 0], [np.inf, x[-1] + 1, math.log(SHARPEST)]])
    values, slopes = _curve(found, x)
    rest = y - values
    loss = _loss(rest, knee)
    three = np.arange(3)
    for _ in range(steps):
        weights = 1 / (1 + (rest / knee) ** 2)
        pull = (slopes * (weights * rest)[:, None]).sum(axis=2)
        held = ((found <= low) & (pull < 0)) | ((found >= high) & (pull > 0))
        free = np.where(held, 0.0, 1.0)
        normal = (slopes * weights[:, None]) @ slopes.transpose(0, 2, 1) * free[:, :, None] * free[:, None, :]
        normal[:, three, three] = normal[:, three, three] * (1 + damping[:, None]) + held + 1e-9
        step = np.linalg.solve(normal, (pull * free)[..., None])[..., 0]
        tried = np.clip(found + np.clip(step, -1, 1), low, high)
        values, tried_slopes = _curve(tried, x)
        tried_rest = y - values
        tried_loss = _loss(tried_rest, knee)
        better = tried_loss <= loss
        moved = np.abs(tried - found).max(axis=1)
        found[better], rest[better], slopes[better] = tried[better], tried_rest[better], tried_slopes[better]
        loss = np.where(better, tried_loss, loss)
        damping = np.where(better, np.maximum(damping / 5, 1e-7), damping * 6)
        if np.mean(moved < scale / 100) > 0.99:
            break
    return found, rest, loss


def _loss(rest: np.ndarray, knee: float) -> np.ndarray:
    """Cauchy's: the sum of squares of small residuals, and of large ones only the logarithm of that."""
    return np.asarray(knee**2 * np.log1p((rest / knee) ** 2).sum(axis=-1))


def _main_fit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(log F, log ridge, log p), residuals and their scale: the best from six starts, its scale refined by turns."""
    bends = [(0.0, at, math.log(p)) for at in np.quantile(x, (0.25, 0.5, 0.75)) for p in (2, 8)]
    start = np.array(bends)
    start[:, 0] = np.median(y - _curve(start, x)[0], axis=1)
    rough = y - _curve(start, x)[0]
    scale = min(0.2, max(0.02, min(_scale(rest, 0) for rest in rough)))
    found, _, loss = _fit(x, np.tile(y, (len(start), 1)), start, scale, 40)
    best, rest = found[[np.argmin(loss)]], rough[:1]
    for _ in range(6):
        last, scale = scale, _scale((y - _curve(best, x)[0])[0], 3)
        best, rest, _ = _fit(x, y[None], best, scale, 15)
        if abs(scale / last - 1) < 0.02:
            break
    return best[0], rest[0], scale


def _scale(rest: np.ndarray, parameters: int) -> float:
    """Standard deviation of the residuals of a fit, from their median, which outliers don't move."""
    return max(NOISE, 1.4826 * float(np.median(np.abs(rest))) * math.sqrt(rest.size / (rest.size - parameters)))


def _interval(
    x: np.ndarray, best: np.ndarray, rest: np.ndarray, scale: float, matrices: np.ndarray
) -> tuple[float, float]:
    """The 95 % interval of the log ridge."""
    random = np.random.default_rng(SEED)
    sizes = np.bincount(matrices)
    drawn = np.zeros((RESAMPLES, x.size))
    if len(sizes) > 1 and sizes.max() > 1:
        shared = np.array([np.median(rest[matrices == one]) for one in range(len(sizes))])
        signs = random.choice([-1.0, 1.0], size=(RESAMPLES, len(sizes)))
        picks = random.integers(len(sizes), size=(RESAMPLES, len(sizes)))
        drawn += (signs * shared[picks])[:, matrices] * math.sqrt(len(sizes) / (len(sizes) - 1))
        inner = sizes[matrices] > 1
        rest = (rest - shared[matrices])[inner] * math.sqrt(inner.sum() / (inner.sum() - np.sum(sizes > 1)))
    degrees = x.size - FITTED
    drawn += rest[random.integers(rest.size, size=drawn.shape)] * math.sqrt(x.size / degrees)
    again, _, _ = _fit(x, _curve(best[None], x)[0] + drawn, np.tile(best, (RESAMPLES, 1)), scale, 12)
    wider = student(degrees) / student(1e9)
    low, high = (np.quantile(again[:, 1], ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)) - best[1]) * wider
    return max(-700.0, float(best[1] + min(low, 0))), min(700.0, float(best[1] + max(high, 0)))


def _straight(x: np.ndarray, y: np.ndarray, rest: np.ndarray, scale: float) -> str | None:
    """Why a straight line will do; None where it won't."""
    if np.ptp(x) < math.log(4):
        return "the points span less than a factor of 4 in intensity"
    knee = CAUCHY * max(scale, ROUNDING)
    line = _from_line(x, y, knee)
    if _gain(_loss(line, knee), _loss(rest, knee), x.size) >= BETTER:
        return None
    least = min(line, rest, key=lambda of: float(np.sum(of**2)))
    spread = np.sum(least**2)
    bent = np.minimum(x - (x[0] + x[-1]) / 2, 0)  # would a ridge in their middle have shown?
    bent -= np.polyval(np.polyfit(x, bent, 1), x)
    if _gain(spread + np.sum(bent**2), spread, x.size) < 2 * BETTER:
        return f"{_scatter(least)}: a straight line can't be told from a roof with a ridge"
    return "a straight line explains the points as well as a roof with a ridge"


def _not_crossed(x: np.ndarray, rest: np.ndarray, ridge: float, low: float, high: float) -> str | None:
    """Why the ridge wasn't walked across; None where it was."""
    for side, beyond, clear in (("below", x < ridge, x < low), ("above", x > ridge, x > high)):
        if clear.sum() < LEAST and beyond.sum() <= LEAST:
            return f"too few points at intensities {side} the ridge"
        if clear.sum() < LEAST:
            span = f"{math.exp(low):.2g} to {math.exp(high):.2g} FLOP/byte"
            return f"{_scatter(rest)}: the ridge may be anywhere from {span}"
    return None


def _scatter(rest: np.ndarray) -> str:
    return f"the points scatter by {100 * math.expm1(math.sqrt(np.mean(rest**2))):.0f} %"


def _gain(straight: float | np.ndarray, curved: float | np.ndarray, points: int) -> float:
    """Schwarz's criterion from two sums of squares: the curve has one parameter more than the line."""
    floor = points * ROUNDING**2
    return points * math.log(float((straight + floor) / (curved + floor))) - math.log(points)


def _from_line(x: np.ndarray, y: np.ndarray, knee: float) -> np.ndarray:
    """Residuals of the best straight line under Cauchy's loss, from the median slope (Theil and Sen)."""
    left, right = np.triu_indices(x.size, 1)
    apart = x[right] > x[left]
    slope = np.median((y[right] - y[left])[apart] / (x[right] - x[left])[apart])
    rest = y - slope * x
    rest -= np.median(rest)
    for _ in range(20):
        weights = 1 / (1 + (rest / knee) ** 2)
        rest = y - np.polyval(np.polyfit(x, y, 1, w=np.sqrt(weights)), x)
    return np.asarray(rest)


def verdict(intensity: float, ridge: Interval) -> Literal["memory-bound", "compute-bound", "undecided"]:
    """memory-bound left of the ridge's interval, compute-bound right of it, undecided inside."""
    if intensity < ridge.low:
        return "memory-bound"
    return "compute-bound" if intensity > ridge.high else "undecided"
