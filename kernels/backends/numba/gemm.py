"""GEMM in five loops around the register microkernel (Goto's order), as csrc/per_isa/gemm.h has them, and why."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np
from numba import carray

from kernels.arrays import leading_dimension
from kernels.backends.c import lib
from kernels.backends.numba.gemm_skinny import prepare_gemm_skinny
from kernels.backends.numba.microkernel import (
    AP_BP,
    AP_BS,
    AP_BS_COPY,
    LEFT,
    MASK,
    NEVER,
    NEXT,
    THEN,
    copy_edge,
    no_prefetch,
    panel_widths,
    table_index,
    tile_heights,
    tile_scratch,
    tile_table,
)
from kernels.backends.numba.packing import pack_a, pack_strips
from kernels.backends.numba.pointers import address, at, lanes_of, pointer, prefetch
from kernels.backends.numba.settings import inlined, jit
from kernels.backends.numba.target import LINE, MR, SKINNY_ROWS, STREAMED_ROWS, VECTOR_BYTES, plan_target
from kernels.backends.numba.task import Call, call_address, divide_up, launch, share_start

PREFETCH_B_ROWS = 160  # of strided B; fewer leave memory idle


@inlined
def multiply_panel(
    table, kb, rows, tiles, tile, last, columns, a, b, stride, form, copy, c, ldc, accumulate, prefetched
):
    """A panel of B, for tiles of a form, against the row tiles [tile, last) of a packed block of A.

    Of strips the first one, two or four tiles prefetch, together one line for each that they read of B.
    """
    lanes, scratch, none = lanes_of(b), tile_scratch(b), no_prefetch(a)
    wide = (columns + lanes - 1) // lanes
    whole = columns == wide * lanes
    prefetching = 1 if form != AP_BP else 4 if last - tile >= 4 else 2 if last - tile >= 2 else 1
    if form == AP_BP and prefetched[MASK] != NEVER:
        prefetched[MASK] = LINE // VECTOR_BYTES * prefetching - 1  # a line of a strip lasts that many steps
    for i in range(tile, last):
        first = rows * i // tiles
        h, to, ld = rows * (i + 1) // tiles - first, at(c, first * ldc), ldc
        if not whole:
            to, ld = scratch, wide * lanes
        run = pointer(none, table)[table_index(form, h, wide)]
        fields = prefetched if i - tile < prefetching else none
        call_address(run, kb, at(a, first * kb), 0, b, stride, copy, to, ld, 1 if whole and accumulate else 0, fields)
        if not whole:
            copy_edge(h, columns, scratch, ld, at(c, first * ldc), ldc, accumulate)
        if form == AP_BS_COPY:
            b, stride, form = copy, kb * lanes, AP_BP


@jit
def block_start(z, block):
    """Where a block begins: columns (LOOP 5), inner dimension (LOOP 4), rows (LOOP 3); rows change fastest."""
    rows, inner = (z.m + z.mc - 1) // z.mc, (z.k + z.kc - 1) // z.kc
    return block // (rows * inner) * z.nc, block // rows % inner * z.kc, block % rows * z.mc


def gemm(a, b, c, work, sizes, step, t, threads):
    """C = A B in five loops around the register tile; without ldb B comes packed, as strips of all k.

    Weights that are only stored are widened, a panel for all row tiles: see linear/widening.py. Each step multiplies
    one block of A and then packs the next; scratch memory holds two.
    """
    z = carray(sizes, 1)[0]
    if step > 0 and t // z.across < z.down:  # threads outside the grid only pack A
        jc, pc, ic = block_start(z, step - 1)
        lanes, line, k, ldb, width = lanes_of(b), LINE // z.itemsize, z.k, z.ldb, z.width
        nb, mb, kb = min(z.nc, z.n - jc), min(z.mc, z.m - ic), min(z.kc, k - pc)
        deep = (kb + z.block_k - 1) // z.block_k * z.block_k
        column, row, tiles = t % z.across, t // z.across, (mb + MR - 1) // MR
        tile, last = tiles * row // z.down, tiles * (row + 1) // z.down
        first, end = share_start(nb, z.unit, column, z.across), share_start(nb, z.unit, column + 1, z.across)
        packed, mine = at(work, (step - 1) % 2 * z.a_block), at(work, 2 * z.a_block + t * z.b_thread)
        ahead = no_prefetch(b)
        # Of strided B, several tiles prefetch the whole next panel, row by row; a single one PREFETCH_B_ROWS of it.
        lead = kb if last - tile > 1 else min(kb, PREFETCH_B_ROWS)
        if ldb > 0 and step == 1:
            for p in range(lead):
                for j in range(first, first + width, line):
                    prefetch(at(b, p * ldb + j))
        for jr in range(first, end, width):  # LOOP 2: panels of B; LOOP 1: tiles of A
            columns, more, strided = min(width, end - jr), jr + width < end, at(b, pc * ldb + jc + jr)
            kept = at(mine, (jr - first) // width % z.panels * deep * width)
            panel, stride, form = kept, deep * lanes, AP_BP
            ahead[NEXT], ahead[MASK] = address(at(kept, deep * width)), 0 if more else NEVER
            if z.widen > 0:
                if ic == 0:
                    strips, weights = (columns + lanes - 1) // lanes, at(b, (jc + jr) // lanes * z.strip)
                    call_address(z.widen, pc // z.block_k, deep // z.block_k, strips, weights, z.strip, z.scales, kept)
                    ahead[MASK] = NEVER
            elif ldb == 0:
                panel, stride = at(b, (jc + jr) * k + pc * lanes), k * lanes
                ahead[NEXT] = address(at(panel, width * k))
                if z.m <= STREAMED_ROWS:
                    ahead[MASK] = NEVER
            elif ic == 0 and columns % lanes == 0:
                panel, stride, form = strided, ldb, AP_BS if last - tile == 1 and z.m <= z.mc else AP_BS_COPY
                then = at(strided, width) if more else at(b, (pc + kb) * ldb + jc + first) if pc + kb < k else strided
                ahead[NEXT] = address(at(strided, lead * ldb) if lead < kb else then)
                ahead[THEN], ahead[LEFT] = address(then), kb - lead
            elif ic == 0:
                pack_strips(kb, columns, strided, ldb, kept, kb * lanes)
            to = at(c, ic * z.ldc + jc + jr)
            multiply_panel(
                z.tiles, kb, mb, tiles, tile, last, columns, packed, panel, stride, form, kept, to, z.ldc, pc > 0, ahead
            )
    if step < z.blocks:
        _, pc, ic = block_start(z, step)
        mb, kb, packed = min(z.mc, z.m - ic), min(z.kc, z.k - pc), at(work, step % 2 * z.a_block)
        tiles = (mb + MR - 1) // MR
        for tile in range(tiles * t // threads, tiles * (t + 1) // threads):
            i = mb * tile // tiles
            h = mb * (tile + 1) // tiles - i
            pack_a(h, kb, at(a, (ic + i) * z.lda + pc), z.lda, at(packed, i * kb))


def _panel_widths(n: int, plan: Any) -> set[int]:
    """Of the panels that threads' shares of n columns are cut into."""
    if plan.unit == plan.width:
        return panel_widths(n, plan.width)
    units = divide_up(n, plan.unit)
    starts = [min(units * t // plan.across * plan.unit, n) for t in range(plan.across + 1)]
    return set().union(*(panel_widths(end - start, plan.width) for start, end in pairwise(starts)))


def prepare_blocks(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int, ldb: int, target: Any = None, **stored: int
) -> Call:
    """The five loops, in planned blocks, with those tiles compiled that they need. Without ldb B is packed.

    Of weights that are only stored: their target, where what widens them is, words between strips and of its scales.
    """
    (m, k), n, size = a.shape, c.shape[1], c.itemsize
    stored = stored or {"widen": 0, "strip": 0, "scales": 0}
    packed = ldb == 0 and target is None
    plan = lib.plan_gemm(target or plan_target(size), lib.host_caches(), threads, packed, m, n, k)
    lanes, needed = VECTOR_BYTES // size, set()
    for ic in range(0, m, plan.mc):
        heights = tile_heights(min(plan.mc, m - ic))
        for row in range(plan.down):
            mine = heights[len(heights) * row // plan.down : len(heights) * (row + 1) // plan.down]
            for columns in _panel_widths(n, plan):
                form = AP_BS if len(mine) == 1 and m <= plan.mc else AP_BS_COPY
                if not ldb or ic > 0 or columns % lanes:
                    form = AP_BP
                needed |= {(AP_BP if tile else form, h, divide_up(columns, lanes)) for tile, h in enumerate(mine)}
    return launch(
        gemm, a, b, c, threads, plan.blocks + 1, 2 * plan.a_block + threads * plan.b_thread,
        m=m, n=n, k=k, lda=leading_dimension(a), ldb=ldb, ldc=leading_dimension(c), kc=plan.kc, mc=plan.mc, nc=plan.nc,
        width=plan.width, unit=plan.unit, panels=plan.panels, across=plan.across, down=plan.down, a_block=plan.a_block,
        b_thread=plan.b_thread, blocks=plan.blocks, tiles=tile_table(size, needed),
        block_k=target.block_k if target else 1, **stored,
    )  # fmt: skip


def prepare_gemm(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    if len(a) <= SKINNY_ROWS:
        return prepare_gemm_skinny(a, b, c, threads)
    return prepare_blocks(a, b, c, threads, leading_dimension(b))


prepare_gemm_prepacked = functools.partial(prepare_blocks, ldb=0)
