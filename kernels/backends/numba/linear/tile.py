"""A tile of linear: h rows of x by v strips of w over all of k, compiled per operation, element type and height.

Why it is so, say csrc/per_isa/linear/linear.h and linear_a8.h. One function serves v strips and, at the end of a
thread's, fewer: then the last one is computed again, from cache, for each that is missing.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.linear.stored import DOTS, Stored
from kernels.backends.numba.target import MR, REGISTERS, TILE_VECTORS
from kernels.backends.numba.task import c_function, pointer_to
from kernels.operations import LINEAR
from kernels.types import TYPES

BLOCK_K = 32
"""Activations that are rounded together."""
STORED = [name for name, element in TYPES.items() if not element.native]


def most_rows(operation: str, element: str) -> int:
    """Of x, in a tile."""
    return 4 if REGISTERS == 16 and (operation == "linear_a8" or TYPES[element].bits < 8) else min(MR, 8)


def strips(operation: str, element: str, h: int) -> int:
    """Of a tile of h rows; the same for all heights of which there may be several tiles."""
    if operation == "linear_a8":
        return 4 if h == 1 else 3 if REGISTERS > 16 else 2
    most = most_rows(operation, element)
    if TYPES[element].bits < 16:
        return 3 if 2 * h < most or REGISTERS > 16 else 2
    return TILE_VECTORS[h if 2 * h < most else most]


def quantum(element: str) -> int:
    """Bytes of an activation, as the dot products take it."""
    return 2 if DOTS and TYPES[element].bits >= 8 else 1


class _Tile:
    """What both operations need: starts of the strips, their scales, and how the results are stored."""

    def __init__(self, context: Any, builder: Any, element: str, h: int, v: int, args: Any) -> None:
        self.e = e = Stored(context, builder, element)
        self.builder, self.h, self.v = builder, h, v
        self.k, self.x, w, apart, scales, self.count, self.y, self.ldy, self.columns_apart, self.columns = args
        self.bytes = ir.IntType(8).as_pointer()
        last = builder.sub(self.count, e.index(1))
        self.strip = [
            builder.select(builder.icmp_signed("<", last, e.index(s)), last, e.index(s)) if s else e.index(0)
            for s in range(v)
        ]
        self.scales = [
            builder.bitcast(e.step(w, builder.mul(apart, s)) if i else w, self.bytes) for i, s in enumerate(self.strip)
        ]
        self.weights = [e.step(at, e.times(4, scales)) for at in self.scales]

    def block(self, number: Any) -> list[Any]:
        """Where a block of each strip begins."""
        offset = self.e.times(self.e.block_k * self.e.lanes * self.e.bits // 8, number)
        return [self.e.step(at, offset) for at in self.weights]

    def group(self, number: Any) -> tuple[list[Any], list[Any]]:
        """The scales and zero points of a group of each strip, as f32, of types that have them."""
        e = self.e
        scale = [e.scale(at, number) for at in self.scales] if e.group else []
        zero = [e.builder.sitofp(e.zero(at, number), e.vector) for at in self.scales] if e.own_zeros else []
        return scale, zero

    def store(self, results: list[Any]) -> None:
        """Of the last strip only the valid columns."""
        e, builder = self.e, self.builder
        offsets = [builder.mul(self.columns_apart, s) for s in self.strip]
        whole = builder.icmp_signed(">=", builder.sub(self.columns, offsets[-1]), e.index(e.lanes))
        with builder.if_else(whole, likely=True) as (then, otherwise):
            for masked, context in ((False, then), (True, otherwise)):
                with context:
                    for s, offset in enumerate(offsets):
                        mask = self.valid(offset) if masked else None
                        for i in range(self.h):
                            place = e.step(e.step(self.y, offset), e.times(i, self.ldy))
                            self.store_one(results[i * self.v + s], place, mask)

    def valid(self, offset: Any) -> Any:
        e, builder = self.e, self.builder
        left = builder.sub(self.columns, offset)
        most = e.index(e.lanes)
        left = builder.trunc(builder.select(builder.icmp_signed("<", left, most), left, most), ir.IntType(32))
        one = builder.insert_element(ir.Constant(e.ints, ir.Undefined), left, ir.IntType(32)(0))
        all_left = builder.shuffle_vector(one, one, ir.Constant(e.ints, None))
        return builder.icmp_signed("<", ir.Constant(e.ints, list(range(e.lanes))), all_left)

    def store_one(self, value: Any, place: Any, mask: Any) -> None:
        e = self.e
        if mask is None:
            return e.store(value, place)
        at = self.builder.bitcast(place, e.vector.as_pointer())
        e.call(f"llvm.masked.store.{e.suffix}.p0", ir.VoidType(), value, at, ir.IntType(32)(4), mask)


def _multiply(tile: _Tile) -> None:
    """Activations stay f32: weights are widened to it, h multiply-adds for each.

    A tall tile keeps the order in which its sums, a weight of each strip and an activation fit the registers.
    """
    e, builder, h, v = tile.e, tile.builder, tile.h, tile.v
    x = builder.bitcast(tile.x, e.scalar.as_pointer())
    part = e.accumulators(h * v)
    total = e.accumulators(h * v) if e.group else part
    groups = builder.sdiv(tile.k, e.index(e.group)) if e.group else e.index(1)
    blocks = e.index(e.group // e.block_k) if e.group else builder.sdiv(tile.k, e.index(e.block_k))
    with e.loop(e.index(0), groups) as g:
        zero = [e.zero(scales, g) if e.integer else None for scales in tile.scales]
        with e.loop(e.index(0), blocks) as b:
            block = builder.add(builder.mul(g, blocks), b)
            some = e.step(x, e.times(e.block_k * h, block))
            strips = tile.block(block)
            for j in range(e.block_k // e.chunk_k):
                chunks = [e.step(at, j * e.chunk) for at in strips]
                for number in range(e.chunk_k):
                    row = [e.widened(chunk, number, zero[s]) for s, chunk in enumerate(chunks)]
                    for i in range(h):
                        factor = e.broadcast(e.step(some, e.k_of(j, number) * h + i))
                        for at, vector in zip(part[i * v :], row, strict=False):
                            one = e.fma(factor, vector, builder.load(at))
                            builder.store(e.keep(one) if h > 2 else one, at)
        if e.group:
            scale = [e.scale(scales, g) for scales in tile.scales]
            for i, at in enumerate(total):
                builder.store(e.fma(builder.load(part[i]), scale[i % v], builder.load(at)), at)
                builder.store(ir.Constant(e.vector, None), part[i])
    results = [builder.load(at) for at in total]
    if e.scale_bytes and not e.group:
        scale = [e.scale(scales, e.index(0)) for scales in tile.scales]
        results = [builder.fmul(one, scale[i % v]) for i, one in enumerate(results)]
    tile.store(results)


def _multiply_a8(tile: _Tile) -> None:
    """Activations are integers: within BLOCK_K all is exact."""
    e, builder, h, v = tile.e, tile.builder, tile.h, tile.v
    words = BLOCK_K * quantum(e.element) // 4
    x = builder.bitcast(tile.x, tile.bytes)
    rounded = e.step(x, e.times(quantum(e.element) * h, tile.k))  # a scale, and the sum or its part of the result
    total = e.accumulators(h * v)
    each = (e.group or BLOCK_K) // BLOCK_K
    with e.loop(e.index(0), builder.sdiv(tile.k, e.index(each * BLOCK_K))) as g, contextlib.ExitStack() as stack:
        block = g
        if each > 1:
            scale, zero = tile.group(g)
            b = stack.enter_context(e.loop(e.index(0), e.index(each)))
            block = builder.add(e.times(each, g), b)
        some = e.step(x, e.times(4 * words * h, block))
        sums = _dots(tile, block, lambda word, i: e.broadcast_int(e.step(some, 4 * (word * h + i))))
        if each == 1:
            scale, zero = tile.group(g)
        of = e.step(rounded, e.times(8 * h, block))
        for i in range(h):
            factor = e.splat(builder.load(builder.bitcast(e.step(of, 8 * i), e.scalar.as_pointer()), align=4))
            second = e.step(of, 8 * i + 4)
            for s in range(v):
                one = sums[i * v + s]
                if e.own_zeros:
                    number = builder.load(builder.bitcast(second, e.scalar.as_pointer()), align=4)
                    exact = builder.sitofp(one, e.vector)
                    exact = e.fma(builder.fneg(e.splat(number)), zero[s], exact)
                else:
                    if e.bits == 4:
                        one = builder.sub(one, e.broadcast_int(second))
                    exact = builder.sitofp(one, e.vector)
                at = total[i * v + s]
                if e.group:
                    exact, factor_of = builder.fmul(exact, factor), scale[s]
                else:
                    factor_of = factor
                builder.store(e.fma(exact, factor_of, builder.load(at)), at)
    results = [builder.load(at) for at in total]
    if not e.group:
        scale = [e.scale(scales, e.index(0)) for scales in tile.scales]
        results = [builder.fmul(one, scale[i % v]) for i, one in enumerate(results)]
    tile.store(results)


def _dots(tile: _Tile, block: Any, word: Any) -> list[Any]:
    """The sums of weights times activations over a block; word(w, i): word w of the block of row i, in all lanes."""
    e, h, v = tile.e, tile.h, tile.v
    sums, blocks = [e.all(0)] * (h * v), tile.block(block)
    for t in range(BLOCK_K // e.step_k):
        some = [e.step_of_weights(at, t) for at in blocks]
        for i in range(h):
            x = word(e.place_of_step(t), i)
            for s, weights in enumerate(some):
                sums[i * v + s] = e.keep(e.dot(sums[i * v + s], weights, x))
    return [e.total_nibbles(one) for one in sums] if e.bits == 4 else sums


@intrinsic(prefer_literal=True)
def multiply(typing, which, h, k, x, w, apart, scales, count, y, ldy, columns_apart, columns):
    """y[h, `count` strips] = x[h, k] w^T, strips `apart` from each other; `columns` from the first on are valid.

    which, a literal: the operation's and the type's number; h, a literal. k: padded; x: prepared.
    """
    operation, element = divmod(which.literal_value, len(STORED))
    rows, v = h.literal_value, strips(LINEAR[operation], STORED[element], h.literal_value)

    def emit(context, builder, signature, args):
        tile = _Tile(context, builder, STORED[element], rows, v, args[2:])
        (_multiply, _multiply_a8)[operation](tile)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(which, h, i8, x, w, i8, i8, i8, y, i8, i8, i8), emit


@functools.cache
def compiled_tile(operation: str, element: str, h: int) -> Any:
    """A tile as a C function. Distances of w and scales are in words of 4 bytes."""
    which = LINEAR.index(operation) * len(STORED) + STORED.index(element)

    def tile(k, x, w, apart, scales, count, y, ldy, columns_apart, columns):
        multiply(which, h, k, x, w, apart, scales, count, y, ldy, columns_apart, columns)

    i, p = types.int64, pointer_to("f32")
    return c_function(f"{operation}_{h}x{strips(operation, element, h)}_{element}", tile, i, p, p, i, i, i, p, i, i, i)
