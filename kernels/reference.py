"""What each operation means: its operands, its definition in NumPy float64, its FLOPs, words and error bound.

OPERATIONS is the one table of operations. Backends implement them (see KERNELS), tests and benchmarks compare every
result with `reference()` within `error_bound()`, and every FLOP and byte that is ever printed is counted here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DTYPES: Mapping[str, np.dtype] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
"""The dtypes by the names used in kernel names, records and options."""

LIKELY = 10
"""Standard deviations of the accumulated rounding error that are still put down to rounding."""

CHUNK = 1 << 14
"""Elements of a long array that are checked at a time: they stay in cache."""

SCALAR = 3.0
"""STREAM's s in scale and triad."""
UPDATE_SCALAR = 1 - 2**-20
"""update's s: just below one, for it is applied to its own result again and again."""


@dataclass(frozen=True)
class Operation:
    """One operation: what it reads and writes, and how much.

    signature names the operands with their dimensions, as in "a[m,k] b[k,n] -> c[m,n]".
    define takes the inputs in float64 and returns the output; absolute inputs give the scale of its rounding error.
    terms names the dimension over which each output element sums (None: no sum).
    flops and words are per call, as functions of the dimensions; words count each operand once (compulsory traffic).
    allocates is how many words per call a regular store first reads into cache, because it misses (write-allocate).
    """

    name: str
    signature: str
    define: Callable[..., np.ndarray]
    flops: Callable[[Mapping[str, int]], int]
    words: Callable[[Mapping[str, int]], int]
    terms: str | None = None
    allocates: Callable[[Mapping[str, int]], int] = lambda d: 0

    @cached_property
    def operands(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(name, dimensions) of each input, then of the output."""
        return tuple(
            (part.split("[")[0], tuple(part.split("[")[1].rstrip("]").split(",")))
            for part in self.signature.replace("->", "").split()
        )

    @property
    def inputs(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return self.operands[:-1]

    @property
    def output(self) -> tuple[str, tuple[str, ...]]:
        return self.operands[-1]

    @property
    def in_place(self) -> bool:
        """Whether the output is also the (only) input."""
        return self.inputs[0] == self.output

    def bytes(self, dims: Mapping[str, int], itemsize: int) -> int:
        """Compulsory bytes of one call: every operand read or written once."""
        return self.words(dims) * itemsize

    def intensity(self, dims: Mapping[str, int], itemsize: int) -> float:
        """Arithmetic intensity in FLOP/byte: flops / compulsory bytes."""
        return self.flops(dims) / self.bytes(dims, itemsize)


def _gemm(name: str) -> Operation:
    return Operation(
        name,
        "a[m,k] b[k,n] -> c[m,n]",
        lambda a, b: a @ b,
        flops=lambda d: 2 * d["m"] * d["n"] * d["k"],
        words=lambda d: d["m"] * d["k"] + d["k"] * d["n"] + d["m"] * d["n"],
        terms="k",
    )


def _gemv(name: str, signature: str, define: Callable[..., np.ndarray]) -> Operation:
    return Operation(
        name,
        signature,
        define,
        flops=lambda d: 2 * d["n"] * d["k"],
        words=lambda d: d["n"] * d["k"] + d["n"] + d["k"],
        terms="k",
    )


def _stream(name: str, signature: str, define: Callable[..., np.ndarray], flops: int, words: int) -> Operation:
    # update's line is there already, reads write nothing, non-temporal stores read nothing
    allocates = not (name == "update" or name.startswith("read") or name.endswith("_nt"))
    return Operation(
        name,
        signature,
        define,
        flops=lambda d: flops * d["n"],
        words=lambda d: words * d["n"],
        terms="n" if name.startswith("read") else None,
        allocates=lambda d: allocates * d["n"],
    )


def _total(a: np.ndarray) -> np.ndarray:
    return np.array([a.sum()])


def _in_chunks(operation: Operation, inputs: Sequence[np.ndarray], change: Callable[..., np.ndarray]) -> np.ndarray:
    """The definition on inputs converted by `change`; a sum over one long array without a changed copy of all of it."""
    if operation.terms != "n":
        return operation.define(*(change(np.asarray(x, np.float64)) for x in inputs))
    (a,) = inputs
    parts = (operation.define(change(a[start : start + CHUNK])) for start in range(0, a.size, CHUNK))
    return np.sum(list(parts), axis=0)


OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        _gemm("gemm"),
        _gemm("gemm_prepacked"),  # b packed ahead, as inference can: its weights are constant
        _gemm("gemm_tiled"),
        _gemm("gemm_naive"),
        _gemv("gemv", "w[n,k] x[k] -> y[n]", lambda w, x: w @ x),
        _gemv("gemv_t", "x[k] w[k,n] -> y[n]", lambda x, w: x @ w),
        _stream("copy", "a[n] -> c[n]", lambda a: a, flops=0, words=2),
        _stream("scale", "c[n] -> b[n]", lambda c: SCALAR * c, flops=1, words=2),
        _stream("add", "a[n] b[n] -> c[n]", lambda a, b: a + b, flops=1, words=3),
        _stream("triad", "b[n] c[n] -> a[n]", lambda b, c: b + SCALAR * c, flops=2, words=3),
        _stream("copy_nt", "a[n] -> c[n]", lambda a: a, flops=0, words=2),
        _stream("scale_nt", "c[n] -> b[n]", lambda c: SCALAR * c, flops=1, words=2),
        _stream("add_nt", "a[n] b[n] -> c[n]", lambda a, b: a + b, flops=1, words=3),
        _stream("triad_nt", "b[n] c[n] -> a[n]", lambda b, c: b + SCALAR * c, flops=2, words=3),
        _stream("update", "a[n] -> a[n]", lambda a: UPDATE_SCALAR * a, flops=1, words=2),
        _stream("read", "a[n] -> s[1]", _total, flops=1, words=1),
        _stream("read_2", "a[n] -> s[1]", _total, flops=1, words=1),
        _stream("read_4", "a[n] -> s[1]", _total, flops=1, words=1),
        _stream("read_8", "a[n] -> s[1]", _total, flops=1, words=1),
    )
}


def reference(operation: str, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The operation's exact meaning: its definition on the inputs converted to float64."""
    return _in_chunks(OPERATIONS[operation], inputs, np.asarray)


def error_bound(operation: str, inputs: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The largest rounding error, per output element, that a right kernel makes, whatever its order of summation.

    |computed - exact| <= g |A| |B| with g = q u / (1 - q u), u the unit roundoff, for the kernel in its dtype and once
    more for the float64 reference. q is the number of rounded operations that an element passes through (Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.5), but no more than LIKELY sqrt(q): rounding
    errors don't conspire (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4: violated with a probability
    below 2 exp(-LIKELY^2 / 2) each). The worst case would let a kernel pass that loses a term in 4000.
    Subnormal results may lose half the smallest subnormal each time.
    """
    op = OPERATIONS[operation]
    dims = {
        d: size for (_, names), x in zip(op.inputs, inputs, strict=True) for d, size in zip(names, x.shape, strict=True)
    }
    steps = (dims[op.terms] if op.terms else 1) + 1
    rounded = min(steps, LIKELY * steps**0.5)
    growth = sum(rounded * u / (1 - rounded * u) for u in (np.finfo(dtype).eps / 2, np.finfo(np.float64).eps / 2))
    scale = _in_chunks(op, inputs, np.abs)
    return growth * scale + steps * float(np.finfo(dtype).smallest_subnormal)


class WrongResult(Exception):
    """A kernel's result differs from the reference by more than rounding can explain."""


def check(operation: str, inputs: Sequence[np.ndarray], result: np.ndarray, expected: np.ndarray | None = None) -> None:
    """Raises WrongResult where `result` is farther from the reference than error_bound() allows.

    NaN must be where the reference has NaN, infinities must be equal. `expected` saves computing the reference again.
    """
    if OPERATIONS[operation].terms is None and result.size > CHUNK:  # elementwise: in pieces that stay in cache
        for start in range(0, result.size, CHUNK):
            part = slice(start, start + CHUNK)
            check(operation, [x[part] for x in inputs], result[part])
        return
    exact = reference(operation, inputs) if expected is None else expected
    bound = error_bound(operation, inputs, result.dtype)
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
