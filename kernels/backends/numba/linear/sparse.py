"""GEMV with weights of which only those that aren't zero are stored: see csrc/per_isa/sparse.h and kernels/sparse.py.

A group of 2:4, whose values 16 bytes hold, is expanded by a shuffle of AVX2's bytes, also where vectors are wider.
Without AVX2, and for infinities and NaN in x, it is multiplied bit by bit.
"""

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.pointers import address, at, zero
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import ISA, LINE
from kernels.backends.numba.task import Call, launch, share_start
from kernels.sparse import PART, STRIP

GROUP = 8  # weights of a group, lanes of its vector
AVX2 = ISA in ("avx2", "avx512")
_LINE = LINE // 4
_INTS = ir.VectorType(ir.IntType(32), GROUP)
_BYTE = ir.IntType(8).as_pointer()
PLACES = np.full((256, GROUP, 4), 0x80, np.uint8)
"""For each byte of bits, by lane, which bytes of the values come there; 0x80: none, zeros."""
for _bits in range(256):
    _lanes = [lane for lane in range(GROUP) if _bits >> lane & 1]
    PLACES[_bits, _lanes] = np.arange(4 * len(_lanes)).reshape(-1, 4) % 16


@intrinsic
def expanded_strip(typing, bits, values, places, x, groups, sums):
    """sums[r] of the strip's rows; x holds whole groups, each of which has half as many values."""

    def emit(context, builder, signature, args):
        bits, values, places, x, groups, sums = args
        v = Emitter(context, builder, signature.args[3].dtype, lanes=GROUP)
        half, whole = (ir.VectorType(ir.IntType(8), size) for size in (16, 32))
        both = ir.Constant(ir.VectorType(ir.IntType(32), 32), [*range(16)] * 2)
        bits, places = builder.inttoptr(bits, _BYTE), builder.inttoptr(places, whole.as_pointer())
        totals = v.accumulators(STRIP)
        with v.loop(v.index(0), groups) as group:
            xs = v.load(v.step(x, v.times(GROUP, group)))
            of, some = (v.step(at, v.times(STRIP * each, group)) for at, each in ((bits, 1), (values, GROUP // 2)))
            for r in range(STRIP):
                stored = builder.zext(builder.load(v.step(of, r)), ir.IntType(64))
                four = builder.bitcast(v.step(some, r * GROUP // 2), half.as_pointer())
                four = builder.load(four, align=4)
                place = builder.load(v.step(places, stored), align=4)
                expanded = v.call("llvm.x86.avx2.pshuf.b", whole, builder.shuffle_vector(four, four, both), place)
                expanded = builder.bitcast(expanded, v.vector)
                builder.store(v.fma(expanded, xs, builder.load(totals[r])), totals[r])
        for r in range(STRIP):
            builder.store(v.sum(builder.load(totals[r])), v.step(sums, r))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(i8, values, i8, x, i8, sums), emit


def _make_integer_at(size: int):
    @intrinsic
    def integer_at(typing, at):
        """The integer of `size` bytes, without a sign, at an address."""

        def emit(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], ir.IntType(8 * size).as_pointer())
            return builder.zext(builder.load(pointer), ir.IntType(64))

        return types.int64(types.int64), emit

    return integer_at


byte_at, short_at, int_at = (_make_integer_at(size) for size in (1, 2, 4))


@jit
def strip_by_bits(bits, values, x, groups, sums):
    """The same without vectors: a weight that isn't stored meets nothing."""
    for r in range(STRIP):
        sums[r] = zero(x)
    for g in range(groups):
        for r in range(STRIP):
            stored, used = byte_at(bits + g * STRIP + r), 0
            for lane in range(GROUP):
                if stored >> lane & 1:
                    sums[r] += values[used] * x[g * GROUP + lane]
                    used += 1
            values = at(values, GROUP // 2)


def two_of_four(w, x, y, work, sizes, step, t, threads):
    """Thread t's rows; x is copied into whole groups."""
    z = carray(sizes, 1)[0]
    size = z.groups * GROUP
    sums = at(work, t * (size + _LINE))
    padded, finite = at(sums, _LINE), True
    for p in range(size):
        padded[p] = x[p] if p < z.k else zero(x)
        finite &= padded[p] * zero(x) == zero(x)
    for i in range(share_start(z.n, _LINE, t, threads), share_start(z.n, _LINE, t + 1, threads), STRIP):
        bits, values = address(w) + i * z.groups, at(w, z.values + i * z.groups * (GROUP // 2))
        if AVX2 and finite:
            expanded_strip(bits, values, z.places, padded, z.groups, sums)
        else:
            strip_by_bits(bits, values, padded, z.groups, sums)
        for r in range(min(STRIP, z.n - i)):
            y[i + r] = sums[r]


def prepare_gemv_2_4(w: np.ndarray, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    strips, groups = -(-y.size // STRIP), -(-x.size // GROUP)
    return launch(
        two_of_four, w, x, y, threads, room=threads * (groups * GROUP + _LINE),
        n=y.size, k=x.size, groups=groups, values=-(-strips * groups * STRIP // PART) * PART // 4, places=PLACES,
    )  # fmt: skip


def _make_gathered(size: int):
    @intrinsic
    def gathered(typing, columns, values, count, x):
        """The product of a row of CSR whose indices have `size` bytes; PART bytes behind the last one are read."""

        def emit(context, builder, signature, args):
            columns, values, count, x = args
            v = Emitter(context, builder, signature.args[3].dtype, lanes=GROUP)
            kind = ir.VectorType(ir.IntType(8 * size), GROUP)
            columns, byte = builder.inttoptr(columns, kind.element.as_pointer()), ir.IntType(8)
            sums = v.accumulators(2)  # chains
            zeros, base = ir.Constant(v.vector, None), builder.bitcast(x, _BYTE)

            def add(p, values_of, mask, to):
                at = builder.bitcast(v.step(columns, p), kind.as_pointer())
                which = builder.zext(builder.load(at, align=size), _INTS) if size < 4 else builder.load(at, align=size)
                given = zeros, base, which, builder.bitcast(mask, v.vector), byte(4)
                found = v.call("llvm.x86.avx2.gather.d.ps.256", v.vector, *given)
                builder.store(v.fma(values_of, found, builder.load(to)), to)

            everywhere, whole = ir.Constant(_INTS, [-1] * GROUP), builder.and_(count, v.index(-2 * GROUP))
            with cgutils.for_range_slice(builder, v.index(0), whole, v.index(2 * GROUP)) as (p, _):
                for c, to in enumerate(sums):
                    at = builder.add(p, v.index(c * GROUP))
                    add(at, v.load(v.step(values, at)), everywhere, to)
            with cgutils.for_range_slice(builder, whole, count, v.index(GROUP)) as (p, _):
                left = builder.trunc(builder.sub(count, p), ir.IntType(32))
                one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), left, ir.IntType(32)(0))
                all_left = builder.shuffle_vector(one, one, ir.Constant(_INTS, None))
                valid = builder.icmp_signed("<", ir.Constant(_INTS, list(range(GROUP))), all_left)
                at = builder.bitcast(v.step(values, p), v.vector.as_pointer())
                some = v.call("llvm.masked.load.v8f32.p0", v.vector, at, ir.IntType(32)(4), valid, zeros)
                add(p, some, builder.sext(valid, _INTS), sums[0])
            return v.sum(builder.fadd(builder.load(sums[0]), builder.load(sums[1])))

        return x.dtype(types.int64, values, types.int64, x), emit

    return gathered


gathered, gathered16 = _make_gathered(4), _make_gathered(2)


@jit
def row_by_elements(size, columns, values, count, x):
    """The same without AVX2."""
    total = zero(x)
    for p in range(count):
        total += values[p] * x[int_at(columns + 4 * p) if size == 4 else short_at(columns + 2 * p)]
    return total


def csr(w, x, y, work, sizes, step, t, threads):
    """Thread t's rows."""
    z = carray(sizes, 1)[0]
    starts = address(w)
    columns = starts + z.columns
    values = at(w, (z.columns + (int_at(starts + 4 * z.n) * z.size + PART - 1) // PART * PART) // 4)
    for i in range(share_start(z.n, _LINE, t, threads), share_start(z.n, _LINE, t + 1, threads)):
        first = int_at(starts + 4 * i)
        of, some, count = columns + first * z.size, at(values, first), int_at(starts + 4 * i + 4) - first
        if not AVX2:
            y[i] = row_by_elements(z.size, of, some, count, x)
        elif z.size == 4:
            y[i] = gathered(of, some, count, x)
        else:
            y[i] = gathered16(of, some, count, x)


def _prepare_csr(size: int, w: np.ndarray, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    columns = -(-4 * (y.size + 1) // PART) * PART
    return launch(csr, w, x, y, threads, n=y.size, columns=columns, size=size)


prepare_gemv_csr, prepare_gemv_csr16 = (functools.partial(_prepare_csr, size) for size in (4, 2))
