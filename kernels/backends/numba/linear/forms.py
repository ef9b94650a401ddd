"""linear and linear_a8: one loop for few rows, and where it serves more; see csrc/per_isa/linear/linear.h."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import carray, types

from kernels.arrays import leading_dimension
from kernels.backends import c
from kernels.backends.numba.gemm import prepare_blocks
from kernels.backends.numba.linear.rounding import compiled_rounding, row_words
from kernels.backends.numba.linear.tile import compiled_tile, most_rows, strips
from kernels.backends.numba.linear.widening import compiled_widening
from kernels.backends.numba.packing import pack_a
from kernels.backends.numba.pointers import at, prefetch
from kernels.backends.numba.target import ISA, L2, LINE, VECTOR_BYTES
from kernels.backends.numba.task import Call, c_function, call_address, divide_up, launch, pointer_to
from kernels.types import TYPES

LANES = VECTOR_BYTES // 4
BEGINNING = 4 * LINE // 4
"""Words of a stream's scales and of its weights that are prefetched."""


def direct_rows(element: str) -> float:
    """Of x, up to which each tile of linear widens weights by itself: all, where that takes one instruction."""
    bits = TYPES[element].bits
    return math.inf if bits >= 16 else 8 if bits >= 8 else 4


@functools.cache
def _compiled_copy() -> Any:
    def copy_rows(padded, h, k, x, ldx, to):
        if h == 1:
            for p in range(k):
                to[p] = x[p]
        else:
            pack_a(h, k, x, ldx, to)
        for p in range(k * h, padded * h):
            to[p] = 0

    i, p = types.int64, pointer_to("f32")
    return c_function("copy_rows", copy_rows, i, i, i, p, i, p)


def linear(x, w, y, work, sizes, step, t, threads):
    """Thread t's part: rows of x, prepared by the tile (step 0), then strips of w by every tile (the last step).

    With one tile each thread prepares it for itself: a barrier takes longer.
    """
    z = carray(sizes, 1)[0]
    tiles, m, k = z.tiles, z.m, z.padded
    alone = tiles == 1
    ready = at(work, t * z.apart) if alone else work
    first, last, v = z.strips * t // threads, z.strips * (t + 1) // threads, z.v
    each = (last - first) // v
    if step == 0:
        for s in range(v if alone and each > 0 else 0):  # where streams begin, while x is prepared
            strip = at(w, (first + s * each) * z.strip)
            for word in range(0, BEGINNING, LINE // 4):
                prefetch(at(strip, word))
                prefetch(at(strip, z.scales + word))
        for i in range(0 if alone else tiles * t // threads, 1 if alone else tiles * (t + 1) // threads):
            r = m * i // tiles
            h = m * (i + 1) // tiles - r
            call_address(z.prepare, k, h, z.k, at(x, r * z.ldx), z.ldx, at(ready, r * z.row))
        if not alone:
            return
    for b in range(z.blocks):
        for s in range(first, first + each + (1 if first + v * each < last else 0)):
            start, apart, count = s, each, v
            if s == first + each:  # those that are left, side by side
                start = first + v * each
                apart, count = 1, last - start
            for i in range(tiles * b // z.blocks, tiles * (b + 1) // z.blocks):
                r = m * i // tiles
                tile = z.low if m * (i + 1) // tiles - r == m // tiles else z.high
                call_address(
                    tile, k, at(ready, r * z.row), at(w, start * z.strip), apart * z.strip, z.scales, count,
                    at(y, r * z.ldy + start * z.lanes), z.ldy, apart * z.lanes, z.n - start * z.lanes,
                )  # fmt: skip


def _prepare(operation: str, x: np.ndarray, w: np.ndarray, y: np.ndarray, threads: int, element: str) -> Call:
    (m, k), n = x.shape, y.shape[1]
    target = c.target(ISA, element)
    plan = c.lib.plan_linear(target, n, k)
    rounding = operation == "linear_a8"
    if not rounding and m > direct_rows(element):
        widen = compiled_widening(element, target.block_k).address
        return prepare_blocks(
            x, w, y, threads, 0, target, widen=widen, strip=plan.strip // 4, scales=plan.scales // 4
        )  # fmt: skip
    row = row_words(element, plan.k) if rounding else plan.k
    most = most_rows(operation, element)
    tiles = divide_up(m, most)
    tile = functools.partial(compiled_tile, operation, element)
    low, high = m // tiles, divide_up(m, tiles)
    line = LINE // 4
    room = divide_up(row * m, line) * line
    return launch(
        linear, x, w, y, threads, 1 if tiles == 1 else 2, room * (threads if tiles == 1 else 1),
        m=m, n=n, k=k, ldx=leading_dimension(x), ldy=leading_dimension(y),
        padded=plan.k, strips=plan.strips, scales=plan.scales // 4, strip=plan.strip // 4,
        tiles=tiles, row=row, apart=room, v=strips(operation, element, high), lanes=LANES,
        blocks=divide_up(tiles, max(L2 // 2 // (4 * row * most), 1)),
        prepare=(compiled_rounding(element) if rounding else _compiled_copy()).address,
        low=tile(low).address, high=tile(high).address,
    )  # fmt: skip


prepare_linear = functools.partial(_prepare, "linear")
prepare_linear_a8 = functools.partial(_prepare, "linear_a8")
