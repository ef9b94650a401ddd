"""GEMM with few rows of A, bound by memory: B is read once, along its rows; the sums stay in cache.

Each step adds ROWS_PER_STEP rows of B, times their elements of A, to all m rows of the sums, as
csrc/per_isa/gemm_skinny.h does, and says why.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.arrays import leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.pointers import at
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import HELD_ROWS, L1, LINE, ROWS_PER_STEP, plan_target
from kernels.backends.numba.task import Call, launch, share_start


@intrinsic(prefer_literal=True)
def add_rows_of_b(typing, u, held, m, columns, a, b, stride, sums, ld, ahead):
    """sums[m, columns] += A[m, u] B[u, columns]: rows of B `stride` apart, of sums ld; A in the order of use.

    u and held are literals. held: the rows of A, where their elements stay in registers all along the rows of B; or 0.
    Prefetches what is `ahead` elements further on in B, if not 0.
    """
    u, held, kinds = u.literal_value, held.literal_value, (u, held)

    def emit(context, builder, signature, args):
        m, columns, a, b, stride, sums, ld, ahead = args[2:]
        dtype, prefetches = signature.args[4].dtype, builder.icmp_signed("!=", ahead, ahead.type(0))

        def rows_from(e, vectors, j):
            """`vectors` of each of the u rows, from j on."""
            here = [e.step(e.step(b, e.times(p, stride)), j) for p in range(u)]
            with builder.if_then(prefetches):
                for start in here:
                    for x in range(0, vectors * e.lanes, e.line):
                        e.prefetch(e.step(e.step(start, x), ahead))
            return [[e.load(e.step(start, x * e.lanes)) for start in here] for x in range(vectors)]

        def add_to(e, to, factors, row):
            total = e.load(to)
            for factor, vector in zip(factors, row, strict=True):
                total = e.fma(factor, vector, total)
            e.store(total, to)

        def factors_of(e, i):
            return [e.broadcast(e.step(e.step(a, e.times(u, i)), p)) for p in range(u)]

        def add(e, vectors, first, end):
            with cgutils.for_range_slice(builder, first, end, e.index(vectors * e.lanes)) as (j, _):
                rows = rows_from(e, vectors, j)
                with e.loop(e.index(0), m, unrolled=4) as i:
                    to, factors = e.step(e.step(sums, builder.mul(i, ld)), j), factors_of(e, i)
                    for x, row in enumerate(rows):
                        add_to(e, e.step(to, x * e.lanes), factors, row)

        def add_held(e, end):
            factors = [factors_of(e, e.index(i)) for i in range(held)]
            with cgutils.for_range_slice(builder, e.index(0), end, e.index(e.lanes)) as (j, _):
                (row,) = rows_from(e, 1, j)
                for i in range(held):
                    add_to(e, e.step(e.step(sums, e.times(i, ld)), j), factors[i], row)

        e, one = Emitter(context, builder, dtype), Emitter(context, builder, dtype, lanes=1)
        whole = builder.and_(columns, e.index(-(1 if held else 2) * e.lanes))
        if held:
            add_held(e, whole)
        else:
            add(e, 2, e.index(0), whole)
        add(one, 1, whole, columns)  # what is left, element by element
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(*kinds, i8, i8, a, b, i8, sums, i8, i8), emit


@jit
def add_up(m, columns, sums, ld, parts, following, c, ldc):
    """C[m, columns] = the sums of `parts` threads, `following` elements from one thread's to the next one's."""
    for i in range(m):
        for j in range(columns):
            c[i * ldc + j] = sums[i * ld + j]
        for r in range(1, parts):
            for j in range(columns):
                c[i * ldc + j] += sums[i * ld + r * following + j]


@functools.cache
def _task(held: int):
    """The task for `held` rows of A in registers; 0: for any number of rows."""

    def gemm_skinny(a, b, c, work, sizes, step, t, threads):
        """C = A B for few rows of A. Step 0 packs A, step 1 multiplies a thread's part of B, step 2 adds sums up."""
        z = carray(sizes, 1)[0]
        m, ldb, ld, across, down = z.m, z.ldb, z.ld, z.across, z.down
        column, row, line = t % across, t // across, LINE // z.itemsize
        if row >= down:
            return
        first, end = share_start(z.n, line, column, across), share_start(z.n, line, column + 1, across)
        top = z.k * row // down
        rows = z.k * (row + 1) // down - top
        deep = rows // ROWS_PER_STEP
        body = deep * ROWS_PER_STEP
        packed = at(work, top * m)
        if step == 0:  # A in the order of use: for each step ROWS_PER_STEP elements of every row; then the rest of k
            for s in range(deep * column // across, deep * (column + 1) // across):
                for i in range(m):
                    for p in range(ROWS_PER_STEP):
                        packed[(s * m + i) * ROWS_PER_STEP + p] = a[i * z.lda + top + s + p * deep]
            if column == 0:
                for p in range(body, rows):
                    for i in range(m):
                        packed[p * m + i] = a[i * z.lda + top + p]
        elif step == 1:
            sums, mine = at(work, z.packed_a + t * z.sums_thread), at(b, top * ldb)
            for j in range(first, end, z.nb):
                columns, to = min(z.nb, end - j), at(sums, j - first) if down > 1 else sums
                # sums that fill L1 leave no room there for what hardware prefetchers load: prefetch rows into L2
                ahead = ldb if 2 * m * columns * z.itemsize >= L1 else 0
                for i in range(m):
                    for q in range(columns):
                        to[i * ld + q] = 0
                for s in range(deep):
                    x = at(packed, s * m * ROWS_PER_STEP)
                    add_rows_of_b(ROWS_PER_STEP, held, m, columns, x, at(mine, s * ldb + j), deep * ldb, to, ld, ahead)
                for p in range(body, rows):
                    add_rows_of_b(1, 0, m, columns, at(packed, p * m), at(mine, p * ldb + j), 0, to, ld, 0)
                if down == 1:
                    add_up(m, columns, to, ld, 1, 0, at(c, j), z.ldc)
        else:
            j, last = share_start(end - first, line, row, down), share_start(end - first, line, row + 1, down)
            sums = at(work, z.packed_a + column * z.sums_thread + j)
            add_up(m, last - j, sums, ld, down, across * z.sums_thread, at(c, first + j), z.ldc)

    return gemm_skinny


def prepare_gemm_skinny(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    (m, k), n = a.shape, c.shape[1]
    plan = lib.plan_gemm_skinny(plan_target(c.itemsize), lib.host_caches(), threads, m, n, k)
    return launch(
        _task(m if m <= HELD_ROWS else 0), a, b, c, threads, 3 if plan.down > 1 else 2,
        plan.a_packed + threads * plan.sums_thread,
        m=m, n=n, k=k, lda=leading_dimension(a), ldb=leading_dimension(b), ldc=leading_dimension(c), nb=plan.columns,
        ld=plan.apart, packed_a=plan.a_packed, sums_thread=plan.sums_thread, across=plan.across, down=plan.down,
    )  # fmt: skip
