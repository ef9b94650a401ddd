"""GEMV with weights of which only those that aren't zero are stored: see csrc/per_isa/sparse.h and kernels/sparse.py.

Groups of a bitmap are of 8 weights and expanded by AVX2's shuffles, also where vectors are wider. Without AVX2, and for
infinities and NaN in x, they are multiplied bit by bit.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.pointers import address, at, pointer, zero
from kernels.backends.numba.settings import jit
from kernels.backends.numba.target import ISA, LINE
from kernels.backends.numba.task import Call, launch, share_start
from kernels.sparse import FEW, PART, STRIP
from kernels.types import TYPES

GROUP = 8  # weights of a group, lanes of its vector
AVX2 = ISA in ("avx2", "avx512")
_LINE = LINE // 4
_INTS = ir.VectorType(ir.IntType(32), GROUP)
_BYTE, _WORD = ir.IntType(8), ir.IntType(32)


def _places(size: int) -> np.ndarray:
    """[from start, to end][byte of bits][lane]: which bytes of FEW come there; 0x80: none, zeros.

    Of values of `size` bytes that begin with the first of FEW bytes, and that end with the last one. A byte comes into
    the upper one of its lane.
    """
    places = np.full((2, 256, GROUP, 4), 0x80, np.uint8)
    for bits in range(256):
        lanes = [lane for lane in range(GROUP) if bits >> lane & 1]
        for end in (0, 1):
            first = FEW // size - len(lanes) if end else 0
            which = (first + np.arange(len(lanes)))[:, None] % (FEW // size) * size + np.arange(size)
            places[end, bits, lanes, 4 - size :] = which
    return places


def _order() -> np.ndarray:
    """[byte of bits][lane]: which value comes there; negative: none."""
    order = np.full((256, GROUP), -(1 << 31), np.int32)
    for bits in range(256):
        lanes = [lane for lane in range(GROUP) if bits >> lane & 1]
        order[bits, lanes] = range(len(lanes))
    return order


PLACES = {size: _places(size) for size in (1, 4)}
ORDER = _order()
BYTES, MANY, FIXED, WORDS = range(4)
"""What a strip's groups have: up to 8 bytes, up to 8 f32, 4 f32 of which some may be no weights, up to 4 f32."""


class _Strip:
    """What expands the groups of a strip."""

    def __init__(self, v: Emitter, kind: int, places: Any) -> None:
        self.v, self.kind, self.builder = v, kind, v.builder
        self.half, whole = (ir.VectorType(_BYTE, size) for size in (FEW, 2 * FEW))
        self.whole = _INTS if kind == MANY else whole
        self.places = v.builder.inttoptr(places, self.whole.as_pointer())

    def starts(self, first: Any, word: Any) -> tuple[list[Any], Any]:
        """Where the values of each row are to be read, and where the next group's begin."""
        v, builder = self.v, self.builder

        def behind(rows: int) -> Any:
            bits = builder.and_(word, v.index((1 << 8 * rows) - 1))
            return builder.add(
                first, v.times(1 if self.kind == BYTES else 4, v.call("llvm.ctpop.i64", bits.type, bits))
            )

        if self.kind == FIXED:
            return [builder.add(first, v.index(FEW * r)) for r in range(STRIP)], builder.add(
                first, v.index(FEW * STRIP)
            )
        if self.kind == MANY:
            return [first, *map(behind, range(1, STRIP))], behind(STRIP)
        middle, end = behind(2), behind(STRIP)  # two rows begin and end where one count says
        return [first, builder.sub(middle, v.index(FEW)), middle, builder.sub(end, v.index(FEW))], end

    def expanded(self, r: int, bits: Any, start: Any) -> Any:
        """Row r's group, zeros where it has no bits."""
        v, builder = self.v, self.builder
        row = builder.add(bits, v.index(256)) if r % 2 and self.kind in (BYTES, WORDS) else bits
        place = builder.load(v.step(self.places, row), align=4)
        if self.kind == MANY:
            values = builder.load(builder.inttoptr(start, v.vector.as_pointer()), align=4)
            found = v.call("llvm.x86.avx2.permps", v.vector, values, place)
            none = builder.icmp_signed("<", place, ir.Constant(_INTS, None))
            return builder.select(none, ir.Constant(v.vector, None), found)
        values = builder.load(builder.inttoptr(start, self.half.as_pointer()), align=1)
        both = builder.shuffle_vector(values, values, ir.Constant(ir.VectorType(_WORD, 2 * FEW), [*range(FEW)] * 2))
        found = v.call("llvm.x86.avx2.pshuf.b", self.whole, both, place)
        if self.kind == BYTES:
            number = builder.ashr(builder.bitcast(found, _INTS), ir.Constant(_INTS, [24] * GROUP))
            return builder.sitofp(number, v.vector)
        return builder.bitcast(found, v.vector)


def _make_strip(kind: int):
    @intrinsic
    def strip(typing, bits, values, places, x, groups, sums):
        """sums[r] of the strip's rows; x holds whole groups."""

        def emit(context, builder, signature, args):
            bits, values, places, x, groups, sums = args
            v = Emitter(context, builder, signature.args[3].dtype, lanes=GROUP)
            of, totals = _Strip(v, kind, places), v.accumulators(STRIP)
            bits, first = builder.inttoptr(bits, _WORD.as_pointer()), cgutils.alloca_once_value(builder, values)
            with v.loop(v.index(0), groups) as group:
                xs = v.load(v.step(x, v.times(GROUP, group)))
                word = builder.zext(builder.load(v.step(bits, group), align=1), ir.IntType(64))
                starts, end = of.starts(builder.load(first), word)
                for r, start in enumerate(starts):
                    byte = builder.and_(builder.lshr(word, v.index(8 * r)), v.index(255))
                    builder.store(v.fma(of.expanded(r, byte, start), xs, builder.load(totals[r])), totals[r])
                builder.store(end, first)
            for r in range(STRIP):
                builder.store(v.sum(builder.load(totals[r])), v.step(sums, r))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(i8, i8, i8, x, i8, sums), emit

    return strip


