"""Strips of weights that are only stored, as f32 with their scales: panels that GEMM's row tiles share.

Why, says csrc/per_isa/linear/linear.h.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.linear.stored import Stored
from kernels.backends.numba.linear.tile import STORED
from kernels.backends.numba.pointers import at
from kernels.backends.numba.target import VECTOR_BYTES
from kernels.backends.numba.task import c_function, pointer_to

LANES = VECTOR_BYTES // 4


@intrinsic(prefer_literal=True)
def widen_block(typing, which, number, scales, weights, to):
    """Block `number` of a strip -> to[block_k, lanes]; which, a literal: the type's number."""
    element = STORED[which.literal_value]

    def emit(context, builder, signature, args):
        e = Stored(context, builder, element)
        number, scales, weights, to = args[1:]
        bytes_ = ir.IntType(8).as_pointer()
        scales, weights = builder.bitcast(scales, bytes_), builder.bitcast(weights, bytes_)
        group = builder.udiv(number, e.index(e.group // e.block_k)) if e.group else e.index(0)
        scale, zero = e.scale(scales, group), e.zero(scales, group)
        block = e.step(weights, e.times(e.block_k * e.lanes * e.bits // 8, number))
        for j in range(e.block_k // e.chunk_k):
            for i in range(e.chunk_k):
                wide = builder.fmul(e.widened(e.step(block, j * e.chunk), i, zero), scale)
                e.store(wide, e.step(to, e.k_of(j, i) * e.lanes))
        return context.get_dummy_value()

    return types.void(which, types.int64, scales, weights, to), emit


@functools.cache
def compiled_widening(element: str, block_k: int) -> Any:
    """widen(first, blocks, count, w, strip, scales, to): so many blocks of `count` strips, from the first on."""
    which, room = STORED.index(element), block_k * LANES

    def widen(first, blocks, count, w, strip, scales, to):
        for s in range(count):
            of = at(w, s * strip)
            for b in range(blocks):
                widen_block(which, first + b, of, at(of, scales), at(to, (s * blocks + b) * room))

    i, p = types.int64, pointer_to("f32")
    return c_function(f"widen_{element}", widen, i, i, i, p, i, i, p)
