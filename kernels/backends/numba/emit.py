"""Vector LLVM IR for the bodies of intrinsics: what C has vector types for.

A width left to the auto-vectoriser would depend on the CPU's name (LLVM gives Intel names half of AVX-512), and it
vectorises no floating-point sum. Arrays are bare pointers, as in C: an index isn't checked for being negative, and no
call unpacks an array.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from kernels.backends.numba.target import EXP, EXP_PARTS, LINE, VECTOR_BYTES


class Emitter:
    """Emits vector operations for one element type, on whole vectors or on `lanes` lanes."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int = 0) -> None:
        self.builder, self.dtype = builder, dtype
        self.scalar = context.get_value_type(dtype)
        self.itemsize = dtype.bitwidth // 8
        self.lanes = lanes or VECTOR_BYTES // self.itemsize
        self.line = LINE // self.itemsize
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def index(self, value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def step(self, pointer: Any, offset: Any) -> Any:
        """The pointer to pointer[offset]."""
        return self.builder.gep(pointer, [self.index(offset) if isinstance(offset, int) else offset])

    def times(self, factor: int, value: Any) -> Any:
        return self.builder.mul(value, self.index(factor))

    def load(self, pointer: Any) -> Any:
        """A vector at element alignment: user arrays promise no more, and on current CPUs it costs nothing."""
        return self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def broadcast(self, pointer: Any) -> Any:
        return self.splat(self.builder.load(pointer))

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def call(self, name: str, result: Any, *args: Any, **flags: Any) -> Any:
        """Calls an LLVM intrinsic."""
        function_type = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, args, **flags)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z: fmuladd is one instruction where the CPU has it and never a library call where it hasn't."""
        return self.call(f"llvm.fmuladd.{self.suffix}", self.vector, x, y, z)

    def sum(self, value: Any) -> Any:
        name = f"llvm.vector.reduce.fadd.{self.suffix}"
        return self.call(name, self.scalar, self.scalar(0), value, fastmath=("reassoc",))

    def prefetch(self, pointer: Any, write: bool = False) -> None:
        """Prefetches a cache line: into L2 for reading, into L1 for writing."""
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        at = self.builder.bitcast(pointer, byte)
        self.call("llvm.prefetch.p0", ir.VoidType(), at, flag(int(write)), flag(3 if write else 2), flag(1))

    @contextlib.contextmanager
    def loop(self, first: Any, end: Any, unrolled: int = 1) -> Iterator[Any]:
        """The index from first to end, unrolled so often; by itself LLVM goes by the CPU's name."""
        with cgutils.for_range(self.builder, end, first) as loop:
            yield loop.index
        module, latch = self.builder.module, loop.index.incomings[-1][1]
        count = ir.MetaDataString(module, "llvm.loop.unroll.count"), ir.Constant(ir.IntType(32), unrolled)
        node = ir.MDValue(module, (), str(len(module.metadata)))
        node.operands = node, module.add_metadata(count)
        latch.terminator.set_metadata("llvm.loop", node)

    def accumulators(self, count: int) -> list[Any]:
        """Vectors that begin as zeros; LLVM keeps them in registers."""
        return [cgutils.alloca_once_value(self.builder, ir.Constant(self.vector, None)) for _ in range(count)]

    def shuffles(self, a: Any, b: Any, which: Callable[[int, int], int]) -> Iterator[Any]:
        """Two vectors q of elements of a, then of b: element e is number which(e, q)."""
        order = ir.VectorType(ir.IntType(32), self.lanes)
        for q in (0, 1):
            yield self.builder.shuffle_vector(a, b, ir.Constant(order, [which(e, q) for e in range(self.lanes)]))

    def transpose(self, x: list[Any]) -> None:
        """`lanes` vectors as a square, transposed in place: see csrc/per_isa/vector.h."""
        lanes, half = self.lanes, 1
        if self.itemsize == 4:
            for i in range(0, lanes, 4):
                (a, c), (b, d) = (
                    self.shuffles(two[0], two[1], lambda e, q: e // 4 * 4 + 2 * q + e % 4 // 2 + e % 2 * lanes)
                    for two in (x[i : i + 2], x[i + 2 : i + 4])
                )
                for at, two in ((i, (a, b)), (i + 2, (c, d))):
                    x[at : at + 2] = self.shuffles(*two, lambda e, q: 2 * q + (e if e % 4 < 2 else lanes + e - 2))
            half = 4
        while half < lanes:
            which = functools.partial(lambda half, e, q: q * half + (lanes + e - half if e & half else e), half)
            for i in range(lanes):
                if not i & half:
                    x[i], x[i + half] = self.shuffles(x[i], x[i + half], which)
            half *= 2


class RowEmitter(Emitter):
    """Emits what the pointwise operations do with a row; the last vector of a row is masked."""

    def each(self, count: Any, body: Callable[[Any, Any], None]) -> None:
        """body(j, mask) for every vector of `count` elements; mask: the valid lanes of the last one, None for whole."""
        builder, integers = self.builder, ir.VectorType(ir.IntType(32), self.lanes)
        whole = builder.and_(count, self.index(-self.lanes))
        with cgutils.for_range_slice(builder, self.index(0), whole, self.index(self.lanes)) as (j, _):
            body(j, None)
        left = builder.trunc(builder.sub(count, whole), ir.IntType(32))
        with builder.if_then(builder.icmp_signed(">", left, left.type(0))):
            undefined, zeros = ir.Constant(integers, ir.Undefined), ir.Constant(integers, None)
            all_left = builder.shuffle_vector(builder.insert_element(undefined, left, left.type(0)), undefined, zeros)
            body(whole, builder.icmp_signed("<", ir.Constant(integers, list(range(self.lanes))), all_left))

    def masked_load(self, pointer: Any, j: Any, mask: Any, rest: Any = 0.0) -> Value:
        """A vector from pointer[j] on; lanes outside the mask are `rest`."""
        at = self.step(pointer, j)
        if mask is None:
            return Value(self, self.load(at))
        at = self.builder.bitcast(at, self.vector.as_pointer())
        align = ir.Constant(ir.IntType(32), self.itemsize)
        name = f"llvm.masked.load.{self.suffix}.p0"
        return Value(self, self.call(name, self.vector, at, align, mask, self.vector_of(rest)))

    def masked_store(self, value: Value, pointer: Any, j: Any, mask: Any) -> None:
        at = self.step(pointer, j)
        if mask is None:
            return self.store(value.value, at)
        at = self.builder.bitcast(at, self.vector.as_pointer())
        align = ir.Constant(ir.IntType(32), self.itemsize)
        self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), value.value, at, align, mask)

    def vector_of(self, value: Any) -> Any:
        """The LLVM vector of a Value, or of a number in all lanes."""
        return value.value if isinstance(value, Value) else ir.Constant(self.vector, [float(value)] * self.lanes)

    def select(self, mask: Any, yes: Any, no: Any) -> Value:
        return Value(self, self.builder.select(mask, self.vector_of(yes), self.vector_of(no)))

    def variable(self, start: float = 0.0) -> Any:
        return cgutils.alloca_once_value(self.builder, self.vector_of(start))

    def get(self, variable: Any) -> Value:
        return Value(self, self.builder.load(variable))

    def set(self, variable: Any, value: Value) -> None:
        self.builder.store(value.value, variable)

    def largest(self, value: Value) -> Any:
        """The largest lane; none is NaN."""
        return self.call(f"llvm.vector.reduce.fmax.{self.suffix}", self.scalar, value.value, fastmath=("nnan",))

    def square_root(self, scalar: Any) -> Any:
        return self.call(f"llvm.sqrt.f{self.itemsize * 8}", self.scalar, scalar)

    def polynomial(self, coefficients: dict[int, list[float]], x: Value) -> Any:
        """Horner's rule."""
        total: Any
        *lower, total = coefficients[self.itemsize]
        for coefficient in reversed(lower):
            total = x * total + coefficient
        return total

    def exp(self, x: Value) -> Value:
        """exp(x) for x <= 0, or above it by no more than rounding: see csrc/per_isa/polynomials.h."""
        round_, lowest, high, low, bits = EXP_PARTS[self.itemsize]
        shifted = x * 1.4426950408889634 + round_
        n = shifted - round_
        y = self.polynomial(EXP, (x - n * high) - n * low) * shifted.power_of_two(bits)
        return self.select(x < lowest, 0, y)


