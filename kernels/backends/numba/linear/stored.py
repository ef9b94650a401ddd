"""Emits what is done with weights that are only stored: loads that widen them, dot products of integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from kernels.backends import c
from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.target import ISA, VECTOR_BYTES
from kernels.backends.numba.task import HALVES

ZERO = 8
"""What stands for 0 in i4, whose groups have no zero point of their own."""

_DOTS = {
    "avx2": ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    "avx512": ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
}
"""ISA: bytes without a sign by bytes with one, and 16 bits by 16, neighbours summed; see csrc/isa/avx2.h."""
DOTS = _DOTS.get(ISA)
BYTE_STEP = 2 if DOTS else 4
"""Neighbours along k of 8-bit weights that lie side by side, in C's packed order for the ISA."""

_FEATURES = binding.get_host_cpu_features()
HAS_HALVES = bool(_FEATURES.get("f16c") or _FEATURES.get("neon"))


class Stored(Emitter):
    """Emits for weights of one stored type, beside f32. Pointers are to bytes."""

    def __init__(self, context: Any, builder: Any, element: str) -> None:
        super().__init__(context, builder, types.float32)
        self.element, of = element, c.target(ISA, element)
        self.bits, self.group, self.scale_bytes = of.weight_bits, of.group, of.scale_bytes
        self.integer = element not in ("bf16", "f16")
        self.own_zeros = self.scale_bytes == 3
        self.block_k = of.block_k
        self.step_k = {"bf16": 2, "f16": 1}.get(element, 4 if self.bits == 4 else BYTE_STEP)
        self.chunk = VECTOR_BYTES if self.bits == 4 else self.step_k * self.lanes * self.bits // 8
        self.chunk_k = self.chunk * 8 // self.bits // self.lanes
        self.ints = ir.VectorType(ir.IntType(32), self.lanes)

    def few(self, bits: int, pointer: Any, count: int = 1) -> Any:
        """`count` integers of so many bits for each lane."""
        kind = ir.VectorType(ir.IntType(bits), self.lanes * count)
        return self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=1)

    def all(self, value: int) -> Any:
        return ir.Constant(self.ints, [value] * self.lanes)

    def broadcast_int(self, pointer: Any) -> Any:
        """The 32 bits at a pointer, in all lanes."""
        word = self.builder.load(self.builder.bitcast(pointer, ir.IntType(32).as_pointer()), align=4)
        one = self.builder.insert_element(ir.Constant(self.ints, ir.Undefined), word, ir.IntType(32)(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(self.ints, None))

    def floats(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()), align=4)

    def bf16(self, halves: Any) -> Any:
        wide = self.builder.zext(halves, self.ints)
        return self.builder.bitcast(self.builder.shl(wide, self.all(16)), self.vector)

    def f16(self, halves: Any) -> Any:
        """f16 as f32, exactly; where the CPU has no instruction for it, as csrc/per_isa/vector.h does it."""
        builder = self.builder
        if HAS_HALVES:
            return builder.fpext(builder.bitcast(halves, ir.VectorType(ir.HalfType(), self.lanes)), self.vector)
        bits = builder.zext(halves, self.ints)
        size = builder.and_(bits, self.all(0x7FFF))
        scaled = builder.bitcast(builder.shl(size, self.all(13)), self.vector)
        number = builder.bitcast(builder.fmul(scaled, ir.Constant(self.vector, [2.0**112] * self.lanes)), self.ints)
        strange = builder.sext(builder.icmp_signed(">=", size, self.all(0x7C00)), self.ints)
        sign = builder.shl(builder.and_(bits, self.all(0x8000)), self.all(16))
        exponent = builder.and_(strange, self.all(0x7F800000))
        return builder.bitcast(builder.or_(builder.or_(sign, number), exponent), self.vector)

    def plain(self, halves: Any) -> Any:
        """A vector of bf16 or f16, as integers, as f32."""
        return self.bf16(halves) if self.element == "bf16" else self.f16(halves)

    def scale(self, scales: Any, group: Any) -> Any:
        """Of a group of each row."""
        at = self.step(scales, self.times(self.lanes * self.scale_bytes, group))
        return self.floats(at) if self.scale_bytes == 4 else self.f16(self.few(16, at))

    def zero(self, scales: Any, group: Any) -> Any:
        """What stands for 0 in a group of each row."""
        if not self.own_zeros:
            return self.all(ZERO if self.bits == 4 else 0)
        at = self.step(scales, self.times(self.lanes * self.scale_bytes, group))
        return self.builder.zext(self.few(8, self.step(at, 2 * self.lanes)), self.ints)

    def bytes(self, pointer: Any) -> Any:
        """BYTE_STEP weights of 8 bits for each lane, as dot_bytes() takes them."""
        if not DOTS:
            return self.few(32, pointer)
        wide = self.builder.sext(self.few(8, pointer, 2), ir.VectorType(ir.IntType(16), 2 * self.lanes))
        return self.builder.bitcast(wide, self.ints)

    def widened(self, chunk: Any, e: int, zero: Any) -> Any:
        """Number e of a chunk's weights of each row, as f32: see csrc/types."""
        builder = self.builder
        if self.element == "f16":
            return self.f16(self.few(16, chunk))
        if self.element == "bf16":
            two = self.few(32, chunk)
            one = builder.and_(two, self.all(0xFFFF0000)) if e else builder.shl(two, self.all(16))
            return builder.bitcast(one, self.vector)
        if self.bits == 4 and not self.own_zeros:  # less 8: with the upper bit turned, a nibble has a sign
            signed = builder.xor(self.few(32, chunk), self.all(0x88888888))
            top = builder.shl(signed, self.all(28 - e % 4 * 8 - e // 4 * 4))
            return builder.sitofp(builder.ashr(top, self.all(28)), self.vector)
        if self.bits == 4:
            some = builder.lshr(self.few(32, chunk), self.all(e % 4 * 8 + e // 4 * 4))
            return builder.sitofp(builder.sub(builder.and_(some, self.all(15)), zero), self.vector)
        bits = 32 // BYTE_STEP
        top = builder.shl(self.bytes(chunk), self.all(32 - bits * (e + 1)))
        return builder.sitofp(builder.ashr(top, self.all(32 - bits)), self.vector)

    def k_of(self, j: int, e: int) -> int:
        """Which of a block's k that is, in chunk j."""
        return e // 4 * 16 + 4 * j + e % 4 if self.bits == 4 else self.step_k * j + e

    def keep(self, value: Any) -> Any:
        """Unknown to the compiler, which would make a tree of a chain of adds, with more values than registers."""
        if not DOTS:
            return value
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(kind, "", "=v,0", (value,), side_effect=True)

    def dot_bytes(self, sums: Any, w: Any, x: Any) -> Any:
        """sums + weights of 8 bits x, in 32 bits."""
        builder = self.builder
        if DOTS:
            words = ir.VectorType(ir.IntType(16), 2 * self.lanes)
            return builder.add(sums, self.call(DOTS[1], self.ints, *(builder.bitcast(a, words) for a in (w, x))))
        for e in range(4):
            left, right = self.all(24 - 8 * e), self.all(24)
            parts = [builder.ashr(builder.shl(a, left), right) for a in (w, x)]
            sums = builder.add(sums, builder.mul(*parts))
        return sums

    def dot_nibbles(self, sums: Any, w: Any, x: Any) -> Any:
        """The same of weights of 0 to 15, a byte each, over 32 of k at most; total_nibbles() makes sums of it."""
        if not DOTS:
            return self.dot_bytes(sums, w, x)
        builder = self.builder
        words, some = (ir.VectorType(ir.IntType(bits), VECTOR_BYTES * 8 // bits) for bits in (16, 8))
        two = self.call(DOTS[0], words, *(builder.bitcast(a, some) for a in (w, x)))
        return builder.bitcast(builder.add(builder.bitcast(sums, words), two), self.ints)

    def place_of_step(self, t: int) -> int:
        """Of a block, the words of activations that step t meets: of nibbles first one half of a vector's."""
        return t // 2 + t % 2 * 4 if self.bits == 4 else t

    def step_of_weights(self, block: Any, t: int) -> Any:
        """Step t's weights of a block, as dot() takes them."""
        if self.bits == 8:
            return self.bytes(self.step(block, t * self.chunk))
        both = self.few(32, self.step(block, t // 2 * self.chunk))
        if t % 2:
            both = self.builder.lshr(both, self.all(4))
        return self.builder.and_(both, self.all(0x0F0F0F0F))

    def dot(self, sums: Any, w: Any, x: Any) -> Any:
        return self.dot_nibbles(sums, w, x) if self.bits == 4 else self.dot_bytes(sums, w, x)

    def total_nibbles(self, sums: Any) -> Any:
        return self.dot_bytes(self.all(0), sums, self.all(0x10001)) if DOTS else sums


def plain_weights(context: Any, builder: Any, w: Any, x: Any) -> tuple[Emitter, Callable[[Any], Any]]:
    """What emits for the type of x, and what loads a vector of w in it; w, x: Numba's types of pointers."""
    if w.dtype == x.dtype:
        e = Emitter(context, builder, x.dtype)
        return e, e.load
    stored = Stored(context, builder, HALVES[w.dtype])
    return stored, lambda pointer: stored.plain(stored.few(16, pointer))


@intrinsic
def weight(typing, w, at):
    """w[at], as f32 where it is stored as bf16 or f16."""
    element = HALVES.get(w.dtype)

    def emit(context, builder, signature, args):
        one = builder.load(builder.gep(args[0], [args[1]]))
        if element is None:
            return one
        e = Stored(context, builder, element)
        none = ir.Constant(ir.VectorType(ir.IntType(16), e.lanes), None)
        return builder.extract_element(e.plain(builder.insert_element(none, one, ir.IntType(32)(0))), ir.IntType(32)(0))

    return (types.float32 if element else w.dtype)(w, types.int64), emit
