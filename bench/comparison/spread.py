"""How much the same measurement differs from session to session: estimated, moderated, or a stated default.

Rows of one session share what the session did to their family, so that the variance of a family's mean is not a row's
over their number: y = row + family x session + row x session. Both parts differ by class. Variances are pooled by
empirical Bayes: each is a draw from a scaled inverse chi-square distribution, fitted to all of them (Smyth 2004,
"Linear models and empirical Bayes methods", section 6).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # scipy.special, 0.2 s, is imported when it is first used
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class Parts(NamedTuple):
    """Standard deviations between sessions, of logarithms: what a family's rows share, and what each has alone."""

    family: float
    row: float


SHARE = "share"
SPEED = "speed"

DEFAULTS: Mapping[str, Mapping[str, Parts]] = {
    SHARE: {
        "cold m = 1": Parts(0.045, 0.055),
        "cold m 2-15": Parts(0.074, 0.098),
        "cold m >= 16": Parts(0.032, 0.087),
        "hot": Parts(0.040, 0.072),
        "pointwise": Parts(0.046, 0.091),
    },
    SPEED: {
        "cold m = 1": Parts(0.039, 0.059),
        "cold m 2-15": Parts(0.053, 0.085),
        "cold m >= 16": Parts(0.032, 0.100),
        "hot": Parts(0.055, 0.110),
        "pointwise": Parts(0.035, 0.098),
        "probes": Parts(0.122, 0.125),
        "whole models": Parts(0.070, 0.058),
    },
}
"""Where nothing else is known, by quantity and class.

Nineteen sessions on a shared 2-vcpu VM, of which nine had another process busy half of the time on one CPU. Of whole
models no such sessions exist. python -m bench.calibrate prints this table for other machines.
"""

DEFAULT_SESSIONS = 8
"""The degrees of freedom of a default: how far one machine's variance is from another's."""

OUTWEIGHED = 0.25  # sessions: so many weigh as much as the default, where a class's variance is estimated

ENOUGH = 10  # variances, to fit a prior to a class of its own


class Spread(NamedTuple):
    """Variances of one session's figure, and their degrees of freedom."""

    variance: Floats
    freedom: Floats


def centred(values: Floats, groups: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
    """values (rows x sessions) minus each row's mean in its group of replicates; degrees of freedom by row.

    What isn't in a group, or alone in it, is nan.
    """
    found = np.full(values.shape, np.nan)
    freedom = np.zeros(len(values))
    for group in groups:
        part = values[:, group]
        count = np.isfinite(part).sum(axis=1)
        many = count > 1
        total = np.where(np.isfinite(part), part, 0.0).sum(axis=1)
        mean = total / np.maximum(count, 1)
        found[np.ix_(many, group)] = (part - mean[:, None])[many]
        freedom[many] += count[many] - 1
    return found, freedom


def squares(residuals: Floats, freedom: Floats) -> Floats:
    """The variance of each row of residuals; nan without degrees of freedom."""
    total = np.nansum(residuals**2, axis=1)
    return np.where(freedom > 0, total / np.maximum(freedom, 1), np.nan)


def means(values: Floats, family: Ints, families: int) -> Floats:
    """The mean over the rows of each family, by session; nan where it has none there."""
    known = np.isfinite(values)
    shape = (families, *values.shape[1:])
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, family, np.where(known, values, 0.0))
    np.add.at(count, family, known)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def fit_prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """Scale and degrees of freedom (inf: all equal) of the distribution that true variances are drawn from.

    By the moments of their logarithms. variances: at least two, positive, of normal draws.
    """
    half = freedom / 2
    logs = np.log(variances) - scipy.special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - scipy.special.polygamma(1, half).mean())
    if excess <= 0:
        return float(np.exp(logs.mean())), np.inf
    prior = 2 * _trigamma_inverse(excess)
    return float(np.exp(logs.mean() + scipy.special.digamma(prior / 2) - np.log(prior / 2))), prior


def _trigamma_inverse(value: float) -> float:
    """x with trigamma(x) = value, by Newton's method on 1 / trigamma, which is nearly straight."""
    if value > 1e7:
        return float(value**-0.5)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        at = float(scipy.special.polygamma(1, x))
        step = at * (1 - at / value) / float(scipy.special.polygamma(2, x))
        x += step
        if -step / x < 1e-9:
            break
    return x


def moderated(variances: Floats, freedom: Floats, default: Floats, classes: Ints, sessions: int) -> Spread:
    """Each variance drawn towards those of its class, and these towards the default.

    variances  nan where freedom is 0
    default    what each would be taken for, were nothing known
    sessions   independent ones behind all of them: the degrees of freedom of what they have in common
    """
    known = freedom > 0
    safe = np.where(known, variances, 1.0) / default
    if known.any():
        safe = np.maximum(safe, 1e-5 * np.median(safe[known]) + 1e-12)
    scale, prior = np.ones(len(default)), np.full(len(default), float(DEFAULT_SESSIONS))
    for one in np.unique(classes) if known.sum() >= 2 else ():
        members = classes == one
        chosen = members & known
        if chosen.sum() < ENOUGH:
            chosen = known
        fitted, own = fit_prior(safe[chosen], freedom[chosen])
        scale[members] = (OUTWEIGHED + sessions * fitted) / (OUTWEIGHED + sessions)
        prior[members] = min(own, DEFAULT_SESSIONS + sessions)
    variance = np.where(known, prior * scale + freedom * safe, prior * scale) / (prior + np.where(known, freedom, 0))
    return Spread(variance * default, prior + freedom)


def parts(values: Floats, groups: Sequence[Sequence[int]], family: Ints, families: int) -> Parts | None:
    """Both standard deviations of a class, over all its families and groups of replicates; None: no replicates.

    By the expected mean squares: a row's variance is f + r, that of a mean of n rows f + r / n.
    """
    residuals, freedom = centred(values, groups)
    together = means(residuals, family, families)
    rows = squares(residuals, freedom)
    if not np.isfinite(rows).any():
        return None
    single = float(np.nanmean(rows))
    sessions = sum(len(group) - 1 for group in groups if len(group) > 1)
    counts = np.bincount(family[freedom > 0], minlength=families)
    many = counts > 1
    mean_squares = np.nansum(together**2, axis=1) / sessions
    if not many.any():
        return Parts(float(single**0.5), 0.0)
    n = counts[many]
    own = np.bincount(family[freedom > 0], weights=rows[freedom > 0], minlength=families)[many] / n
    shared = float(np.average(np.maximum((n * mean_squares[many] - own) / (n - 1), 0.0), weights=n))
    return Parts(shared**0.5, max(single - shared, 0.0) ** 0.5)
