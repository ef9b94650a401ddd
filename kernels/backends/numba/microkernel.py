"""The register microkernel: C[h, v vectors] = or += A[h, k] B[k, v vectors], compiled per form, height and width.

The design is that of csrc/per_isa/microkernel.h. A plan knows which tiles will run, and only those are compiled. A tile
at the edge is computed whole in scratch memory and its valid part copied; strips of B are padded with zeros. No padded
lane meets a valid output, hence NaN and Inf go exactly where the mathematics sends them.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.pointers import not_vectorised
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import LINE, MOST_VECTORS, MR
from kernels.backends.numba.task import c_function, divide_up, pointer_to

PREFETCH_C_STEPS = 32  # prefetch C this many steps before it is stored: longer than an L3 hit takes

FORMS = {  # is A packed, is B packed (in strips), is B copied into strips on the way
    "ap_bp": (True, True, False),
    "ap_bs_copy": (True, False, True),
    "ap_bs": (True, False, False),
    "as_bp": (False, True, False),
    "as_bs": (False, False, False),
}
"""Forms by their operands: A and B packed (p) or strided (s), as the caller's rows are."""
AP_BP, AP_BS_COPY, AP_BS, AS_BP, AS_BS = range(len(FORMS))

NEXT, THEN, LEFT, MASK, PREFETCH_FIELDS = range(5)
"""What a tile prefetches into L2, PREFETCH_FIELDS int64. Of strips: the line at NEXT of each, every MASK + 1 steps (a
power of two). Of rows: in every step the next row's lines, and after LEFT rows those from THEN on."""
NEVER = 2**63 - 1  # as MASK: only step 0 prefetches, a line that is in cache anyway


class _Prefetch:
    """These fields in registers, while a tile runs."""

    def __init__(self, e: Emitter, memory: Any) -> None:
        self.e, self.memory = e, memory
        at, then, left, self.mask = (e.builder.load(e.step(memory, field)) for field in range(PREFETCH_FIELDS))
        self.then = e.builder.inttoptr(then, e.scalar.as_pointer())
        self.at = cgutils.alloca_once_value(e.builder, e.builder.inttoptr(at, e.scalar.as_pointer()))
        self.left = cgutils.alloca_once_value(e.builder, left)

    def strips(self, p: Any, v: int, stride: Any) -> None:
        """In step p: the next line of each strip, if the mask says so."""
        e, builder = self.e, self.e.builder
        with builder.if_then(builder.icmp_signed("==", builder.and_(p, self.mask), e.index(0))):
            at = builder.load(self.at)
            for j in range(v):
                e.prefetch(e.step(at, e.times(j, stride)))
            builder.store(e.step(at, e.line), self.at)

    def rows(self, v: int, stride: Any) -> None:
        """The next row's lines."""
        e, builder = self.e, self.e.builder
        at, left = builder.load(self.at), builder.sub(builder.load(self.left), e.index(1))
        for j in (*range(0, v * e.lanes, e.line), v * e.lanes - 1):  # one more where rows don't begin with a line
            e.prefetch(e.step(at, j))
        ends = builder.icmp_signed("==", left, e.index(0))
        builder.store(builder.select(ends, self.then, e.step(at, stride)), self.at)
        builder.store(left, self.left)

    def save(self) -> None:
        builder, step = self.e.builder, functools.partial(self.e.step, self.memory)
        builder.store(builder.ptrtoint(builder.load(self.at), ir.IntType(64)), step(NEXT))
        builder.store(builder.load(self.left), step(LEFT))


