"""GEMV, y = W x and y = x W: W is read as STREAMS equally long streams, by each thread in one piece.

Why, says csrc/per_isa/gemv.h.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.arrays import leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.linear.stored import plain_weights, weight
from kernels.backends.numba.pointers import at, lanes_of, zero
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import LINE, plan_target
from kernels.backends.numba.task import Call, launch, share_start

STREAMS = 4  # of W, read side by side


def _make_dots(rows: int):
    @intrinsic
    def dots(typing, w, ld, stride, x, count, y):
        """y[r * stride] = sum of w[r * stride, i] * x[i] over i < count for `rows` rows r; count: pairs of vectors."""

        def emit(context, builder, signature, args):
            v, load = plain_weights(context, builder, signature.args[0], signature.args[3])
            w, ld, stride, x, count, y = args
            starts = [v.step(w, builder.mul(ld, v.times(r, stride))) for r in range(rows)]
            sums = v.accumulators(rows * 2)  # two chains each: an add doesn't wait for the one before
            with cgutils.for_range_slice(builder, v.index(0), count, v.index(2 * v.lanes)) as (i, _):
                for u in range(2):
                    offset = builder.add(i, v.index(u * v.lanes))
                    xs = v.load(v.step(x, offset))
                    for start, to in zip(starts, sums[u::2], strict=True):
                        builder.store(v.fma(load(v.step(start, offset)), xs, builder.load(to)), to)
            for r in range(rows):
                total = builder.fadd(*(builder.load(part) for part in sums[r * 2 : r * 2 + 2]))
                builder.store(v.sum(total), v.step(y, v.times(r, stride)))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(w, i8, i8, x, i8, y), emit

    return dots


def _make_add_rows(rows: int):
    @intrinsic
    def add_rows(typing, x, stride, w, ld, y, count, accumulate):
        """y[j] = or += sum of x[r * stride] * w[r * stride, j] over `rows` rows r, for j < count: whole vectors."""

        def emit(context, builder, signature, args):
            v, load = plain_weights(context, builder, signature.args[2], signature.args[0])
            x, stride, w, ld, y, count, accumulate = args
            starts = [v.step(w, builder.mul(ld, v.times(r, stride))) for r in range(rows)]
            factors = [v.broadcast(v.step(x, v.times(r, stride))) for r in range(rows)]
            for add in (True, False):
                with (
                    builder.if_then(accumulate if add else builder.not_(accumulate)),
                    cgutils.for_range_slice(builder, v.index(0), count, v.index(v.lanes)) as (j, _),
                ):
                    total = v.load(v.step(y, j)) if add else ir.Constant(v.vector, None)
                    for start, factor in zip(starts, factors, strict=True):
                        total = v.fma(load(v.step(start, j)), factor, total)
                    v.store(total, v.step(y, j))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(x, i8, w, i8, y, i8, types.boolean), emit

    return add_rows


dot_streams, dot_row = _make_dots(STREAMS), _make_dots(1)
add_streams, add_row = _make_add_rows(STREAMS), _make_add_rows(1)


@jit
def dot_rows(i, end, k, w, ld, x, y):
    """Rows [i, end) of y = W[., k] x, as STREAMS equally long streams."""
    whole, each = k - k % (2 * lanes_of(x)), (end - i) // STREAMS
    for r in range(i, i + each):
        dot_streams(at(w, r * ld), ld, each, x, whole, at(y, r))
    for r in range(i + STREAMS * each, end):
        dot_row(at(w, r * ld), ld, 0, x, whole, at(y, r))
    if whole < k:
        for r in range(i, end):
            for p in range(whole, k):
                y[r] += weight(w, r * ld + p) * x[p]


@jit
def add_rows(first, end, n, x, w, ld, y):
    """y[n] = the sum of x[p] W[p, n] over p in [first, end)."""
    whole, each = n - n % lanes_of(x), (end - first) // STREAMS
    for p in range(first, first + each):
        add_streams(at(x, p), each, at(w, p * ld), ld, y, whole, p > first)
    for p in range(first + STREAMS * each, end):
        add_row(at(x, p), 0, at(w, p * ld), ld, y, whole, p > first)
    for j in range(whole, n):
        total = zero(x)
        for p in range(first, end):
            total += x[p] * weight(w, p * ld + j)
        y[j] = total


def gemv(w, x, y, work, sizes, step, t, threads):
    """Thread t's rows of y = W x."""
    z = carray(sizes, 1)[0]
    line = LINE // z.itemsize
    dot_rows(share_start(z.n, line, t, threads), share_start(z.n, line, t + 1, threads), z.k, w, z.ldw, x, y)


def gemv_t(x, w, y, work, sizes, step, t, threads):
    """Thread t's rows of W into its own sums (step 0), then its columns of all sums into y (step 1)."""
    z = carray(sizes, 1)[0]
    n, k = z.n, z.k
    if step == 0:  # split by rows, not columns: each thread reads one contiguous piece of W
        mine = y if threads == 1 else at(work, t * z.ld)
        add_rows(k * t // threads, k * (t + 1) // threads, n, x, w, z.ldw, mine)
        return
    for j in range(share_start(n, LINE // z.itemsize, t, threads), share_start(n, LINE // z.itemsize, t + 1, threads)):
        total = zero(x)
        for s in range(threads):
            if k * s // threads < k * (s + 1) // threads:  # with k < threads some had no row
                total += work[s * z.ld + j]
        y[j] = total


def prepare_gemv(w: np.ndarray, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return launch(gemv, w, x, y, threads, n=y.size, k=x.size, ldw=leading_dimension(w))


def prepare_gemv_t(x: np.ndarray, w: np.ndarray, y: np.ndarray, threads: int) -> Call:
    ld = lib.plan_gemv_t(plan_target(y.itemsize), y.size)
    return launch(
        gemv_t, x, w, y, threads, min(threads, 2), threads * ld if threads > 1 else 1,
        n=y.size, k=x.size, ldw=leading_dimension(w), ld=ld,
    )  # fmt: skip