def _operator(instruction: str, swapped: bool = False) -> Callable[[Value, Any], Value]:
    """A method of Value that emits an instruction on it and another one; LLVM may contract two into an FMA."""

    def emit(x: Value, y: Any) -> Value:
        left, right = x.e.vector_of(y if swapped else x), x.e.vector_of(x if swapped else y)
        return Value(x.e, getattr(x.e.builder, instruction)(left, right, flags=("contract",)))

    return emit


class Value:
    """A vector whose operators emit instructions, one for a * b + c where the CPU has it; numbers are in all lanes."""

    def __init__(self, e: RowEmitter, value: Any) -> None:
        self.e, self.value = e, value

    __add__, __radd__ = _operator("fadd"), _operator("fadd", swapped=True)
    __sub__, __rsub__ = _operator("fsub"), _operator("fsub", swapped=True)
    __mul__, __rmul__ = _operator("fmul"), _operator("fmul", swapped=True)
    __truediv__ = _operator("fdiv")

    def __lt__(self, other: Any) -> Any:
        return self.e.builder.fcmp_ordered("<", self.value, self.e.vector_of(other))

    def absolute(self) -> Value:
        return Value(self.e, self.e.call(f"llvm.fabs.{self.e.suffix}", self.e.vector, self.value))

    def power_of_two(self, bits: int) -> Value:
        """2^n for the n in the low bits."""
        e, builder = self.e, self.e.builder
        integers = ir.VectorType(ir.IntType(e.itemsize * 8), e.lanes)
        exponent = builder.shl(builder.bitcast(self.value, integers), ir.Constant(integers, [bits] * e.lanes))
        one = builder.bitcast(e.vector_of(1), integers)
        return Value(e, builder.bitcast(builder.add(one, exponent), e.vector))
