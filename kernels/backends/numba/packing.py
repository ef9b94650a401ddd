"""Packing: A into columns of a tile's height, B into strips, k rows of one vector of columns, the last zero-padded."""

from __future__ import annotations

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.arrays import Arena, leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.pointers import at, lanes_of, not_vectorised
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import LINE, plan_target
from kernels.backends.numba.task import launch, share_start

ROWS_AT_ONCE = 4  # of B: whole cache lines of a strip are written, and B is read as four streams


@intrinsic
def transpose_square(typing, rows, source, lds, target, ldt):
    """A square of vectors, transposed; below the last row it is read again."""

    def emit(context, builder, signature, args):
        e = Emitter(context, builder, signature.args[1].dtype)
        rows, source, lds, target, ldt = args
        end = builder.sub(rows, e.index(1))
        which = [builder.select(builder.icmp_signed("<", end, e.index(i)), end, e.index(i)) for i in range(e.lanes)]
        square = [e.load(e.step(source, builder.mul(row, lds))) for row in which]
        e.transpose(square)
        for i, vector in enumerate(square):
            e.store(vector, e.step(target, e.times(i, ldt)))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(i8, source, i8, target, i8), emit


def _make_copy_rows(u: int):
    @intrinsic
    def copy_rows(typing, source, lds, target, columns, strip):
        """u rows of B to as many rows of the strips, `columns` of them: whole vectors."""

        def emit(context, builder, signature, args):
            e = Emitter(context, builder, signature.args[0].dtype)
            source, lds, target, columns, strip = args
            starts = [e.step(source, e.times(p, lds)) for p in range(u)]
            with cgutils.for_range(builder, builder.sdiv(columns, e.index(e.lanes))) as loop:
                to, j = e.step(target, builder.mul(loop.index, strip)), e.times(e.lanes, loop.index)
                for p, start in enumerate(starts):
                    e.store(e.load(e.step(start, j)), e.step(to, p * e.lanes))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(source, i8, target, i8, i8), emit

    return copy_rows


copy_rows, copy_row = _make_copy_rows(ROWS_AT_ONCE), _make_copy_rows(1)


@jit
def pack_strips(k, columns, b, ldb, to, strip):
    """k rows of `columns` elements to strips of k x lanes, the last one padded with zeros."""
    lanes = lanes_of(b)
    whole = columns - columns % lanes
    body = k - k % ROWS_AT_ONCE
    for p in range(0, body, ROWS_AT_ONCE):
        copy_rows(at(b, p * ldb), ldb, at(to, p * lanes), whole, strip)
    for p in range(body, k):
        copy_row(at(b, p * ldb), ldb, at(to, p * lanes), whole, strip)
    if whole < columns:
        last = at(to, whole // lanes * strip)
        for p in range(k):
            for lane in range(lanes):
                last[p * lanes + lane] = b[p * ldb + whole + lane] if whole + lane < columns else 0


@jit
def pack_a(h, k, a, lda, to):
    """h rows of k elements to k columns of h elements, a square at a time: see csrc/per_isa/packing.h."""
    lanes, p = lanes_of(a), 0
    while (p + lanes) * h + lanes <= k * h:
        for i in range((h - 1) // lanes * lanes, -1, -lanes):
            transpose_square(h - i, at(a, i * lda + p), lda, at(to, p * h + i), h)
        p += lanes
    while p < k:
        for i in range(h):
            to[p * h + i] = a[i * lda + p]
            not_vectorised()
        p += 1


@jit
def pack_transposed(k, n, b, ldb, to, strip):
    """n rows of k elements to strips of the transposed, as pack_strips makes them."""
    lanes = lanes_of(b)
    for j in range(0, n, lanes):
        rows, target, p = at(b, j * ldb), at(to, j // lanes * strip), 0
        while j + lanes <= n and p + lanes <= k:
            transpose_square(lanes, at(rows, p), ldb, at(target, p * lanes), lanes)
            p += lanes
        while p < k:
            for lane in range(lanes):
                target[p * lanes + lane] = rows[lane * ldb + p] if j + lane < n else 0
                not_vectorised()
            p += 1


def pack_b(a, b, c, work, sizes, step, t, threads):
    """B in strips of all k, at c."""
    z = carray(sizes, 1)[0]
    unit = 8 * LINE // z.itemsize
    j, end = share_start(z.n, unit, t, threads), share_start(z.n, unit, t + 1, threads)
    for jc in range(j, end, unit):
        pack_strips(z.k, min(unit, end - jc), at(b, jc), z.ldb, at(c, jc * z.k), z.k * lanes_of(b))


def pack(b: np.ndarray, threads: int) -> np.ndarray:
    """B[k, n] in strips of k x lanes elements; 1-D, aligned to 64 bytes."""
    k, n = b.shape
    packed = Arena.take(lib.packed_elements(plan_target(b.itemsize), n, k), b.dtype)
    launch(pack_b, b, b, packed, threads, n=n, k=k, ldb=leading_dimension(b))()
    return packed
