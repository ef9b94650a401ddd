"""What operations mean that aren't one line of NumPy, in float64, and what rounding adds to them.

An error takes u, the unit roundoff; it is of first order, with a factor of two in hand.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from kernels.formats import decode_bf16, encode_bf16

LIKELY = 10
"""Standard deviations of the accumulated rounding error that are still put down to rounding."""


LEAST = 2.0**-126
"""The least number of f32 and of bf16 that isn't subnormal."""


def rounded(terms: int) -> float:
    """The rounded operations that are put down to a sum of so many terms; see kernels.verify.error_bound()."""
    return min(terms, LIKELY * sqrt(terms))


def _visible(shape: Sequence[int], causal: bool) -> np.ndarray:
    """[m,n]: which columns a row attends to: all, or if causal the first i + 1 + n - m."""
    m, n = shape[-2:]
    return np.tri(m, n, n - m, dtype=bool) if causal else np.ones((m, n), bool)


def _exponents(s: np.ndarray, scale: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """scale s less the largest of its row, as (s - extreme) scale: no product of any size is there to be rounded."""
    turned = np.where(scale < 0, -s, s)
    largest = np.max(turned, axis=-1, keepdims=True, initial=-np.inf, where=visible)
    exponents: np.ndarray = (turned - largest) * np.abs(scale)
    return exponents


def softmax(s: np.ndarray, scale: np.ndarray, causal: bool) -> np.ndarray:
    """softmax(scale s) along the last axis; 0 where a row doesn't look, and all of a row that sees nothing."""
    visible = np.broadcast_to(_visible(s.shape, causal), s.shape)
    with np.errstate(all="ignore"):
        e = np.exp(_exponents(s, scale, visible))
        return np.where(visible, e / np.sum(e, axis=-1, keepdims=True, where=visible), 0)


def softmax_error(s: np.ndarray, scale: np.ndarray, causal: bool, u: float) -> np.ndarray:
    """p (e^d - 1), where d is what rounding adds to an exponent, its own and, on average, those in the sum; p <= 1."""
    p = softmax(s, scale, causal)
    visible = np.broadcast_to(_visible(s.shape, causal), s.shape)
    size = np.abs(_exponents(s, scale, visible))
    size = np.where(np.isinf(size), 0, size)  # -inf is exactly 0 behind exp(); +inf makes p NaN
    mine = u * (3 * size + 16 + rounded(s.shape[-1]))
    theirs = np.sum(p * mine, axis=-1, keepdims=True, where=visible)
    error: np.ndarray = np.minimum(p * np.expm1(np.minimum(2 * (mine + theirs), 700)), 1)
    bound: np.ndarray = np.where(visible, error, 0) + 0 * p  # NaN where p is
    return bound


def norm(x: np.ndarray, gain: np.ndarray, shift: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """(x - mean) / sqrt(variance + eps) gain + shift, mean and variance along the last axis (Ba et al. 2016)."""
    with np.errstate(all="ignore"):
        d = x - x.mean(axis=-1, keepdims=True)
        y: np.ndarray = d / np.sqrt(np.mean(d * d, axis=-1, keepdims=True) + eps) * gain + shift
    return y


def norm_error(parts: Sequence[np.ndarray], after: Sequence[np.ndarray], u: float) -> np.ndarray:
    """What rounding the sum of `parts` and its mean adds to d, and that and rounding the squares to the variance v."""
    gain, shift, eps = after
    x, size = np.sum(np.broadcast_arrays(*parts), axis=0), np.sum(np.abs(np.broadcast_arrays(*parts)), axis=0)
    steps = rounded(x.shape[-1]) + 2
    d = np.abs(x - x.mean(axis=-1, keepdims=True))
    of_d = u * (len(parts) * size + steps * size.mean(axis=-1, keepdims=True) + d)
    if x.shape[-1] == 1:
        of_d = np.zeros_like(d) + 0 * x  # x - x is exact
    v = np.mean(d * d, axis=-1, keepdims=True) + eps
    of_v = np.mean(2 * d * of_d + of_d**2, axis=-1, keepdims=True) + steps * u * v
    normed = np.abs(gain) / np.sqrt(v)
    error: np.ndarray = normed * (of_d + d * (of_v / v + 4 * u)) + u * (normed * d + np.abs(shift))
    return 2 * error


def gelu(x: np.ndarray) -> np.ndarray:
    """x Phi(x), Phi the normal distribution (Hendrycks and Gimpel 2016); at -inf its limit, 0."""
    from scipy.special import ndtr  # only here: importing it takes longer than all of this package

    with np.errstate(invalid="ignore"):
        return np.where(x == -np.inf, 0, x * ndtr(x))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """The same paper's x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which GPT-2 calls gelu_new."""
    with np.errstate(all="ignore"):
        return np.where(x == -np.inf, 0, 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))))


ACTIVATION_GROUP = 32
"""Neighbours along k that share a scale where activations are rounded to 8 bits."""


def rounded_to_8_bits(x: np.ndarray) -> np.ndarray:
    """x[m,k], of f32, as multiples -127 to 127 of a scale per group: in the arithmetic of f32, as kernels do it.

    A group whose largest is below 2^-100 is 0; one that isn't finite is NaN.
    """
    m, k = x.shape
    groups = np.zeros((m, -(-k // ACTIVATION_GROUP) * ACTIVATION_GROUP), np.float32)
    groups[:, :k] = x
    groups = groups.reshape(m, -1, ACTIVATION_GROUP)
    largest = np.abs(groups).max(-1, keepdims=True)
    most = np.float32(127)
    with np.errstate(all="ignore"):
        scale = np.where(largest >= 2**-100, largest / most, 0)
        q = np.where(largest >= 2**-100, np.rint(groups * (most / largest)), 0)
    rounded = np.where(np.isfinite(largest), q.astype(np.float64) * scale, np.nan)
    return rounded.reshape(m, -1)[:, :k]


def rounded_to_bf16(x: np.ndarray) -> np.ndarray:
    """x[m,k], of f32, as bf16, to nearest even; subnormal ones are 0."""
    return np.where(np.abs(x) < LEAST, 0, decode_bf16(encode_bf16(x)))


def flushed_error(inputs: Sequence[np.ndarray], u: float) -> np.ndarray:
    """Of x[m,k] w[n,k]^T, x in bf16: rounding, and each weight and sum that is subnormal may become 0."""
    x, w = np.abs(rounded_to_bf16(inputs[0])), np.abs(inputs[1])
    q = rounded(x.shape[1] + 1) * u
    lost = LEAST * (x.shape[1] + x.sum(1)[:, None])
    error: np.ndarray = q / (1 - q) * (x @ w.T) + lost
    return error


def row(table: np.ndarray, i: np.ndarray) -> np.ndarray:
    """table[i], i a number: one that is beyond the table is the nearest of its rows, NaN row 0."""
    found: np.ndarray = table[int(min(i[0], len(table) - 1)) if i[0] >= 0 else 0]
    return found


def argmax(x: np.ndarray) -> np.ndarray:
    """Where the largest element is first, or the first NaN, [1]: as a number, exact up to 2^24 in f32."""
    return np.array([np.argmax(x)], np.float64)


def total(a: np.ndarray) -> np.ndarray:
    """The sum of all of it, [1]."""
    return np.array([a.sum()])
