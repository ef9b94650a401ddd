"""Every kernel of the registry against its float64 reference: shapes, views, special values, threads, the GIL."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest

import kernels
from kernels import DTYPES, OPERATIONS, Kernel
from kernels.backends import c as native
from kernels.verify import WrongResult, check, error_bound, reference
from support.cases import (
    arguments,
    blocks,
    dimensions,
    framed,
    make_inputs,
    noting,
    operand_types,
    output_for,
    put,
    shapes,
    thread_counts,
    verify,
)


def test_shapes(kernel: Kernel) -> None:
    for dims in shapes(kernel):
        with noting(str(dims)):
            verify(kernel, make_inputs(kernel, dims), *thread_counts(kernel))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", ["gemm", "gemm_prepacked"])
@pytest.mark.parametrize("backend", ["c", "numba"])
def test_more_columns_than_half_of_l3_holds(backend: str, operation: str, dtype: str) -> None:
    """The outermost of the five loops; it runs only where several blocks of A need the same packed B."""
    kernel = kernels.find(operation, dtype, backend)
    _, nr, _, kc = blocks(kernel)
    l2, l3 = (native.lib.cache_bytes(level) // DTYPES[dtype].itemsize for level in (2, 3))
    n = l3 // 2 // kc + nr + 1
    if n * kc > 64 << 20:
        pytest.skip(f"an L3 of {native.lib.cache_bytes(3) >> 20} MiB asks for too large a test")
    random = np.random.default_rng(5)
    a, b = (random.standard_normal(shape, DTYPES[dtype]) for shape in ((l2 // 2 // kc + 9, kc), (kc, n)))
    threads = 2
    result = kernel(*arguments(kernel, [a, b], threads), threads=threads)
    rows = [0, -10, -1]
    check("gemm", dtype, [a[rows], b], result[rows])


def _unaligned(x: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)


VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": lambda x: x.T.copy().T,
    "reversed": lambda x: x[(slice(None, None, -1),) * x.ndim],
    "strided": lambda x: x.repeat(2, axis=-1)[..., ::2],
    "rows skipped": lambda x: x.repeat(3, axis=0)[::3],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "unaligned": _unaligned,  # and read-only
}


def test_views(kernel: Kernel) -> None:
    """Inputs may lie in memory as NumPy allows."""
    for name, view in VIEWS.items():
        with noting(name):
            verify(kernel, [view(x) for x in make_inputs(kernel, {"m": 7, "n": 21, "k": 19})], 1)


SPECIAL = (np.nan, np.inf, -np.inf, 0.0)


def test_special_values(kernel: Kernel) -> None:
    """NaN and infinities go where the mathematics sends them: padding neither leaks nor swallows them."""
    mr, nr, _, _ = blocks(kernel)
    dims = {"m": mr + 1, "n": nr + 1, "k": 5}
    names = [name for name, _ in OPERATIONS[kernel.operation].inputs]
    together = list(product((*SPECIAL, None), repeat=len(names)))
    if len(names) > 3:  # one at a time
        together = [tuple(s if j == i else None for j in range(len(names))) for i in range(len(names)) for s in SPECIAL]
    for where, specials in product((0, -1), together):
        inputs = make_inputs(kernel, dims)
        for x, element, special in zip(inputs, operand_types(kernel), specials, strict=True):
            if special is not None:
                put(x, (where,) * x.ndim, special, element)
        with noting(f"{dict(zip(names, specials, strict=True))} at {where}"), np.errstate(invalid="ignore"):
            verify(kernel, inputs, 1)


def test_subnormal_values(kernel: Kernel) -> None:
    """They aren't flushed to zero, in no thread."""
    for threads in thread_counts(kernel):
        inputs = make_inputs(kernel, {"m": 9, "n": 33, "k": 18})
        subnormal = 1000 * float(np.finfo(DTYPES[kernel.dtype]).smallest_subnormal)
        left = inputs[0] != 0 if OPERATIONS[kernel.operation].stored else ...
        put(inputs[0], left, subnormal, operand_types(kernel)[0])
        verify(kernel, inputs, threads)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize(
    "kernel", [k for k in kernels.KERNELS.values() if k.operation.startswith("gemm_batch")], ids=str, indirect=True
)
def test_matrices_that_interleave(kernel: Kernel, m: int) -> None:
    """B as a cache has it, [token, head, head_dim], in which a row of every head comes before anyone's next."""
    turned = kernel.operation == "gemm_batch_t"
    for batch, rows, columns in ((1, 1, 1), (3, 1, 8), (2, 3, 5), (4, 7, 33), (5, 64, 16), (12, 37, 64)):
        n, k = (rows, columns) if turned else (columns, rows)
        a, b = make_inputs(kernel, {"batch": batch, "m": m, "n": n, "k": k})
        apart = framed(b.swapaxes(0, 1), operand_types(kernel)[1], np.nan)[1].swapaxes(0, 1)
        with noting(f"{batch} matrices of {rows} x {columns}"):
            verify(kernel, [a, apart], *thread_counts(kernel))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["c", "numba"])
