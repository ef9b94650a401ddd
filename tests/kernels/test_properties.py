"""Any shape, dtype, leading dimension, thread count and special value: what each backend computes is the reference."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernels
from kernels import DTYPES, OPERATIONS, Kernel, sparse
from kernels.arrays import PAGES_VARIABLE, aligned_empty
from kernels.types import ElementType
from support.cases import dimensions, framed, operand_types, verify, whole

SIZES = st.integers(1, 80)
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf]
ROWS = kernels.available()
STREAMS = sorted({k.operation for k in ROWS if dimensions(k) == {"n"}})
OTHERS = sorted({k.operation for k in ROWS} - set(STREAMS))

stable = settings(  # the same examples in every run
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def calls(draw: st.DrawFn, operation: str) -> tuple[Kernel, list[np.ndarray], int]:
    """A kernel, its inputs and a number of threads."""
    kernel = draw(st.sampled_from([k for k in ROWS if k.operation == operation]))
    dims = {"batch": draw(st.integers(1, 4)), "m": draw(SIZES), "n": draw(SIZES), "k": draw(SIZES), "1": 1}
    random = np.random.default_rng(draw(st.integers(0, 99)))
    scale = 2.0 ** draw(st.integers(-20, 20))
    dims = dict(whole(kernel, dims))
    inputs = [
        draw(arrays(random, tuple(dims[d] for d in names), scale, element))
        for (_, names), element in zip(OPERATIONS[operation].inputs, operand_types(kernel), strict=True)
    ]
    if OPERATIONS[operation].stored and operand_types(kernel)[0].native:
        inputs[0][...] = sparse.prune(operation, inputs[0], inputs[0].size // 2, random)
    return kernel, inputs, draw(st.integers(1, min(4, kernel.most_threads)))


@st.composite
def arrays(
    draw: st.DrawFn, random: np.random.Generator, shape: tuple[int, ...], scale: float, element: ElementType
) -> np.ndarray:
    """Random numbers with up to three special values among them, at any distance between rows, in either order."""
    x = random.standard_normal(shape) * scale
    for _ in range(draw(st.integers(0, 3))):
        x[tuple(draw(st.integers(0, size - 1)) for size in shape)] = draw(st.sampled_from(SPECIAL))
    if shape == (1,):  # a scale, or what keeps a variance from being 0: positive
        x = abs(x)
    layout = draw(st.sampled_from(["plain", "rows apart", "transposed", "reversed"]))
    if layout == "rows apart":
        return framed(x, element, np.nan)[1]
    if layout == "reversed":
        return element.encode(x[::-1])[::-1]
    return np.asarray(element.encode(x), order="F" if layout == "transposed" else "C")


@pytest.mark.parametrize("operation", OTHERS)
def test_matrices(operation: str) -> None:
    @stable
    @given(calls(operation))
    def check(call: tuple[Kernel, list[np.ndarray], int]) -> None:
        with np.errstate(invalid="ignore"):
            verify(*call)

    check()


@pytest.mark.parametrize("operation", STREAMS)
def test_streams(operation: str) -> None:
    @stable
    @given(calls(operation), st.integers(0, 700))
    def check(call: tuple[Kernel, list[np.ndarray], int], more: int) -> None:
        kernel, inputs, threads = call
        longer = [np.concatenate([x, np.arange(more, dtype=x.dtype)]) for x in inputs]
        with np.errstate(invalid="ignore"):
            verify(kernel, longer, threads)

    check()


@stable
@given(st.integers(33, 80), SIZES, SIZES, st.sampled_from(sorted(DTYPES)), st.sampled_from(["c", "numba"]))
def test_packing_changes_nothing(m: int, n: int, k: int, dtype: str, backend: str) -> None:
    """Prepacked weights give the very bits that packing on the way gives, from the m on that is packed for."""
    random = np.random.default_rng(m)
    a, b = random.standard_normal((m, k), DTYPES[dtype]), random.standard_normal((k, n), DTYPES[dtype])
    prepacked = kernels.find("gemm_prepacked", dtype, backend)
    plain = kernels.find("gemm", dtype, backend, prepacked.isa)
    np.testing.assert_array_equal(prepacked(a, prepacked.pack(b)), plain(a, b))


@stable
@given(SIZES, SIZES, SIZES, st.sampled_from([k for k in ROWS if k.operation == "gemm" and k.backend != "blas"]))
def test_threads_change_nothing(m: int, n: int, k: int, kernel: Kernel) -> None:
    """A product of two threads has the bits of one thread's: each element is summed by one thread, in one order."""
    random = np.random.default_rng(n)
    a, b = (random.standard_normal(shape, DTYPES[kernel.dtype]) for shape in ((m, k), (k, n)))
    threads = min(2, kernel.most_threads)
    np.testing.assert_array_equal(kernel(a, b, threads=threads), kernel(a, b))


@stable
@given(st.lists(st.integers(1, 9), max_size=3), st.sampled_from([1, 2, 4, 8]), st.sampled_from([16, 64, 4096]))
def test_aligned_empty(shape: list[int], size: int, align: int) -> None:
    array = aligned_empty(tuple(shape), f"V{size}", align)
    assert (array.shape, array.itemsize, array.flags.c_contiguous) == (tuple(shape), size, True)
    assert array.ctypes.data % align == 0


@stable
@given(st.integers(1, 3 << 20), st.sampled_from([16, 64, 1 << 23]))
def test_large_arrays_begin_with_a_huge_page(more: int, align: int) -> None:
    """Linux gives huge pages only to whole ones. The array is writable from end to end, and apart from the next one."""
    arrays = [aligned_empty(more + (2 << 20), np.uint8, align) for _ in range(2)]
    for i, array in enumerate(arrays):
        assert array.ctypes.data % max(align, 2 << 20) == 0
        array[[0, -1]] = i
    assert [array[[0, -1]].tolist() for array in arrays] == [[0, 0], [1, 1]]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no smaps")
@pytest.mark.parametrize(("pages", "flag"), [("", "hg"), ("huge", "hg"), ("small", "nh")])
def test_pages_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, pages: str, flag: str) -> None:
    """Linux is told which: VmFlags of the array's mapping."""
    monkeypatch.setenv(PAGES_VARIABLE, pages)
    address, flags = aligned_empty(5 << 20, np.uint8).ctypes.data, ""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head, *rest = line.split()
        if not head.endswith(":"):
            begin, end = (int(x, 16) for x in head.split("-"))
            inside = begin <= address < end
        elif inside and head == "VmFlags:":
            flags = " ".join(rest)
    if not {"hg", "nh"} & set(flags.split()):
        pytest.skip("Linux without huge pages")
    assert flag in flags.split()


def test_other_pages_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PAGES_VARIABLE, "1G")
    with pytest.raises(ValueError, match="RIDGELINE_PAGES=1G: huge or small"):
        aligned_empty(4 << 20, np.uint8)
