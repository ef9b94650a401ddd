"""Batches of small products, such as attention's: each thread multiplies its part of all their rows, on its own.

Operands are read where they are, but for a transposed B: see csrc/per_isa/gemm_batch.h.
"""

from __future__ import annotations

import itertools

import numpy as np
from numba import carray

from kernels.arrays import leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.linear.gemv import (
    STREAMS,
    add_row,
    add_rows,
    add_streams,
    dot_row,
    dot_rows,
    dot_streams,
)
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
from kernels.backends.numba.pointers import at, lanes_of, pointer, zero
from kernels.backends.numba.settings import inlined
from kernels.backends.numba.target import LINE, MR, TILE_VECTORS, VECTOR_BYTES, plan_target
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


def interleaved(a, b, c, work, sizes, step, t, threads):
    """Products of one row each whose matrices B interleave: thread t's rows of all of them (step 0), and its share of
    the matrices of all sums over rows into c (step 1)."""
    z = carray(sizes, 1)[0]
    batch, n, ldb, line, whole = z.batch, z.n, z.ldb, z.line, z.whole
    if step == 1:
        for g in range(batch * t // threads, batch * (t + 1) // threads):
            for j in range(n):
                total = zero(c)
                for s in range(threads):
                    if z.rows * s // threads < z.rows * (s + 1) // threads:
                        total += work[(s * batch + g) * line + j]
                c[g * z.stride_c + j] = total
        return
    first, end = z.rows * t // threads, z.rows * (t + 1) // threads
    each, k = (end - first) // STREAMS, z.k
    own = z.transposed == 0 and threads > 1
    sums, apart = (at(work, t * batch * line), line) if own else (c, z.stride_c)
    i, streams = first, each > 0
    while i < end:
        for g in range(batch):
            x, w, to = at(a, g * z.stride_a), at(b, g * z.stride_b + i * ldb), at(sums, g * apart)
            if z.transposed:
                if streams:
                    dot_streams(w, ldb, each, x, whole, at(to, i))
                else:
                    dot_row(w, ldb, 0, x, whole, at(to, i))
            elif streams:
                add_streams(at(x, i), each, w, ldb, to, whole, i > first)
            else:
                add_row(at(x, i), 0, w, ldb, to, whole, i > first)
        i += 1
        if streams and i == first + each:
            i, streams = first + STREAMS * each, False
    for g in range(batch):  # what is no whole vector
        x, w, to = at(a, g * z.stride_a), at(b, g * z.stride_b), at(sums, g * apart)
        if z.transposed:
            for i in range(first, end):
                for p in range(whole, k):
                    to[i] += x[p] * w[i * ldb + p]
        else:
            for j in range(whole, n):
                total = zero(c)
                for i in range(first, end):
                    total += x[i] * w[i * ldb + j]
                to[j] = total


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
    if m == 1 and b.strides[0] < b.strides[1]:
        return _prepare_interleaved(a, b, c, threads, transposed)
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


def _prepare_interleaved(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int, transposed: bool) -> Call:
    (batch, _, k), n, size = a.shape, c.shape[2], c.itemsize
    lanes, line, sums = VECTOR_BYTES // size, -(-n * size // LINE) * LINE // size, not transposed and threads > 1
    return launch(
        interleaved, a, b, c, threads, 1 + sums, threads * batch * line if sums else 1,
        batch=batch, n=n, k=k, rows=n if transposed else k, ldb=leading_dimension(b), line=line,
        whole=k - k % (2 * lanes) if transposed else n - n % lanes, transposed=int(transposed),
        stride_a=a.strides[0] // size, stride_b=b.strides[0] // size, stride_c=c.strides[0] // size,
    )  # fmt: skip


def prepare_gemm_batch(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _prepare(a, b, c, threads, transposed=False)


def prepare_gemm_batch_t(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return _prepare(a, b, c, threads, transposed=True)