strip_of_bytes, strip_of_many, strip_of_fixed, strip_of_words = map(_make_strip, range(4))


def _make_integer_at(size: int):
    @intrinsic
    def integer_at(typing, at):
        """The integer of `size` bytes, without a sign if it has less than 8, at an address."""

        def emit(context, builder, signature, args):
            one = builder.load(builder.inttoptr(args[0], ir.IntType(8 * size).as_pointer()), align=1)
            return builder.zext(one, ir.IntType(64)) if size < 8 else one

        return types.int64(types.int64), emit

    return integer_at


byte_at, short_at, int_at, long_at = (_make_integer_at(size) for size in (1, 2, 4, 8))


@jit
def value_at(at, size, x):
    """A value as f32."""
    return pointer(x, at)[0] if size == 4 else np.float32((byte_at(at) ^ 128) - 128)


@jit
def strip_by_bits(bits, values, size, fixed, x, groups, sums):
    """The same without vectors: a weight that isn't stored meets nothing."""
    for r in range(STRIP):
        sums[r] = zero(x)
    for g in range(groups):
        for r in range(STRIP):
            stored, next_group = byte_at(bits + g * STRIP + r), values + FEW
            for lane in range(GROUP):
                if stored >> lane & 1:
                    sums[r] += value_at(values, size, x) * x[g * GROUP + lane]
                    values += size
            if fixed:
                values = next_group


def bitmap(w, x, y, work, sizes, step, t, threads):
    """Thread t's rows; x is copied into whole groups. Of 2:4, fixed, groups have FEW bytes, and there is no header."""
    z = carray(sizes, 1)[0]
    padding = z.groups * GROUP
    sums = at(work, t * (padding + _LINE))
    padded, finite = at(sums, _LINE), True
    for p in range(padding):
        padded[p] = x[p] if p < z.k else zero(x)
        finite &= padded[p] * zero(x) == zero(x)
    here, size, groups = address(w), z.size, z.groups
    most, starts = here, here + 8  # header
    over_starts = starts + 8 * (z.strips + 1)
    overs = here + z.values
    if not z.fixed:
        overs += (long_at(starts + 8 * z.strips) * size + PART - 1) // PART * PART
    for i in range(share_start(z.n, _LINE, t, threads), share_start(z.n, _LINE, t + 1, threads), STRIP):
        s = i // STRIP
        bits, values = here + z.bits + s * groups * STRIP, here + z.values
        values += s * groups * STRIP * FEW if z.fixed else long_at(starts + 8 * s) * size
        if not (AVX2 and finite):
            strip_by_bits(bits, values, size, z.fixed, padded, groups, sums)
        elif z.fixed:
            strip_of_fixed(bits, values, z.places, padded, groups, sums)
        elif size == 1:
            strip_of_bytes(bits, values, z.places, padded, groups, sums)
        elif long_at(most) * size <= FEW:
            strip_of_words(bits, values, z.places, padded, groups, sums)
        else:
            strip_of_many(bits, values, z.order, padded, groups, sums)
        if not z.fixed:
            for e in range(long_at(over_starts + 8 * s), long_at(over_starts + 8 * s + 8)):
                place = int_at(overs + 8 * e)
                sums[place % STRIP] += pointer(x, overs + 8 * e + 4)[0] * x[place // STRIP]
        for r in range(min(STRIP, z.n - i)):
            y[i + r] = sums[r] * pointer(x, here + z.scales)[i + r] if size == 1 else sums[r]


def _prepare(fixed: bool, size: int, w: np.ndarray, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    strips, groups = -(-y.size // STRIP), -(-x.size // GROUP)
    parts = 0 if fixed else 8 * (2 * strips + 3), 4 * strips * STRIP if size == 1 else 0, strips * groups * STRIP
    scales, bits, values = np.cumsum([-(-part // PART) * PART for part in parts]).tolist()
    return launch(
        bitmap, w, x, y, threads, room=threads * (groups * GROUP + _LINE),
        n=y.size, k=x.size, groups=groups, strips=strips, size=size, fixed=int(fixed),
        scales=scales, bits=bits, values=values, places=PLACES[size], order=ORDER,
    )  # fmt: skip


def prepare_gemv_bitmap(w: np.ndarray, x: np.ndarray, y: np.ndarray, threads: int, element: str) -> Call:
    return _prepare(False, TYPES[element].storage.itemsize, w, x, y, threads)


prepare_gemv_2_4 = functools.partial(_prepare, True, 4)


def _make_gathered(size: int):
    @intrinsic
    def gathered(typing, columns, values, count, x):
        """The product of a row of CSR whose indices have `size` bytes; PART bytes behind the last one are read."""

        def emit(context, builder, signature, args):
            columns, values, count, x = args
            v = Emitter(context, builder, signature.args[3].dtype, lanes=GROUP)
            kind = ir.VectorType(ir.IntType(8 * size), GROUP)
            columns, byte = builder.inttoptr(columns, kind.element.as_pointer()), _BYTE
            sums = v.accumulators(2)  # chains
            zeros, base = ir.Constant(v.vector, None), builder.bitcast(x, _BYTE.as_pointer())

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
