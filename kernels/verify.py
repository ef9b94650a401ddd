"""Whether a result is right: the float64 reference, the bound of the rounding error, and the check against both."""

from collections.abc import Callable, Sequence

import numpy as np

from kernels.definitions import rounded
from kernels.operations import OPERATIONS, Operation
from kernels.types import TYPES, Types, accumulator

CHUNK = 1 << 14
"""Elements of a long array that are checked at a time: they stay in cache."""


def _decode(operation: Operation, types: str | Types, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    of = operation.types(types)
    return [TYPES[of[name]].decode(x) for (name, _), x in zip(operation.inputs, inputs, strict=True)]


def _in_chunks(
    operation: Operation, types: str | Types, inputs: Sequence[np.ndarray], change: Callable[..., np.ndarray]
) -> np.ndarray:
    """The definition on decoded inputs after `change`; a long array is summed without a decoded copy of all of it."""
    if operation.terms != "n":
        return operation.define(*map(change, _decode(operation, types, inputs)))
    (a,) = inputs
    chunks = (_decode(operation, types, [a[start : start + CHUNK]]) for start in range(0, a.size, CHUNK))
    total: np.ndarray = np.sum([operation.define(change(chunk)) for (chunk,) in chunks], axis=0)
    return total


def reference(operation: str, types: str | Types, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The operation's exact meaning: its definition in float64, on the inputs decoded by their types."""
    return _in_chunks(OPERATIONS[operation], types, inputs, np.asarray)


def error_bound(operation: str, types: str | Types, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The largest rounding error, per output element, that a right kernel makes, whatever its order of summation.

    |computed - exact| <= g |A| |B| with g = q u / (1 - q u), u the unit roundoff, for the kernel in its accumulator and
    once more for the float64 reference. Elements that are only stored are decoded exactly. q is the number of rounded
    operations that an element passes through (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
    section 3.5), but no more than LIKELY sqrt(q): rounding
    errors don't conspire (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4: violated with a probability
    below 2 exp(-LIKELY^2 / 2) each). The worst case would let a kernel pass that loses a term in 4000.
    Subnormal results may lose half the smallest subnormal each time.
    """
    op = OPERATIONS[operation]
    of = op.types(types)
    summed = TYPES[accumulator(of)]
    least = np.finfo(summed.storage)
    units = (summed.unit_roundoff, TYPES["f64"].unit_roundoff)
    bound: np.ndarray
    if op.error:
        decoded = _decode(op, types, inputs)
        with np.errstate(all="ignore"):  # where the reference isn't finite, nor is its bound
            bound = np.add(*(op.error(decoded, u) for u in units)) + float(least.tiny)  # exp() may flush to 0
        return bound
    dims = op.dims(TYPES[of[name]].shape(x.shape) for (name, _), x in zip(op.inputs, inputs, strict=True))
    steps = (dims[op.terms] if op.terms else 1) + 1
    q = rounded(steps)
    growth = sum(q * u / (1 - q * u) for u in units)
    bound = growth * _in_chunks(op, types, inputs, np.abs) + steps * float(least.smallest_subnormal)
    return bound


class WrongResult(Exception):
    """A kernel's result differs from the reference by more than rounding can explain."""


def check(
    operation: str,
    types: str | Types,
    inputs: Sequence[np.ndarray],
    result: np.ndarray,
    expected: np.ndarray | None = None,
    bound: np.ndarray | None = None,
) -> None:
    """Raises WrongResult where `result` is farther from the reference than error_bound() allows.

    NaN must be where the reference has NaN, infinities must be equal. `expected` and `bound`, what reference() and
    error_bound() gave, save computing them again.
    """
    op = OPERATIONS[operation]
    if op.terms is None and result.ndim == 1 and result.size > CHUNK:  # elementwise: in pieces that stay in cache
        for start in range(0, result.size, CHUNK):
            part = slice(start, start + CHUNK)
            known = [None if x is None else x[part] for x in (expected, bound)]
            check(operation, types, [x[part] for x in inputs], result[part], *known)
        return
    exact = reference(operation, types, inputs) if expected is None else expected
    bound = error_bound(operation, types, inputs) if bound is None else bound
    got = result.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):
        near = np.abs(got - exact) <= bound
        if near.all():
            return
        finite = np.isfinite(exact) & np.isfinite(bound)
        too_large = np.abs(exact) + bound > np.finfo(result.dtype).max  # for the dtype: may be infinite
        overflowed = too_large & np.isinf(got) & (np.sign(got) == np.sign(exact))
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        good = np.where(finite, near | overflowed, same)
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise WrongResult(
            f"{operation}: {int((~good).sum())} of {good.size} elements are wrong, the first at {list(where)}: "
            f"{got[where]!r} instead of {exact[where]!r}"
        )