@intrinsic(prefer_literal=True)
def microkernel(typing, form, h, v, k, a, lda, b, stride, copy, c, ldc, accumulate, prefetch):
    """C[h, v vectors] = or += A[h, k] B[k, v vectors]; C stays in registers for all k steps.

    form, h and v are literals, v at most TILE_VECTORS[h]. stride: elements between strips, or rows, of B.
    """
    rows, width = h.literal_value, v.literal_value
    a_packed, b_packed, copying = [*FORMS.values()][form.literal_value]

    def emit(context, builder, signature, args):
        e = Emitter(context, builder, signature.args[4].dtype)
        k, a, lda, b, stride, copy, c, ldc, accumulate, memory = args[3:]
        sums, prefetch = e.accumulators(rows * width), _Prefetch(e, memory) if a_packed else None

        def one(p):
            x = e.step(a, e.times(rows if a_packed else 1, p))
            y = e.step(b, e.times(e.lanes, p) if b_packed else builder.mul(stride, p))
            row = [e.load(e.step(y, e.times(j, stride) if b_packed else j * e.lanes)) for j in range(width)]
            if copying:
                for j, vector in enumerate(row):
                    e.store(vector, e.step(e.step(copy, e.times(j * e.lanes, k)), e.times(e.lanes, p)))
            for i in range(rows):
                factor = e.broadcast(e.step(x, i if a_packed else e.times(i, lda)))
                for at, vector in zip(sums[i * width :], row, strict=False):
                    builder.store(e.fma(factor, vector, builder.load(at)), at)
            if a_packed:
                prefetch.strips(p, width, stride) if b_packed else prefetch.rows(width, stride)

        def steps(first, end):  # not unrolled: of four steps LLVM gathers the prefetches, or spills accumulators
            with e.loop(first, end) as p:
                one(p)

        if a_packed:
            before = builder.sub(k, e.index(PREFETCH_C_STEPS))
            most = builder.select(builder.icmp_signed(">", before, e.index(0)), before, e.index(0))
            with e.loop(e.index(0), e.index(2)) as part:  # one body for the steps before and after C is prefetched
                late = builder.icmp_signed("!=", part, e.index(0))
                steps(builder.select(late, most, e.index(0)), builder.select(late, k, most))
                with builder.if_then(builder.not_(late)), e.loop(e.index(0), e.index(rows)) as i:
                    for j in range(0, width * e.lanes, e.line):
                        e.prefetch(e.step(e.step(c, builder.mul(i, ldc)), j), write=True)
            prefetch.save()
        else:
            steps(e.index(0), k)

        places = [e.step(e.step(c, e.times(i, ldc)), j * e.lanes) for i in range(rows) for j in range(width)]
        with builder.if_then(builder.icmp_signed("!=", accumulate, e.index(0))):
            for at, place in zip(sums, places, strict=True):
                builder.store(builder.fadd(builder.load(at), e.load(place)), at)
        for at, place in zip(sums, places, strict=True):
            e.store(builder.load(at), place)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(form, h, v, i8, a, i8, b, i8, copy, c, i8, i8, prefetch), emit


@intrinsic
def tile_scratch(typing, like):
    """Scratch memory for a tile, on the stack: see copy_edge."""

    def emit(context, builder, signature, args):
        e = Emitter(context, builder, signature.args[0].dtype)
        room = cgutils.alloca_once(builder, e.scalar, MR * MOST_VECTORS * e.lanes)
        room.align = LINE
        return room

    return like(like), emit


@intrinsic
def no_prefetch(typing, like):
    """Prefetch fields on the stack, for nothing that isn't in cache."""

    def emit(context, builder, signature, args):
        e = Emitter(context, builder, signature.args[0].dtype)
        memory = cgutils.alloca_once(builder, ir.IntType(64), PREFETCH_FIELDS)
        fields = {NEXT: builder.ptrtoint(args[0], ir.IntType(64)), MASK: e.index(NEVER)}
        for field in range(PREFETCH_FIELDS):
            builder.store(fields.get(field, e.index(0)), e.step(memory, field))
        return memory

    return types.CPointer(types.int64)(like), emit


@jit
def copy_edge(h, columns, scratch, wide, c, ldc, accumulate):
    """The valid columns of a tile in scratch memory, whose rows are `wide` apart."""
    for r in range(h):
        for j in range(columns):
            c[r * ldc + j] = scratch[r * wide + j] + (c[r * ldc + j] if accumulate else 0)
            not_vectorised()


@register_jitable
def table_index(form: int, h: int, v: int) -> int:
    """Where a tile's address is in the table of tiles."""
    return (form * (MR + 1) + h) * MOST_VECTORS + v - 1


@functools.cache
def _compiled_tile(form: int, h: int, v: int, dtype: str) -> Any:
    """A tile as a C function."""

    def tile(k, a, lda, b, stride, copy, c, ldc, accumulate, prefetch):
        microkernel(form, h, v, k, a, lda, b, stride, copy, c, ldc, accumulate, prefetch)

    i, p = types.int64, pointer_to(dtype)
    name = f"{[*FORMS][form]}_{h}x{v}_{dtype}"
    return c_function(name, tile, i, p, i, p, i, p, p, i, i, types.CPointer(i))


def tile_table(itemsize: int, needed: set[tuple[int, int, int]]) -> np.ndarray:
    """The table of tiles, by table_index(), with those that are needed: (form, height, vectors)."""
    table = np.zeros(table_index(len(FORMS), 0, 1), np.int64)
    for which in needed:
        table[table_index(*which)] = _compiled_tile(*which, f"f{itemsize * 8}").address
    return table


def tile_heights(rows: int) -> list[int]:
    """Of the tiles over which rows are spread."""
    tiles = divide_up(rows, MR)
    return [rows * (i + 1) // tiles - rows * i // tiles for i in range(tiles)]


def panel_widths(columns: int, width: int) -> set[int]:
    """Of the panels that so many columns are cut into: whole ones, and what is left."""
    return {min(columns, width), columns % width} - {0}
