"""The scalar steps up to GEMM: three plain loops; the same in cache blocks; those packed, with a register tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, prange

from kernels.arrays import leading_dimension
from kernels.backends.numba.pointers import at, not_vectorised, zero
from kernels.backends.numba.settings import jit, parallel, use_threads
from kernels.backends.numba.target import L2
from kernels.backends.numba.task import Call, bind, launch, share

BLOCK_K = 64  # rows of a block of B; in gemm_tiled its columns fill half of L2
MR, NR = 6, 2  # 12 sums + 2 elements of B + 1 of A fit 16 registers
PANELS = 128  # of B in a block
ROOM = BLOCK_K * (MR + PANELS * NR)  # elements of a thread's panels


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
def scalar_tile(k, a, b, c, ldc, rows, columns, add):
    """C[rows, columns] = or += a[k, MR] transposed times b[k, NR], packed panels; C stays in registers."""
    c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = c40 = c41 = c50 = c51 = zero(c)
    for p in range(k):
        column, x, y = at(a, p * MR), b[p * NR], b[p * NR + 1]
        # row by row: all of x first would keep 6 elements of A alive and spill
        c00, c01 = c00 + column[0] * x, c01 + column[0] * y
        c10, c11 = c10 + column[1] * x, c11 + column[1] * y
        c20, c21 = c20 + column[2] * x, c21 + column[2] * y
        c30, c31 = c30 + column[3] * x, c31 + column[3] * y
        c40, c41 = c40 + column[4] * x, c41 + column[4] * y
        c50, c51 = c50 + column[5] * x, c51 + column[5] * y
    sums = (c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51)
    for r in range(min(rows, MR)):
        for q in range(min(columns, NR)):
            c[r * ldc + q] = sums[r * NR + q] + (c[r * ldc + q] if add else zero(c))


def gemm_packed(a, b, c, work, sizes, step, t, threads):
    """Blocks of B in the order in which the tile reads them, a thread's columns each; panels end in zeros."""
    z = carray(sizes, 1)[0]
    pa = at(work, t * ROOM)
    pb = at(pa, BLOCK_K * MR)
    first, last = share(z.n, t, threads)
    for j0 in range(first, last, PANELS * NR):
        width = min(PANELS * NR, last - j0)
        panels = (width + NR - 1) // NR
        for p0 in range(0, z.k, BLOCK_K):
            depth = min(BLOCK_K, z.k - p0)
            for p in range(depth):
                for j in range(panels * NR):
                    value = b[(p0 + p) * z.ldb + j0 + j] if j < width else zero(b)
                    pb[(j // NR * BLOCK_K + p) * NR + j % NR] = value
            for i in range(0, z.m, MR):
                for r in range(MR):
                    for p in range(depth):
                        pa[p * MR + r] = a[(i + r) * z.lda + p0 + p] if i + r < z.m else zero(a)
                for j in range(panels):
                    panel, to, column = at(pb, j * BLOCK_K * NR), at(c, i * z.ldc + j0 + j * NR), j * NR
                    scalar_tile(depth, pa, panel, to, z.ldc, z.m - i, width - column, p0 > 0)


def _rows(array: np.ndarray) -> np.ndarray:
    """A matrix as C-ordered rows of its leading dimension: one compiled function serves every leading dimension.

    The last row then reaches past the end of the memory; the kernels, given the true width, never touch that part.
    """
    rows, columns = array.shape
    width = array.strides[0] // array.itemsize if rows > 1 else columns
    strides = (width * array.itemsize, array.itemsize)
    return np.lib.stride_tricks.as_strided(array, (rows, width), strides)


def _bind(function: Any, a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    name = f"{function.__name__}_f{c.itemsize * 8}"
    return bind(name, function, _rows(a), _rows(b), _rows(c), *c.shape, a.shape[1], threads)


def prepare_gemm_naive(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _bind(gemm_naive, a, b, c, threads=threads)


def prepare_gemm_tiled(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _bind(gemm_tiled, a, b, c, threads=threads)


def prepare_gemm_packed(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return launch(
        gemm_packed, a, b, c, threads, room=threads * ROOM, m=c.shape[0], n=c.shape[1], k=a.shape[1],
        lda=leading_dimension(a), ldb=leading_dimension(b), ldc=leading_dimension(c),
    )  # fmt: skip
