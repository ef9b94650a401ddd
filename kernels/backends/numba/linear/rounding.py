"""Activations, rounded to 8 bits in groups of BLOCK_K of k: see csrc/per_isa/linear/linear_a8.h."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.linear.stored import ZERO, Stored
from kernels.backends.numba.linear.tile import BLOCK_K, quantum
from kernels.backends.numba.microkernel import tile_scratch
from kernels.backends.numba.pointers import at
from kernels.backends.numba.task import c_function, pointer_to
from kernels.types import TYPES

FLOAT_SUM, NO_SUM, ZEROS = range(3)
"""What is kept beside a group's scale: the sum as f32, nothing, ZERO times the sum."""


def kept(element: str) -> int:
    if TYPES[element].bits >= 8:
        return NO_SUM
    return FLOAT_SUM if "zero" in (TYPES[element].storage.names or ()) else ZEROS


@intrinsic(prefer_literal=True)
def round_group(typing, size, keeping, x, q, apart, of):
    """BLOCK_K of x -> words of 4 bytes, `apart` from each other, of integers of `size` bytes; scale and sum into of."""
    bytes_, what = size.literal_value, keeping.literal_value

    def emit(context, builder, signature, args):
        e = Stored(context, builder, "i8")
        x, q, apart, of = args[2:]
        word = ir.IntType(32)
        some = [e.load(e.step(x, j)) for j in range(0, BLOCK_K, e.lanes)]
        largest = None  # as bits: what is not finite is the largest of all
        for vector in some:
            bits = builder.and_(builder.bitcast(vector, e.ints), e.all(0x7FFFFFFF))
            more = builder.icmp_signed(">", bits, largest) if largest else None
            largest = builder.select(more, bits, largest) if more else bits
        top = e.call(f"llvm.vector.reduce.smax.v{e.lanes}i32", word, largest)
        most = builder.bitcast(top, e.scalar)
        finite = builder.icmp_signed("<", top, word(0x7F800000))
        small = builder.fcmp_ordered("<", most, e.scalar(2.0**-100))
        usable = builder.and_(finite, builder.not_(small))
        inverse = builder.select(usable, builder.fdiv(e.scalar(127.0), most), e.scalar(0.0))
        scale = builder.select(usable, builder.fdiv(most, e.scalar(127.0)), e.scalar(0.0))
        scale = builder.select(finite, scale, e.scalar(float("nan")))
        factor, none = e.splat(inverse), ir.Constant(e.vector, None)
        total, words = e.all(0), []
        for vector in some:
            product = builder.select(usable, builder.fmul(vector, factor), none)
            numbers = builder.fptosi(e.call(f"llvm.rint.{e.suffix}", e.vector, product), e.ints)
            total = builder.add(total, numbers)
            narrow = builder.trunc(numbers, ir.VectorType(ir.IntType(8 * bytes_), e.lanes))
            packed = builder.bitcast(narrow, ir.VectorType(word, e.lanes * bytes_ // 4))
            words += [builder.extract_element(packed, word(i)) for i in range(e.lanes * bytes_ // 4)]
        to = builder.bitcast(q, word.as_pointer())
        for i, one in enumerate(words):
            builder.store(one, e.step(to, e.times(i, apart)), align=4)
        builder.store(scale, of, align=4)
        if what != NO_SUM:
            total = e.call(f"llvm.vector.reduce.add.v{e.lanes}i32", word, total)
            second = builder.sitofp(total, e.scalar) if what == FLOAT_SUM else builder.mul(total, word(ZERO))
            builder.store(second, builder.bitcast(e.step(of, 1), second.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(size, keeping, x, q, types.int64, of), emit


@functools.cache
def _compiled(size: int, keeping: int) -> Any:
    quanta = 4 // size
    words = BLOCK_K // quanta

    def round_rows(padded, h, k, x, ldx, q):
        last = tile_scratch(x)
        of = at(q, padded // quanta * h)
        for i in range(h):
            for g in range(padded // BLOCK_K):
                p = g * BLOCK_K
                group = at(x, i * ldx + p)
                if p + BLOCK_K > k:
                    for j in range(BLOCK_K):
                        last[j] = group[j] if p + j < k else np.float32(0)
                    group = last
                round_group(size, keeping, group, at(q, g * words * h + i), h, at(of, 2 * (g * h + i)))

    i, p = types.int64, pointer_to("f32")
    return c_function(f"round_rows_{size}_{keeping}", round_rows, i, i, i, p, i, p)


def compiled_rounding(element: str) -> Any:
    """round_rows(padded k, h, k, x, ldx, q): h rows side by side, the words of all groups, then scales and sums."""
    return _compiled(quantum(element), kept(element))


def row_words(element: str, padded: int) -> int:
    """Words of 4 bytes of a rounded row."""
    return padded * quantum(element) // 4 + padded // BLOCK_K * 2
