"""The scalar steps up to GEMM: three plain loops; the same in cache blocks; those packed, with a register tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.arrays import aligned_empty
from kernels.backends.numba.pointers import not_vectorised
from kernels.backends.numba.settings import jit, parallel, use_threads
from kernels.backends.numba.target import L2
from kernels.backends.numba.task import Call, bind, share

BLOCK_K = 64  # rows of a block of B; in gemm_tiled its columns fill half of L2
MR, NR = 6, 2  # 12 sums + 2 elements of B + 1 of A fit 16 registers
PANELS = 128  # of B in a block


@parallel(fastmath={"contract"})
def gemm_naive(a, b, c, m, n, k, threads):
    use_threads(threads)
    for i in prange(m):
        for j in range(n):
            total = a[i, 0] * b[0, j]
            for p in range(1, k):
                total += a[i, p] * b[p, j]
            c[i, j] = total


@parallel(fastmath={"contract"})
def gemm_tiled(a, b, c, m, n, k, threads):
    use_threads(threads)
    nc = L2 // 2 // BLOCK_K // c.itemsize
    for t in prange(threads):
        i0, i1 = share(m, t, threads)
        for i in range(i0, i1):
            for j in range(n):
                c[i, j] = 0
        for jc in range(0, n, nc):
            for pc in range(0, k, BLOCK_K):
                for i in range(i0, i1):
                    target = c[i, jc : min(jc + nc, n)]
                    for p in range(pc, min(pc + BLOCK_K, k)):
                        factor, source = a[i, p], b[p, jc : min(jc + nc, n)]
                        for j in range(target.size):
                            target[j] += factor * source[j]
                            not_vectorised()


@jit(fastmath={"contract"})
def scalar_tile(k, a, b, c, i, j, rows, columns, add):
    """C[rows, columns] at (i, j) = or += a[k, MR] transposed times b[k, NR], packed panels; C stays in registers."""
    c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = c40 = c41 = c50 = c51 = c.dtype.type(0)
    for p in range(k):
        x, y = b[p, 0], b[p, 1]  # then row by row: all of x first would keep 6 elements of A alive and spill
        c00, c01 = c00 + a[p, 0] * x, c01 + a[p, 0] * y
        c10, c11 = c10 + a[p, 1] * x, c11 + a[p, 1] * y
        c20, c21 = c20 + a[p, 2] * x, c21 + a[p, 2] * y
        c30, c31 = c30 + a[p, 3] * x, c31 + a[p, 3] * y
        c40, c41 = c40 + a[p, 4] * x, c41 + a[p, 4] * y
        c50, c51 = c50 + a[p, 5] * x, c51 + a[p, 5] * y
    sums = (c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51)
    for r in range(min(rows, MR)):
        for q in range(min(columns, NR)):
            c[i + r, j + q] = sums[r * NR + q] + (c[i + r, j + q] if add else 0)


@parallel
def gemm_packed(a, b, c, m, n, k, pa, pb, threads):
    """Blocks of B in the order in which the tile reads them, a thread's columns each; panels end in zeros."""
    use_threads(threads)
    for t in prange(threads):
        first, last = share(n, t, threads)
        for j0 in range(first, last, PANELS * NR):
            width = min(PANELS * NR, last - j0)
            panels = (width + NR - 1) // NR
            for p0 in range(0, k, BLOCK_K):
                depth = min(BLOCK_K, k - p0)
                for p in range(depth):
                    for j in range(panels):
                        for q in range(NR):
                            column = j * NR + q
                            pb[t, j, p, q] = b[p0 + p, j0 + column] if column < width else 0
                for i in range(0, m, MR):
                    for r in range(MR):
                        for p in range(depth):
                            pa[t, p, r] = a[i + r, p0 + p] if i + r < m else 0
                    for j in range(panels):
                        column = j * NR
                        scalar_tile(depth, pa[t], pb[t, j], c, i, j0 + column, m - i, width - column, p0 > 0)


def _rows(array: np.ndarray) -> np.ndarray:
    """A matrix as C-ordered rows of its leading dimension: one compiled function serves every leading dimension.

    The last row then reaches past the end of the memory; the kernels, given the true width, never touch that part.
    """
    rows, columns = array.shape
    width = array.strides[0] // array.itemsize if rows > 1 else columns
    strides = (width * array.itemsize, array.itemsize)
    return np.lib.stride_tricks.as_strided(array, (rows, width), strides)


def _bind(function: Any, a: np.ndarray, b: np.ndarray, c: np.ndarray, *scratch: np.ndarray, threads: int) -> Call:
    name = f"{function.__name__}_f{c.itemsize * 8}"
    return bind(name, function, _rows(a), _rows(b), _rows(c), *c.shape, a.shape[1], *scratch, threads)


def prepare_gemm_naive(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _bind(gemm_naive, a, b, c, threads=threads)


def prepare_gemm_tiled(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _bind(gemm_tiled, a, b, c, threads=threads)


def prepare_gemm_packed(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    pa = aligned_empty((threads, BLOCK_K, MR), a.dtype)
    pb = aligned_empty((threads, PANELS, BLOCK_K, NR), a.dtype)
    return _bind(gemm_packed, a, b, c, pa, pb, threads=threads)
