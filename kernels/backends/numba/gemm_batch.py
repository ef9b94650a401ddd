"""Batches of small products, such as attention's: each thread multiplies its part of all their rows, on its own.

Operands are read where they are, but for a transposed B: see csrc/per_isa/gemm_batch.h.
"""

from __future__ import annotations

import itertools

import numpy as np
from numba import carray

from kernels.arrays import leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.linear.gemv import add_rows, dot_rows
from kernels.backends.numba.microkernel import (
    AS_BP,
    AS_BS,
    copy_edge,
    no_prefetch,
    panel_widths,
    table_index,
    tile_heights,
    tile_scratch,
    tile_table,
)
from kernels.backends.numba.packing import pack_strips, pack_transposed
from kernels.backends.numba.pointers import at, lanes_of, pointer
from kernels.backends.numba.settings import inlined
from kernels.backends.numba.target import MR, TILE_VECTORS, VECTOR_BYTES, plan_target
from kernels.backends.numba.task import Call, call_address, divide_up, launch


def gemm_batch(a, b, c, work, sizes, step, t, threads):
    """Independent products: equal parts of all their rows."""
    z = carray(sizes, 1)[0]
    r, last, strips = z.batch * z.m * t // threads, z.batch * z.m * (t + 1) // threads, at(work, t * z.b_thread)
    while r < last:
        g, i = r // z.m, r % z.m
        h = min(z.m - i, last - r)
        left, right, to = at(a, g * z.stride_a + i * z.lda), at(b, g * z.stride_b), at(c, g * z.stride_c + i * z.ldc)
        if z.m > 1:
            small_product(z, h, left, right, to, strips)
        elif z.transposed:  # a packed B would be used for a single row
            dot_rows(0, z.n, z.k, right, z.ldb, left, to)
        else:
            add_rows(0, z.k, z.n, left, right, z.ldb, to)
        r += h


@inlined
def small_product(z, m, a, b, c, strips):
    """C[m, n] = A[m, k] B[k, n] on one thread."""
    lanes, scratch, none, tiles, ldb = lanes_of(b), tile_scratch(b), no_prefetch(a), (m + MR - 1) // MR, z.ldb
    width = TILE_VECTORS[(m + tiles - 1) // tiles] * lanes
    for jc in range(0, z.n, z.nc):
        for pc in range(0, z.k, z.kc):
            nb, kb = min(z.nc, z.n - jc), min(z.kc, z.k - pc)
            # the columns from `edge` on are packed: a tile at the edge may not read beyond B
            edge, strip = 0 if z.transposed else nb // width * width, kb * lanes
            if z.transposed:
                pack_transposed(kb, nb, at(b, jc * ldb + pc), ldb, strips, strip)
            elif edge < nb:
                pack_strips(kb, nb - edge, at(b, pc * ldb + jc + edge), ldb, at(strips, edge * kb), strip)
            for tile in range(tiles):
                i = m * tile // tiles
                h = m * (tile + 1) // tiles - i
                for j in range(0, nb, width):
                    columns, form, panel, stride = min(width, nb - j), AS_BP, at(strips, j * kb), strip
                    if j < edge:
                        form, panel, stride = AS_BS, at(b, pc * ldb + jc + j), ldb
                    wide = (columns + lanes - 1) // lanes
                    whole, here = columns == wide * lanes, at(c, i * z.ldc + jc + j)
                    to, ld = (here, z.ldc) if whole else (scratch, wide * lanes)
                    run = pointer(none, z.tiles)[table_index(form, h, wide)]
                    x, accumulate = at(a, i * z.lda + pc), 1 if whole and pc > 0 else 0
                    call_address(run, kb, x, z.lda, panel, stride, strips, to, ld, accumulate, none)
                    if not whole:
                        copy_edge(h, columns, scratch, ld, here, z.ldc, pc > 0)


def _prepare(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int, transposed: bool) -> Call:
    (batch, m, k), n, size = a.shape, c.shape[2], c.itemsize
    plan, lanes = lib.plan_gemm_batch(plan_target(size), lib.host_caches(), m, n, k), VECTOR_BYTES // size
    ends = sorted({*range(0, batch * m + 1, m), *(batch * m * t // threads for t in range(threads))})
    needed = set()
    for rows in {end - begin for begin, end in itertools.pairwise(ends)} if m > 1 else ():
        heights = set(tile_heights(rows))
        width = TILE_VECTORS[max(heights)] * lanes
        for nb in {plan.nc, n - (n - 1) // plan.nc * plan.nc}:
            edge = 0 if transposed else nb // width * width
            for form, columns in ((AS_BS, edge), (AS_BP, nb - edge)):
                needed |= {(form, h, divide_up(w, lanes)) for h in heights for w in panel_widths(columns, width)}
    return launch(
        gemm_batch, a, b, c, threads, 1, threads * plan.b_thread,
        batch=batch, m=m, n=n, k=k, lda=leading_dimension(a), ldb=leading_dimension(b), ldc=leading_dimension(c),
        stride_a=a.strides[0] // size, stride_b=b.strides[0] // size, stride_c=c.strides[0] // size,
        transposed=int(transposed), kc=plan.kc, nc=plan.nc, b_thread=plan.b_thread,
        tiles=tile_table(size, needed),
    )  # fmt: skip


def prepare_gemm_batch(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _prepare(a, b, c, threads, transposed=False)


def prepare_gemm_batch_t(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _prepare(a, b, c, threads, transposed=True)