def test_tokens_that_are_numbers(backend: str, dtype: str) -> None:
    """argmax: the first of equals, the first NaN; embed: a row that there is, whatever number asks for it."""
    argmax, embed = (kernels.find(name, dtype, backend) for name in ("argmax", "embed"))
    x = np.zeros(5000, DTYPES[dtype])
    x[[1500, 4999]] = 3
    assert argmax(x)[0] == 1500
    assert argmax(np.full(2000, -np.inf, DTYPES[dtype]))[0] == 0
    x[[2047, 4000]] = np.nan
    assert argmax(x)[0] == 2047
    table = np.arange(12, dtype=DTYPES[dtype]).reshape(4, 3)
    for i, row in ((0, 0), (2, 2), (3, 3), (4, 3), (np.inf, 3), (-1, 0), (-np.inf, 0), (np.nan, 0)):
        assert (embed(table, np.array([i], DTYPES[dtype])) == table[row]).all()


each_softmax = pytest.mark.parametrize(
    "kernel", [k for k in kernels.KERNELS.values() if k.operation.startswith("softmax")], ids=str, indirect=True
)


@pytest.mark.parametrize("scale", [0.125, -0.125, 3e4])
@each_softmax
def test_softmax_of_large_scores(kernel: Kernel, scale: float) -> None:
    """The largest score's exponent is exactly 0, whatever rounding does to its product with the scale."""
    scores, factor = make_inputs(kernel, {"batch": 2, "m": 9, "n": 33})
    scores *= 1e5
    factor[...] = scale
    verify(kernel, [scores, factor], 1)


@each_softmax
def test_softmax_of_any_nan(kernel: Kernel) -> None:
    """A NaN makes its row NaN, whatever bits it has beside those that make it one."""
    scores, factor = make_inputs(kernel, {"batch": 2, "m": 9, "n": 33})
    bits = scores.view(f"u{scores.itemsize}")
    for more in (1, 0x1FF, 1 << 8):
        bits[1, 8, 3] = np.array(np.nan, scores.dtype).view(bits.dtype) | bits.dtype.type(more)
        verify(kernel, [scores, factor], 1)


@pytest.fixture
def no_switching() -> Iterator[None]:
    """No thread is asked to hand over the GIL; it moves on only where it is released."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def test_gil_is_released(kernel: Kernel, no_switching: None) -> None:
    """Another thread counts on during a call."""
    size = 160 if "m" in dimensions(kernel) else 1000 if "k" in dimensions(kernel) else 1 << 19
    inputs = make_inputs(kernel, {"m": size, "n": size, "k": size})
    _, out = output_for(kernel, inputs)
    given = arguments(kernel, inputs, out=out)
    call = kernel.bind(*given, out=out)
    count, stop = 0, False

    def counting() -> None:
        nonlocal count
        while not stop:
            count += 1
            time.sleep(0)  # releases the GIL, for nobody asks for it

    thread = threading.Thread(target=counting)
    thread.start()
    try:
        end = time.monotonic() + 10  # a call of microseconds is often over before the thread wakes
        while True:
            before = count
            call()
            if count > before:
                break
            if time.monotonic() > end:
                pytest.fail("a thread stood still during 10 s of calls")
    finally:
        stop = True
        thread.join()


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "an element of its neighbour": lambda y: np.concatenate([y.ravel()[:-1], y.ravel()[:1]]).reshape(y.shape),
    "shifted by one": lambda y: np.roll(y, 1, axis=-1),
    "not written": lambda y: np.where(np.arange(y.size).reshape(y.shape) == y.size - 1, np.nan, y),
    "infinite": lambda y: np.where(np.arange(y.size).reshape(y.shape) == 0, np.inf, y),
    "half a thousandth off": lambda y: y * 1.0005,
}


@pytest.mark.parametrize(("operation", "types"), sorted({(k.operation, k.label) for k in kernels.KERNELS.values()}))
def test_wrong_results_are_caught(operation: str, types: str) -> None:
    kernel = next(k for k in kernels.available() if (k.operation, k.label) == (operation, types))
    dtype = DTYPES[kernel.dtype]
    inputs = make_inputs(kernel, {"m": 13, "n": 29, "k": 768})
    exact, bound = (of(operation, kernel.types, inputs) for of in (reference, error_bound))
    right = exact.astype(dtype)
    check(operation, kernel.types, inputs, right)
    for name, change in WRONG.items():
        broken = change(right).astype(dtype)
        if right.size == 1 and np.array_equal(broken, right):
            continue  # a single element has no neighbour
        with noting(name), pytest.raises(WrongResult, match=operation):
            check(operation, kernel.types, inputs, broken, exact, bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 64, 768, 3072])
@pytest.mark.parametrize("operation", ["gemm", "gemv", "gemv_t"])
def test_a_sum_one_term_short_is_caught(operation: str, k: int, dtype: str) -> None:
    """The bound grows with k, but not beyond what a lost term makes, where all terms are of one size."""
    inputs = [np.sign(x) for x in make_inputs(kernels.find(operation, dtype, "blas"), {"m": 13, "n": 29, "k": k})]
    short = [x.copy() for x in inputs]
    for (_, names), x in zip(OPERATIONS[operation].inputs, short, strict=True):
        x[tuple(-1 if d == "k" else slice(None) for d in names)] = 0
    with pytest.raises(WrongResult):
        check(operation, dtype, inputs, reference(operation, dtype, short).astype(DTYPES[dtype]))
