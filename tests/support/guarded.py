"""Kernels on arrays between pages that may not be touched. A script: python -m support.guarded BACKEND ISA [sparse].

Prints each call before it runs: after a crash the last line names the kernel, the case and the place of its arrays.
"""

import ctypes
import mmap
import sys
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

import kernels
from kernels import DTYPES, OPERATIONS, Kernel
from kernels.verify import check
from support.cases import arguments, make_inputs, size_of

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
CASES = [(1, 1, 1, 1), (3, 5, 7, 1), (7, 21, 19, 2), (17, 33, 9, 2), (6, 64, 32, 1)]  # m, n, k, threads
ALIGNED = 64  # bytes: workspaces, packed weights, and what non-temporal stores write


def guarded(bytes_: int, at_end: bool, align: int = 1) -> np.ndarray:
    """Bytes that end where an inaccessible page begins (as far as `align` allows), or begin where one ends."""
    inside = -(-bytes_ // PAGE) * PAGE
    pages = mmap.mmap(-1, inside + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    whole = np.frombuffer(pages, np.uint8)
    for guard in (whole[:PAGE], whole[PAGE + inside :]):
        if LIBC.mprotect(ctypes.c_void_p(guard.ctypes.data), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + ((inside - bytes_) // align * align if at_end else 0)
    return whole[start : start + bytes_]


def guarded_array(like: np.ndarray, at_end: bool, apart: int, align: int) -> np.ndarray:
    """A copy between guard pages, its rows `apart` elements farther from each other than they are long."""
    *outer, columns = like.shape
    rows = prod(outer)
    elements = (rows - 1) * (columns + apart) + columns
    memory = guarded(elements * like.itemsize, at_end, align).view(like.dtype)
    strides = [(columns + apart) * like.itemsize]
    for size in reversed(outer[1:]):
        strides.insert(0, strides[0] * size)
    strides = [*strides, like.itemsize] if outer else [like.itemsize]
    array = np.lib.stride_tricks.as_strided(memory, like.shape, strides)
    array[...] = like
    return array


def guarded_scratch(at_end: bool) -> Any:
    """aligned_empty(), between guard pages."""

    def scratch(shape: int | Sequence[int], dtype: Any, align: int = ALIGNED) -> np.ndarray:
        sizes = np.atleast_1d(shape).tolist()
        return guarded(prod(sizes) * np.dtype(dtype).itemsize, at_end, align).view(dtype).reshape(sizes)

    return scratch


def run(kernel: Kernel) -> None:
    """Every case of a kernel, checked, with its operands, workspace and packed weights between guard pages."""
    align = ALIGNED if kernel.operation.endswith("_nt") else 1
    op = OPERATIONS[kernel.operation]
    for (m, n, k, threads), at_end, apart in product(CASES, (True, False), (0, 3)):
        dims = {"m": m, "n": n, "k": k}
        place = f"flush with the {'end' if at_end else 'beginning'}, rows {apart} apart"
        print(f"{kernel.name}: {dims}, {threads} threads, {place}", flush=True)
        for name, module in list(sys.modules.items()):
            if name.startswith("kernels") and "aligned_empty" in vars(module):
                vars(module)["aligned_empty"] = guarded_scratch(at_end)
        inputs = [guarded_array(x, at_end, apart, align) for x in make_inputs(kernel, dims)]
        before = [x.copy() for x in inputs]
        shape = [size_of(dims, d) for d in op.output[1]]
        out = guarded_array(np.full(shape, np.nan, DTYPES[kernel.dtype]), at_end, apart, align)
        if op.in_place:
            out[...] = inputs[0]
        threads = min(threads, kernel.most_threads)
        kernel.bind(*arguments(kernel, inputs, threads, out), out=out, threads=threads)()
        check(kernel.operation, kernel.types, before, out)


if __name__ == "__main__":
    backend, isa = sys.argv[1:3]
    for row in kernels.KERNELS.values():
        if (row.backend, row.isa) == (backend, isa) and ("sparse" not in sys.argv or OPERATIONS[row.operation].stored):
            run(row)
    print("done")
