"""The operations in Numba: the same loops and register tiles as the C side, compiled when first bound.

The design, the names and the reasons are those of csrc/per_isa. What C leaves to vector types is emitted here as
vector LLVM IR by intrinsics (the register tiles, the inner loops of GEMV and of few rows, the packing, the rows of
softmax, LayerNorm and GELU), since a width left to the auto-vectoriser depends on the CPU's name (Intel names get half
of AVX-512) and a float sum isn't vectorised at all. The loops around them are plain Python that Numba compiles, and
what is planned ahead of them is plain Python that runs when a call is bound. A plan knows which register tiles will
run; only those are compiled.

Strips of B are k rows of one vector of columns. The last strip is padded with zeros, and a tile at the edge is computed
whole in scratch, its valid part copied out. A padded lane never meets a valid output, hence NaN and Inf go exactly
where the mathematics sends them.

Everything sits in one file because Numba's cache notices only edits of the file that holds the cached function.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import itertools
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from kernels.arrays import aligned_empty, leading_dimension
from kernels.backends.c import ffi, lib
from kernels.operations import SCALAR, UPDATE_SCALAR
from kernels.types import DTYPES

# ---- What this machine offers ---------------------------------------------------------------------------------------


def _vector_bytes() -> int:
    """Widest vectors this CPU multiplies and adds in one instruction, or fewer where RIDGELINE_ISA says so."""
    has = llvm.get_host_cpu_features()
    widest = 64 if has.get("avx512f") else 32 if has.get("avx2") and has.get("fma") else 16
    return min(widest, {"generic": 16, "neon": 16, "avx2": 32}.get(os.environ.get("RIDGELINE_ISA", ""), 64))


VECTOR_BYTES = _vector_bytes()
# Rows and vectors of the tallest register tile, and the registers kept free of accumulators and of B: see csrc/isa.h.
_NEON = platform.machine() in ("aarch64", "arm64")
MR, _NV, _SPARE = {64: (14, 2, 1), 32: (6, 2, 1), 16: (7, 3, 5) if _NEON else (4, 2, 2)}[VECTOR_BYTES]
_REGISTERS = 32 if _NEON or VECTOR_BYTES == 64 else 16
_WIDEST = 6  # vectors of a low tile: as many streams as a core's prefetchers follow with ease

_LINE = 64  # bytes of a cache line, and the alignment of every buffer made here
_L1, _L2, _L3 = (lib.cache_bytes(level) for level in (1, 2, 3))
_TILED_K = 64  # gemm_tiled: rows of the B block whose columns fill half of L2
_STREAMS = 4  # pieces of W that gemv and gemv_t read side by side
_SOON, _LEAD = 32, 160  # steps, rows of B: see csrc/per_isa/tile.h and gemm.h
_FEW, _DEEP, _HELD = (4, 4, 4) if VECTOR_BYTES == 64 else (16, 4, 0)  # see csrc/per_isa/few.h
_ALONE = 4096  # see csrc/per_isa/elementwise.h


def _coefficients(function) -> dict[int, list[float]]:
    """A polynomial of csrc/per_isa/polynomials.h by the bytes of an element, lowest power first."""
    count = ffi.new("int *")
    return {size: ffi.unpack(function(size, count), count[0]) for size in (4, 8)}


_EXP, _TAIL = _coefficients(lib.exp_coefficients), _coefficients(lib.tail_coefficients)
# exp()'s 1.5 times the power of two whose ulp is 1, its lowest argument, the two parts of ln 2, bits of a significand
_EXP_PARTS = {
    4: (1.5 * 2**23, -87.33654, float.fromhex("0x1.62ep-1"), float.fromhex("0x1.0bfbe8e7bcd5ep-15"), 23),
    8: (1.5 * 2**52, -708.3964, float.fromhex("0x1.62e42fep-1"), float.fromhex("0x1.f473de6af278fp-30"), 52),
}


@register_jitable
def _at_once(h: int) -> int:
    """Vectors of a tile of h rows: as many as leave room in the registers for its accumulators."""
    return min((_REGISTERS - _SPARE) // (h + 1), _WIDEST)


assert _at_once(MR) == _NV


def tile(dtype: str) -> tuple[int, int, int]:
    """Rows, columns and vector bytes of the tallest register tile for "f32" or "f64"."""
    return MR, _NV * VECTOR_BYTES // DTYPES[dtype].itemsize, VECTOR_BYTES


# ---- Numba's settings, before anything is decorated -----------------------------------------------------------------


def _cache_dir() -> str:
    """The cache folder of this CPU, Numba version, source and vector width; a temporary one if home isn't writable."""
    made_of = Path(__file__).read_bytes() + repr((VECTOR_BYTES, _EXP, _TAIL)).encode()
    source = hashlib.sha256(made_of).hexdigest()[:12]
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "ridgeline"
    # Inside a NUMBA_CACHE_DIR too: Numba's own key knows nothing of the vector width that the functions were built for.
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or home)
    folder = root / f"numba-{numba.__version__}-{llvm.get_host_cpu_name()}-{source}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="ridgeline-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return str(folder)


numba.config.CACHE_DIR = _cache_dir()
numba.config.THREADING_LAYER = "omp"  # the system libgomp, the C extension's pool too

_jit = functools.partial(njit, cache=True, nogil=True, error_model="numpy")
# Into Numba's own code of the caller: as a function each would be linked, optimised and generated once more.
_inlined = functools.partial(_jit, inline="always")
# Unfused: Numba can't see that a call in one prange writes what a call in the next one reads.
_parallel = functools.partial(_jit, parallel={"fusion": False})

# The symbol under numba.set_num_threads, which costs 2 us from Python and keeps compiled callers out of the cache.
_use_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))

# ---- Vector intrinsics ----------------------------------------------------------------------------------------------
# Arrays are bare pointers here, as in C: an index costs no check for being negative, and a call no unpacking.


class _Emitter:
    """The vector operations the intrinsics are made of, for one element type and whole vectors or so many lanes."""

    def __init__(self, context, builder, dtype, lanes: int = 0):
        self.builder, self.dtype = builder, dtype
        self.scalar = context.get_value_type(dtype)
        self.itemsize = dtype.bitwidth // 8
        self.lanes = lanes or VECTOR_BYTES // self.itemsize
        self.line = _LINE // self.itemsize
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def index(self, value: int) -> ir.Constant:
        return ir.Constant(ir.IntType(64), value)

    def step(self, pointer, offset):
        return self.builder.gep(pointer, [self.index(offset) if isinstance(offset, int) else offset])

    def times(self, factor: int, value):
        return self.builder.mul(value, self.index(factor))

    def load(self, pointer):  # element alignment: user arrays promise no more, and on current CPUs it costs nothing
        return self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def store(self, value, pointer):
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def broadcast(self, pointer):
        return self.splat(self.builder.load(pointer))

    def splat(self, scalar):
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def _call(self, name, result, *args, **flags):
        function_type = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, args, **flags)

    def fma(self, x, y, z):
        """x * y + z: fmuladd is one instruction where the CPU has it and never a library call where it hasn't."""
        return self._call(f"llvm.fmuladd.{self.suffix}", self.vector, x, y, z)

    def sum(self, value):
        name = f"llvm.vector.reduce.fadd.{self.suffix}"
        return self._call(name, self.scalar, self.scalar(0), value, fastmath=("reassoc",))

    def prefetch(self, pointer, write: bool = False):
        """Asks for a line: into L2 to be read later, into L1 to be written soon."""
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        at = self.builder.bitcast(pointer, byte)
        self._call("llvm.prefetch.p0", ir.VoidType(), at, flag(int(write)), flag(3 if write else 2), flag(1))

    @contextlib.contextmanager
    def loop(self, first, end, unrolled: int = 1):
        """The index from first to end, unrolled so often; by itself LLVM goes by the CPU's name."""
        with cgutils.for_range(self.builder, end, first) as loop:
            yield loop.index
        module, latch = self.builder.module, loop.index.incomings[-1][1]
        count = ir.MetaDataString(module, "llvm.loop.unroll.count"), ir.Constant(ir.IntType(32), unrolled)
        node = ir.MDValue(module, (), str(len(module.metadata)))
        node.operands = node, module.add_metadata(count)
        latch.terminator.set_metadata("llvm.loop", node)

    def accumulators(self, count: int):
        return [cgutils.alloca_once_value(self.builder, ir.Constant(self.vector, None)) for _ in range(count)]

    def picks(self, a, b, which: Callable[[int, int], int]):
        """Two vectors q of elements of a, then of b: element e is number which(e, q)."""
        order = ir.VectorType(ir.IntType(32), self.lanes)
        for q in (0, 1):
            yield self.builder.shuffle_vector(a, b, ir.Constant(order, [which(e, q) for e in range(self.lanes)]))

    def transpose(self, x: list) -> None:
        """`lanes` vectors as a square, transposed in place: see csrc/per_isa/vector.h."""
        lanes, half = self.lanes, 1
        if self.itemsize == 4:
            for i in range(0, lanes, 4):
                (a, c), (b, d) = (
                    self.picks(*two, lambda e, q: e // 4 * 4 + 2 * q + e % 4 // 2 + e % 2 * lanes)
                    for two in (x[i : i + 2], x[i + 2 : i + 4])
                )
                for at, two in ((i, (a, b)), (i + 2, (c, d))):
                    x[at : at + 2] = self.picks(*two, lambda e, q: 2 * q + (e if e % 4 < 2 else lanes + e - 2))
            half = 4
        while half < lanes:
            which = functools.partial(lambda half, e, q: q * half + (lanes + e - half if e & half else e), half)
            for i in range(lanes):
                if not i & half:
                    x[i], x[i + half] = self.picks(x[i], x[i + half], which)
            half *= 2


class _Rows(_Emitter):
    """What the rows between the products are made of; why it is so, says csrc/per_isa/elementwise.h."""

    def each(self, count, body) -> None:
        """body(j, mask) for every vector of `count` elements: None for a whole one, or which lanes the last one has."""
        builder, integers = self.builder, ir.VectorType(ir.IntType(32), self.lanes)
        whole = builder.and_(count, self.index(-self.lanes))
        with cgutils.for_range_slice(builder, self.index(0), whole, self.index(self.lanes)) as (j, _):
            body(j, None)
        left = builder.trunc(builder.sub(count, whole), ir.IntType(32))
        with builder.if_then(builder.icmp_signed(">", left, left.type(0))):
            undefined, zeros = ir.Constant(integers, ir.Undefined), ir.Constant(integers, None)
            all_left = builder.shuffle_vector(builder.insert_element(undefined, left, left.type(0)), undefined, zeros)
            body(whole, builder.icmp_signed("<", ir.Constant(integers, list(range(self.lanes))), all_left))

    def take(self, pointer, j, mask, rest=0.0) -> _Value:
        """A vector from pointer[j] on; lanes that aren't there are `rest`."""
        at = self.step(pointer, j)
        if mask is None:
            return _Value(self, self.load(at))
        at = self.builder.bitcast(at, self.vector.as_pointer())
        align = ir.Constant(ir.IntType(32), self.itemsize)
        name = f"llvm.masked.load.{self.suffix}.p0"
        return _Value(self, self._call(name, self.vector, at, align, mask, self.lanes_of(rest)))

    def put(self, value: _Value, pointer, j, mask) -> None:
        at = self.step(pointer, j)
        if mask is None:
            return self.store(value.value, at)
        at = self.builder.bitcast(at, self.vector.as_pointer())
        align = ir.Constant(ir.IntType(32), self.itemsize)
        self._call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), value.value, at, align, mask)

    def lanes_of(self, value):
        """The LLVM vector of a _Value, or of a number."""
        return value.value if isinstance(value, _Value) else ir.Constant(self.vector, [float(value)] * self.lanes)

    def choose(self, mask, yes, no) -> _Value:
        return _Value(self, self.builder.select(mask, self.lanes_of(yes), self.lanes_of(no)))

    def variable(self, start=0.0):
        return cgutils.alloca_once_value(self.builder, self.lanes_of(start))

    def get(self, variable) -> _Value:
        return _Value(self, self.builder.load(variable))

    def set(self, variable, value: _Value) -> None:
        self.builder.store(value.value, variable)

    def largest(self, value: _Value):
        """The largest lane; none is NaN."""
        return self._call(f"llvm.vector.reduce.fmax.{self.suffix}", self.scalar, value.value, fastmath=("nnan",))

    def square_root(self, scalar):
        return self._call(f"llvm.sqrt.f{self.itemsize * 8}", self.scalar, scalar)

    def polynomial(self, coefficients: dict[int, list[float]], x: _Value):
        *lower, total = coefficients[self.itemsize]
        for coefficient in reversed(lower):
            total = x * total + coefficient
        return total

    def exp(self, x: _Value) -> _Value:
        """exp(x) for x <= 0, or above it by no more than rounding."""
        round_, lowest, high, low, bits = _EXP_PARTS[self.itemsize]
        shifted = x * 1.4426950408889634 + round_
        n = shifted - round_
        y = self.polynomial(_EXP, (x - n * high) - n * low) * shifted.power_of_two(bits)
        return self.choose(x < lowest, 0, y)


def _operator(instruction: str, turned: bool = False):
    """A method of _Value that emits an instruction on it and another one, which may become part of an FMA."""

    def emit(x, y):
        left, right = x.e.lanes_of(y if turned else x), x.e.lanes_of(x if turned else y)
        return _Value(x.e, getattr(x.e.builder, instruction)(left, right, flags=("contract",)))

    return emit


class _Value:
    """A vector whose operators emit instructions, one for a * b + c where the CPU has it; numbers are in all lanes."""

    def __init__(self, e: _Rows, value):
        self.e, self.value = e, value

    __add__, __radd__ = _operator("fadd"), _operator("fadd", turned=True)
    __sub__, __rsub__ = _operator("fsub"), _operator("fsub", turned=True)
    __mul__, __rmul__ = _operator("fmul"), _operator("fmul", turned=True)
    __truediv__ = _operator("fdiv")

    def __lt__(self, other):
        return self.e.builder.fcmp_ordered("<", self.value, self.e.lanes_of(other))

    def size(self) -> _Value:
        return _Value(self.e, self.e._call(f"llvm.fabs.{self.e.suffix}", self.e.vector, self.value))

    def power_of_two(self, bits: int) -> _Value:
        """2^n for the n in the low bits."""
        e, builder = self.e, self.e.builder
        integers = ir.VectorType(ir.IntType(e.itemsize * 8), e.lanes)
        exponent = builder.shl(builder.bitcast(self.value, integers), ir.Constant(integers, [bits] * e.lanes))
        one = builder.bitcast(e.lanes_of(1), integers)
        return _Value(e, builder.bitcast(builder.add(one, exponent), e.vector))


_AT, _THEN, _LEFT, _MASK, _AHEAD = range(5)
"""What memory has to deliver meanwhile, _AHEAD int64: see struct ahead in csrc/per_isa/tile.h."""
_NEVER = 2**63 - 1  # as a mask: only step 0 asks, for a line that is there anyway


class _Ahead:
    """_AHEAD in registers, for as long as a tile runs."""

    def __init__(self, e: _Emitter, memory):
        self.e, self.memory = e, memory
        at, then, left, self.mask = (e.builder.load(e.step(memory, field)) for field in range(_AHEAD))
        self.then = e.builder.inttoptr(then, e.scalar.as_pointer())
        self.at = cgutils.alloca_once_value(e.builder, e.builder.inttoptr(at, e.scalar.as_pointer()))
        self.left = cgutils.alloca_once_value(e.builder, left)

    def ask_of_strips(self, p, v: int, apart) -> None:
        """In step p: the next line of each strip, if it is time."""
        e, builder = self.e, self.e.builder
        with builder.if_then(builder.icmp_signed("==", builder.and_(p, self.mask), e.index(0))):
            at = builder.load(self.at)
            for j in range(v):
                e.prefetch(e.step(at, e.times(j, apart)))
            builder.store(e.step(at, e.line), self.at)

    def ask_of_rows(self, v: int, apart) -> None:
        """The next row's lines."""
        e, builder = self.e, self.e.builder
        at, left = builder.load(self.at), builder.sub(builder.load(self.left), e.index(1))
        for j in (*range(0, v * e.lanes, e.line), v * e.lanes - 1):  # one more where rows don't begin with a line
            e.prefetch(e.step(at, j))
        ends = builder.icmp_signed("==", left, e.index(0))
        builder.store(builder.select(ends, self.then, e.step(at, apart)), self.at)
        builder.store(left, self.left)

    def save(self) -> None:
        builder, step = self.e.builder, functools.partial(self.e.step, self.memory)
        builder.store(builder.ptrtoint(builder.load(self.at), ir.IntType(64)), step(_AT))
        builder.store(builder.load(self.left), step(_LEFT))


_FORMS = {  # A packed, B in strips, copying: see csrc/per_isa/tile.h
    "packed": (True, True, False),
    "copying": (True, False, True),
    "lying": (True, False, False),
    "direct": (False, True, False),
    "both": (False, False, False),
}
_PACKED, _COPYING, _LYING, _DIRECT, _BOTH = range(len(_FORMS))


@intrinsic(prefer_literal=True)
def _tile(typing, form, h, v, k, a, lda, b, apart, copy, c, ldc, accumulate, ahead):
    """C[h, v vectors] = or += A[h, k] B[k, v vectors]; C stays in registers for all k steps.

    form, h and v are literals, v at most _at_once(h).
    """
    rows, width = h.literal_value, v.literal_value
    a_packed, b_strips, copying = [*_FORMS.values()][form.literal_value]

    def emit(context, builder, signature, args):
        e = _Emitter(context, builder, signature.args[4].dtype)
        k, a, lda, b, apart, copy, c, ldc, accumulate, memory = args[3:]
        sums, ahead = e.accumulators(rows * width), _Ahead(e, memory) if a_packed else None

        def one(p):
            x = e.step(a, e.times(rows if a_packed else 1, p))
            y = e.step(b, e.times(e.lanes, p) if b_strips else builder.mul(apart, p))
            row = [e.load(e.step(y, e.times(j, apart) if b_strips else j * e.lanes)) for j in range(width)]
            if copying:
                for j, vector in enumerate(row):
                    e.store(vector, e.step(e.step(copy, e.times(j * e.lanes, k)), e.times(e.lanes, p)))
            for i in range(rows):
                factor = e.broadcast(e.step(x, i if a_packed else e.times(i, lda)))
                for at, vector in zip(sums[i * width :], row, strict=False):
                    builder.store(e.fma(factor, vector, builder.load(at)), at)
            if a_packed:
                ahead.ask_of_strips(p, width, apart) if b_strips else ahead.ask_of_rows(width, apart)

        def steps(first, end):  # one by one: of four LLVM gathers what is asked for, or spills accumulators
            with e.loop(first, end) as p:
                one(p)

        if a_packed:
            before = builder.sub(k, e.index(_SOON))
            soon = builder.select(builder.icmp_signed(">", before, e.index(0)), before, e.index(0))
            with e.loop(e.index(0), e.index(2)) as part:  # the same code before and after asking for C
                late = builder.icmp_signed("!=", part, e.index(0))
                steps(builder.select(late, soon, e.index(0)), builder.select(late, k, soon))
                with builder.if_then(builder.not_(late)), e.loop(e.index(0), e.index(rows)) as i:
                    for j in range(0, width * e.lanes, e.line):
                        e.prefetch(e.step(e.step(c, builder.mul(i, ldc)), j), write=True)
            ahead.save()
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
    return types.void(form, h, v, i8, a, i8, b, i8, copy, c, i8, i8, ahead), emit


@register_jitable
def _place(form: int, h: int, v: int) -> int:
    """Where a tile's address is in the table of tiles."""
    return (form * (MR + 1) + h) * _WIDEST + v - 1


def _make_add_deep(u: int, held: int = 0):
    """held: the rows of A, where their elements stay in registers all along the rows of B."""

    @intrinsic
    def add_deep(typing, m, columns, a, b, apart, sums, ld, ahead):
        """sums[m, columns] += A[m, u] B[u, columns]: rows of B `apart` from each other, of sums ld; A as used.

        What lies `ahead` elements behind it in B is asked for, if any.
        """

        def emit(context, builder, signature, args):
            m, columns, a, b, apart, sums, ld, ahead = args
            dtype, asks = signature.args[2].dtype, builder.icmp_signed("!=", ahead, ahead.type(0))

            def rows_from(e, vectors, j):
                """`vectors` of each of the u rows, from j on."""
                here = [e.step(e.step(b, e.times(p, apart)), j) for p in range(u)]
                with builder.if_then(asks):
                    for at in here:
                        for x in range(0, vectors * e.lanes, e.line):
                            e.prefetch(e.step(e.step(at, x), ahead))
                return [[e.load(e.step(at, x * e.lanes)) for at in here] for x in range(vectors)]

            def add_to(e, to, factors, row):
                total = e.load(to)
                for factor, vector in zip(factors, row, strict=True):
                    total = e.fma(factor, vector, total)
                e.store(total, to)

            def factors_of(e, i):
                return [e.broadcast(e.step(e.step(a, e.times(u, i)), p)) for p in range(u)]

            def add(e, vectors, first, end):
                with cgutils.for_range_slice(builder, first, end, e.index(vectors * e.lanes)) as (j, _):
                    rows = rows_from(e, vectors, j)
                    with e.loop(e.index(0), m, unrolled=4) as i:
                        to, factors = e.step(e.step(sums, builder.mul(i, ld)), j), factors_of(e, i)
                        for x, row in enumerate(rows):
                            add_to(e, e.step(to, x * e.lanes), factors, row)

            def add_held(e, end):
                factors = [factors_of(e, e.index(i)) for i in range(held)]
                with cgutils.for_range_slice(builder, e.index(0), end, e.index(e.lanes)) as (j, _):
                    (row,) = rows_from(e, 1, j)
                    for i in range(held):
                        add_to(e, e.step(e.step(sums, e.times(i, ld)), j), factors[i], row)

            e, one = _Emitter(context, builder, dtype), _Emitter(context, builder, dtype, lanes=1)
            whole = builder.and_(columns, e.index(-(1 if held else 2) * e.lanes))
            if held:
                add_held(e, whole)
            else:
                add(e, 2, e.index(0), whole)
            add(one, 1, whole, columns)  # what is left, element by element
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(i8, i8, a, b, i8, sums, i8, i8), emit

    return add_deep


_add_one = _make_add_deep(1)


@intrinsic
def _transpose(typing, rows, source, lds, target, ldt):
    """LANES x LANES elements, transposed; of fewer rows the last one is taken for those that aren't there."""

    def emit(context, builder, signature, args):
        e = _Emitter(context, builder, signature.args[1].dtype)
        rows, source, lds, target, ldt = args
        end = builder.sub(rows, e.index(1))
        which = [builder.select(builder.icmp_signed("<", end, e.index(i)), end, e.index(i)) for i in range(e.lanes)]
        square = [e.load(e.step(source, builder.mul(row, lds))) for row in which]
        e.transpose(square)
        for i, vector in enumerate(square):
            e.store(vector, e.step(target, e.times(i, ldt)))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(i8, source, i8, target, i8), emit


def _make_copy_rows(u: int):
    @intrinsic
    def copy_rows(typing, source, lds, target, columns, strip):
        """u rows of B to as many rows of the strips, `columns` of them: whole vectors."""

        def emit(context, builder, signature, args):
            e = _Emitter(context, builder, signature.args[0].dtype)
            source, lds, target, columns, strip = args
            starts = [e.step(source, e.times(p, lds)) for p in range(u)]
            with cgutils.for_range(builder, builder.sdiv(columns, e.index(e.lanes))) as loop:
                to, j = e.step(target, builder.mul(loop.index, strip)), e.times(e.lanes, loop.index)
                for p, start in enumerate(starts):
                    e.store(e.load(e.step(start, j)), e.step(to, p * e.lanes))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(source, i8, target, i8, i8), emit

    return copy_rows


_copy_rows, _copy_row = _make_copy_rows(_DEEP), _make_copy_rows(1)


def _make_dots(rows: int):
    @intrinsic
    def dots(typing, w, ld, apart, x, count, y):
        """y[r * apart] = sum of w[r * apart, i] * x[i] over i < count for `rows` rows r; count: pairs of vectors."""

        def emit(context, builder, signature, args):
            v = _Emitter(context, builder, signature.args[0].dtype)
            w, ld, apart, x, count, y = args
            starts = [v.step(w, builder.mul(ld, v.times(r, apart))) for r in range(rows)]
            sums = v.accumulators(rows * 2)  # two chains each: adds of a short row don't wait for one another
            with cgutils.for_range_slice(builder, v.index(0), count, v.index(2 * v.lanes)) as (i, _):
                for u in range(2):
                    offset = builder.add(i, v.index(u * v.lanes))
                    xs = v.load(v.step(x, offset))
                    for start, at in zip(starts, sums[u::2], strict=True):
                        builder.store(v.fma(v.load(v.step(start, offset)), xs, builder.load(at)), at)
            for r in range(rows):
                total = builder.fadd(*(builder.load(at) for at in sums[r * 2 : r * 2 + 2]))
                builder.store(v.sum(total), v.step(y, v.times(r, apart)))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(w, i8, i8, x, i8, y), emit

    return dots


_dots_many, _dots_one = _make_dots(_STREAMS), _make_dots(1)


def _make_add_rows(rows: int):
    @intrinsic
    def add_rows(typing, x, apart, w, ld, y, count, accumulate):
        """y[j] = or += sum of x[r * apart] * w[r * apart, j] over `rows` rows r, for j < count: whole vectors."""

        def emit(context, builder, signature, args):
            v = _Emitter(context, builder, signature.args[0].dtype)
            x, apart, w, ld, y, count, accumulate = args
            starts = [v.step(w, builder.mul(ld, v.times(r, apart))) for r in range(rows)]
            factors = [v.broadcast(v.step(x, v.times(r, apart))) for r in range(rows)]
            for add in (True, False):
                with (
                    builder.if_then(accumulate if add else builder.not_(accumulate)),
                    cgutils.for_range_slice(builder, v.index(0), count, v.index(v.lanes)) as (j, _),
                ):
                    total = v.load(v.step(y, j)) if add else ir.Constant(v.vector, None)
                    for start, factor in zip(starts, factors, strict=True):
                        total = v.fma(v.load(v.step(start, j)), factor, total)
                    v.store(total, v.step(y, j))
            return context.get_dummy_value()

        i8 = types.int64
        return types.void(x, i8, w, i8, y, i8, types.boolean), emit

    return add_rows


_add_many, _add_row = _make_add_rows(_STREAMS), _make_add_rows(1)


@intrinsic
def _softmax_row(typing, s, seen, scale):
    """`seen` elements at s = exp(scale s - max) / sum."""

    def emit(context, builder, signature, args):
        e = _Rows(context, builder, signature.args[0].dtype)
        s, seen, scale = args
        factor, rest = _Value(e, e.broadcast(scale)), _Value(e, e.broadcast(s))
        turn = e.choose(factor < 0, -1, 1)
        size = turn * factor
        most, sums = e.variable(-math.inf), e.variable()

        def find(j, mask):
            x, before = turn * e.take(s, j, mask, rest), e.get(most)
            e.set(most, e.choose(before < x, x, before))

        def raise_(j, mask):
            y = e.exp((turn * e.take(s, j, mask, rest) - top) * size)
            e.put(y, s, j, mask)
            e.set(sums, e.get(sums) + (y if mask is None else e.choose(mask, y, 0)))

        e.each(seen, find)
        top = _Value(e, e.splat(e.largest(e.get(most))))
        e.each(seen, raise_)
        inverse = _Value(e, e.splat(builder.fdiv(e.scalar(1), e.sum(builder.load(sums)))))
        e.each(seen, lambda j, mask: e.put(inverse * e.take(s, j, mask), s, j, mask))
        return context.get_dummy_value()

    return types.void(s, types.int64, scale), emit


def _with_or_without(e, count, pointer, body):
    """each() vector of count: body(whether there is a pointer, j, mask)."""
    with e.builder.if_else(cgutils.is_not_null(e.builder, pointer)) as (present, missing):
        for given, branch in ((True, present), (False, missing)):
            with branch:
                e.each(count, functools.partial(body, given))


@intrinsic
def _norm_row(typing, n, x, r, bias, gain, shift, eps, y):
    """y = LayerNorm(x + r + bias) gain + shift; without r there is no bias either."""

    def emit(context, builder, signature, args):
        e = _Rows(context, builder, signature.args[1].dtype)
        n, x, r, bias, gain, shift, eps, y = args
        sums, squares, count = e.variable(), e.variable(), builder.sitofp(n, e.scalar)

        def add(residual, j, mask):
            v = e.take(x, j, mask)
            if residual:
                v = v + e.take(r, j, mask) + e.take(bias, j, mask)
            e.put(v, y, j, mask)
            e.set(sums, e.get(sums) + v)

        def square(j, mask):
            d = e.take(y, j, mask, mean) - mean
            e.set(squares, d * d + e.get(squares))

        def scale(j, mask):
            d = (e.take(y, j, mask) - mean) * inverse
            e.put(d * e.take(gain, j, mask) + e.take(shift, j, mask), y, j, mask)

        _with_or_without(e, n, r, add)
        mean = _Value(e, e.splat(builder.fdiv(e.sum(builder.load(sums)), count)))
        e.each(n, square)
        variance = builder.fadd(builder.fdiv(e.sum(builder.load(squares)), count), builder.load(eps))
        inverse = _Value(e, e.splat(builder.fdiv(e.scalar(1), e.square_root(variance))))
        e.each(n, scale)
        return context.get_dummy_value()

    return types.void(types.int64, *[x] * 7), emit


@intrinsic
def _gelu_row(typing, tanh_form, n, x, bias):
    """x = GELU(x + bias) = max(v, 0) - |v| Q(|v|)."""

    def emit(context, builder, signature, args):
        e = _Rows(context, builder, signature.args[2].dtype)
        tanh_form, n, x, bias = args
        far = 40

        def activate(tanh, j, mask):
            v = e.take(x, j, mask) + e.take(bias, j, mask)
            size = v.size()
            a, most = e.choose(size < far, size, far), e.choose(v < 0, 0, v)
            if tanh:
                power = e.exp((a + (a * a * a) * 0.044715) * -1.5957691216057308)  # -2 sqrt(2 / pi)
                tail = power / (power + 1)
            else:
                tail = e.exp(a * a * -0.5) * e.polynomial(_TAIL, (a - 4) / (a + 4))
            e.put(most - a * tail, x, j, mask)

        with builder.if_else(tanh_form) as forms:
            for tanh, form in zip((True, False), forms, strict=True):
                with form:
                    e.each(n, functools.partial(activate, tanh))
        return context.get_dummy_value()

    return types.void(types.boolean, types.int64, x, x), emit


@intrinsic
def _add_to_row(typing, n, x, r, bias):
    """x += r + bias; r may be missing."""

    def emit(context, builder, signature, args):
        e = _Rows(context, builder, signature.args[1].dtype)
        n, x, r, bias = args

        def add(residual, j, mask):
            v = e.take(x, j, mask)
            if residual:
                v = v + e.take(r, j, mask)
            e.put(v + e.take(bias, j, mask), x, j, mask)

        _with_or_without(e, n, r, add)
        return context.get_dummy_value()

    return types.void(types.int64, x, x, x), emit


@intrinsic
def _not_vectorised(typing):
    """No instruction, but the loop around it stays scalar: vectors would be slower to compile, or another rung."""

    def emit(context, builder, signature, args):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), side_effect=True)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def _pointer(typing, like, address):
    """An address as a pointer."""

    def emit(context, builder, signature, args):
        return builder.inttoptr(args[1], args[0].type)

    return like(like, types.int64), emit


@intrinsic
def _at(typing, pointer, offset):
    """The pointer to pointer[offset]."""
    return pointer(pointer, types.int64), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])


@intrinsic
def _address(typing, pointer):
    """A pointer as a number."""

    def emit(context, builder, signature, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), emit


@intrinsic
def _lanes(typing, pointer):
    """Elements of a vector."""

    def emit(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), VECTOR_BYTES * 8 // signature.args[0].dtype.bitwidth)

    return types.int64(pointer), emit


@intrinsic
def _zero(typing, pointer):
    """0 of the type that is pointed to."""
    return pointer.dtype(pointer), lambda context, builder, signature, args: ir.Constant(args[0].type.pointee, 0)


@intrinsic
def _prefetch(typing, pointer):
    """Asks for a line, into L2."""

    def emit(context, builder, signature, args):
        _Emitter(context, builder, signature.args[0].dtype).prefetch(args[0])
        return context.get_dummy_value()

    return types.void(pointer), emit


@intrinsic
def _scratch(typing, like):
    """Room for a tile, on the stack: the edge."""

    def emit(context, builder, signature, args):
        e = _Emitter(context, builder, signature.args[0].dtype)
        room = cgutils.alloca_once(builder, e.scalar, MR * _WIDEST * e.lanes)
        room.align = _LINE
        return room

    return like(like), emit


@intrinsic
def _nothing_ahead(typing, like):
    """An _AHEAD on the stack that asks for nothing new."""

    def emit(context, builder, signature, args):
        e = _Emitter(context, builder, signature.args[0].dtype)
        memory = cgutils.alloca_once(builder, ir.IntType(64), _AHEAD)
        fields = {_AT: builder.ptrtoint(args[0], ir.IntType(64)), _MASK: e.index(_NEVER)}
        for field in range(_AHEAD):
            builder.store(fields.get(field, e.index(0)), e.step(memory, field))
        return memory

    return types.CPointer(types.int64)(like), emit


# ---- Tasks ----------------------------------------------------------------------------------------------------------
# A task is what one thread does of an operation, task(a, b, c, work, sizes, step, t, threads): three operands, scratch
# memory, and a record of sizes that Python has planned. Tasks are compiled as C functions and called by address, from
# the only prange they share: Numba takes seconds over every prange, and generates what it calls three times over.


@intrinsic
def _call(typing, function, *args):
    """Calls the C function at an address, with pointers and int64; an address is passed as a pointer is."""

    def emit(context, builder, signature, values):
        function, packed = values
        arguments = cgutils.unpack_tuple(builder, packed, len(args))
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(function, types.BaseTuple.from_types(args)), emit


@_parallel
def _run(task, steps, a, b, c, work, sizes, threads):
    if threads == 1:  # a team of one costs a microsecond, too
        for step in range(steps):
            _call(task, a, b, c, work, sizes, step, 0, 1)
    else:
        _use_threads(threads)
        for step in range(steps):  # each begins when all threads have done the one before
            for t in prange(threads):
                _call(task, a, b, c, work, sizes, step, t, threads)


# ---- GEMM -----------------------------------------------------------------------------------------------------------


@_jit
def _share(count, t, threads):
    """First and last + 1 of the part of range(count) that is thread t's, as OpenMP's static schedule cuts it."""
    return count * t // threads, count * (t + 1) // threads


@_jit
def _begin(n, unit, t, threads):
    """Where thread t's share of n elements begins, in whole units; it ends where the next one's begins."""
    return min((n + unit - 1) // unit * t // threads * unit, n)


@_jit
def _pack_strips(k, columns, b, ldb, to, strip):
    """k rows of `columns` elements to strips of k x LANES, the last one padded with zeros."""
    lanes = _lanes(b)
    whole = columns - columns % lanes
    deep = k - k % _DEEP
    for p in range(0, deep, _DEEP):  # whole cache lines of a strip are written, and B is read as four streams
        _copy_rows(_at(b, p * ldb), ldb, _at(to, p * lanes), whole, strip)
    for p in range(deep, k):
        _copy_row(_at(b, p * ldb), ldb, _at(to, p * lanes), whole, strip)
    if whole < columns:
        last = _at(to, whole // lanes * strip)
        for p in range(k):
            for lane in range(lanes):
                last[p * lanes + lane] = b[p * ldb + whole + lane] if whole + lane < columns else 0


@_jit
def _pack_a(h, k, a, lda, to):
    """h rows of k elements to k columns of h elements, a square at a time: see csrc/per_isa/gemm.h."""
    lanes, p = _lanes(a), 0
    while (p + lanes) * h + lanes <= k * h:
        for i in range((h - 1) // lanes * lanes, -1, -lanes):
            _transpose(h - i, _at(a, i * lda + p), lda, _at(to, p * h + i), h)
        p += lanes
    while p < k:
        for i in range(h):
            to[p * h + i] = a[i * lda + p]
            _not_vectorised()
        p += 1


@_inlined
def _column(tiles_, kb, rows, tiles, tile, last, columns, a, b, apart, form, copy, c, ldc, accumulate, ahead):
    """A panel of B, for tiles of a form, against the row tiles [tile, last) of a packed block of A.

    Of strips the first one, two or four tiles ask for what memory has to deliver meanwhile, together one line for each
    that they read of B.
    """
    lanes, scratch, none = _lanes(b), _scratch(b), _nothing_ahead(a)
    wide = (columns + lanes - 1) // lanes
    whole = columns == wide * lanes
    asking = 1 if form != _PACKED else 4 if last - tile >= 4 else 2 if last - tile >= 2 else 1
    if form == _PACKED and ahead[_MASK] != _NEVER:
        ahead[_MASK] = _LINE // VECTOR_BYTES * asking - 1  # a line of a strip lasts that many steps
    for i in range(tile, last):
        first = rows * i // tiles
        h, to, ld = rows * (i + 1) // tiles - first, _at(c, first * ldc), ldc
        if not whole:
            to, ld = scratch, wide * lanes
        run = _pointer(none, tiles_)[_place(form, h, wide)]
        ask = ahead if i - tile < asking else none
        _call(run, kb, _at(a, first * kb), 0, b, apart, copy, to, ld, 1 if whole and accumulate else 0, ask)
        if not whole:
            _copy_edge(h, columns, scratch, ld, _at(c, first * ldc), ldc, accumulate)
        if form == _COPYING:
            b, apart, form = copy, kb * lanes, _PACKED


@_jit
def _copy_edge(h, columns, scratch, wide, c, ldc, accumulate):
    for r in range(h):
        for j in range(columns):
            c[r * ldc + j] = scratch[r * wide + j] + (c[r * ldc + j] if accumulate else 0)
            _not_vectorised()


@_jit
def _block(z, block):
    """Where a block begins: columns (LOOP 5), inner dimension (LOOP 4), rows (LOOP 3); rows change fastest."""
    rows, inner = (z.m + z.mc - 1) // z.mc, (z.k + z.kc - 1) // z.kc
    return block // (rows * inner) * z.nc, block // rows % inner * z.kc, block % rows * z.mc


def _gemm(a, b, c, work, sizes, step, t, threads):
    """C = A B in five loops around the register tile; without ldb B comes packed, as strips of all k.

    Each step multiplies one block of A and then packs the next; there is room for two.
    """
    z = carray(sizes, 1)[0]
    if step > 0 and t // z.across < z.down:  # the others only help to pack
        jc, pc, ic = _block(z, step - 1)
        lanes, line, k, ldb, width = _lanes(b), _LINE // z.itemsize, z.k, z.ldb, z.width
        nb, mb, kb = min(z.nc, z.n - jc), min(z.mc, z.m - ic), min(z.kc, k - pc)
        column, row, tiles = t % z.across, t // z.across, (mb + MR - 1) // MR
        tile, last = tiles * row // z.down, tiles * (row + 1) // z.down
        first, end = _begin(nb, width, column, z.across), _begin(nb, width, column + 1, z.across)
        packed, mine = _at(work, (step - 1) % 2 * z.a_block), _at(work, 2 * z.a_block + t * z.b_thread)
        ahead = _nothing_ahead(b)
        # Of B as it lies, several tiles ask for the next panel, row by row; a single one not so far ahead.
        lead = kb if last - tile > 1 else min(kb, _LEAD)
        if ldb > 0 and step == 1:
            for p in range(lead):
                for j in range(first, first + width, line):
                    _prefetch(_at(b, p * ldb + j))
        for jr in range(first, end, width):  # LOOP 2: panels of B; LOOP 1: tiles of A
            columns, more, lying = min(width, end - jr), jr + width < end, _at(b, pc * ldb + jc + jr)
            kept = _at(mine, (jr - first) // width % z.panels * kb * width)
            panel, apart, form = kept, kb * lanes, _PACKED
            ahead[_AT], ahead[_MASK] = _address(_at(kept, kb * width)), 0 if more else _NEVER
            if ldb == 0:
                panel, apart = _at(b, (jc + jr) * k + pc * lanes), k * lanes
                ahead[_AT] = _address(_at(panel, width * k))
            elif ic == 0 and columns % lanes == 0:
                panel, apart, form = lying, ldb, _LYING if last - tile == 1 and z.m <= z.mc else _COPYING
                then = _at(lying, width) if more else _at(b, (pc + kb) * ldb + jc + first) if pc + kb < k else lying
                ahead[_AT] = _address(_at(lying, lead * ldb) if lead < kb else then)
                ahead[_THEN], ahead[_LEFT] = _address(then), kb - lead
            elif ic == 0:
                _pack_strips(kb, columns, lying, ldb, kept, kb * lanes)
            to = _at(c, ic * z.ldc + jc + jr)
            _column(
                z.tiles, kb, mb, tiles, tile, last, columns, packed, panel, apart, form, kept, to, z.ldc, pc > 0, ahead
            )
    if step < z.blocks:
        _, pc, ic = _block(z, step)
        mb, kb, packed = min(z.mc, z.m - ic), min(z.kc, z.k - pc), _at(work, step % 2 * z.a_block)
        tiles = (mb + MR - 1) // MR
        for tile in range(tiles * t // threads, tiles * (t + 1) // threads):
            i = mb * tile // tiles
            h = mb * (tile + 1) // tiles - i
            _pack_a(h, kb, _at(a, (ic + i) * z.lda + pc), z.lda, _at(packed, i * kb))


def _pack(a, b, c, work, sizes, step, t, threads):
    """B in strips of all k, at c."""
    z = carray(sizes, 1)[0]
    unit = 8 * _LINE // z.itemsize
    j, end = _begin(z.n, unit, t, threads), _begin(z.n, unit, t + 1, threads)
    for jc in range(j, end, unit):
        _pack_strips(z.k, min(unit, end - jc), _at(b, jc), z.ldb, _at(c, jc * z.k), z.k * _lanes(b))


def _make_few_rows(held: int):
    add_deep = _make_add_deep(_DEEP, held)

    def _few_rows(a, b, c, work, sizes, step, t, threads):
        """C = A B for few rows of A: B is read once, as it lies, along its rows; the sums stay in cache."""
        z = carray(sizes, 1)[0]
        m, n, k, ldb, ld = z.m, z.n, z.k, z.ldb, z.ld
        deep, line = k // _DEEP, _LINE // z.itemsize
        body = deep * _DEEP
        if step == 0:  # A in the order of use: for each step the _DEEP elements of every row; then what is left of k
            for s in range(deep * t // threads, deep * (t + 1) // threads):
                for i in range(m):
                    for p in range(_DEEP):
                        work[(s * m + i) * _DEEP + p] = a[i * z.lda + s + p * deep]
            if t == 0:
                for p in range(body, k):
                    for i in range(m):
                        work[p * m + i] = a[i * z.lda + p]
            return
        sums, end = _at(work, z.packed_a + t * m * ld), _begin(n, line, t + 1, threads)
        for j in range(_begin(n, line, t, threads), end, z.nb):
            columns = min(z.nb, end - j)
            # sums that leave no room in L1 for what prefetchers bring there: ask for the next rows, into L2
            ahead = ldb if 2 * m * columns * z.itemsize >= _L1 else 0
            for i in range(m):
                for q in range(columns):
                    sums[i * ld + q] = 0
            for s in range(deep):
                add_deep(m, columns, _at(work, s * m * _DEEP), _at(b, s * ldb + j), deep * ldb, sums, ld, ahead)
            for p in range(body, k):
                _add_one(m, columns, _at(work, p * m), _at(b, p * ldb + j), 0, sums, ld, 0)
            for i in range(m):
                for q in range(columns):
                    c[i * z.ldc + j + q] = sums[i * ld + q]

    return _few_rows


_few_rows = functools.cache(_make_few_rows)


def _batch(a, b, c, work, sizes, step, t, threads):
    """Independent products: equal pieces of all their rows. Operands are read as they lie, but for a transposed B."""
    z = carray(sizes, 1)[0]
    r, last, strips = z.batch * z.m * t // threads, z.batch * z.m * (t + 1) // threads, _at(work, t * z.b_thread)
    while r < last:
        g, i = r // z.m, r % z.m
        h = min(z.m - i, last - r)
        left, right, to = _at(a, g * z.stride_a + i * z.lda), _at(b, g * z.stride_b), _at(c, g * z.stride_c + i * z.ldc)
        if z.m > 1:
            _small_product(z, h, left, right, to, strips)
        elif z.transposed:  # a single row isn't worth packing for
            _dot_rows(0, z.n, z.k, right, z.ldb, left, to)
        else:
            _add_rows(0, z.k, z.n, left, right, z.ldb, to)
        r += h


@_jit
def _pack_transposed(k, n, b, ldb, to, strip):
    """n rows of k elements to strips of the transposed, as _pack_strips makes them."""
    lanes = _lanes(b)
    for j in range(0, n, lanes):
        rows, target, p = _at(b, j * ldb), _at(to, j // lanes * strip), 0
        while j + lanes <= n and p + lanes <= k:
            _transpose(lanes, _at(rows, p), ldb, _at(target, p * lanes), lanes)
            p += lanes
        while p < k:
            for lane in range(lanes):
                target[p * lanes + lane] = rows[lane * ldb + p] if j + lane < n else 0
                _not_vectorised()
            p += 1


@_inlined
def _small_product(z, m, a, b, c, strips):
    """C[m, n] = A[m, k] B[k, n] on one thread."""
    lanes, scratch, none, tiles, ldb = _lanes(b), _scratch(b), _nothing_ahead(a), (m + MR - 1) // MR, z.ldb
    width = _at_once((m + tiles - 1) // tiles) * lanes
    for jc in range(0, z.n, z.nc):
        for pc in range(0, z.k, z.kc):
            nb, kb = min(z.nc, z.n - jc), min(z.kc, z.k - pc)
            # the columns from `edge` on come in strips: a tile at the edge may not read beyond B
            edge, strip = 0 if z.transposed else nb // width * width, kb * lanes
            if z.transposed:
                _pack_transposed(kb, nb, _at(b, jc * ldb + pc), ldb, strips, strip)
            elif edge < nb:
                _pack_strips(kb, nb - edge, _at(b, pc * ldb + jc + edge), ldb, _at(strips, edge * kb), strip)
            for tile in range(tiles):
                i = m * tile // tiles
                h = m * (tile + 1) // tiles - i
                for j in range(0, nb, width):
                    columns, form, panel, apart = min(width, nb - j), _DIRECT, _at(strips, j * kb), strip
                    if j < edge:
                        form, panel, apart = _BOTH, _at(b, pc * ldb + jc + j), ldb
                    wide = (columns + lanes - 1) // lanes
                    whole, here = columns == wide * lanes, _at(c, i * z.ldc + jc + j)
                    to, ld = (here, z.ldc) if whole else (scratch, wide * lanes)
                    run = _pointer(none, z.tiles)[_place(form, h, wide)]
                    x = _at(a, i * z.lda + pc)
                    _call(run, kb, x, z.lda, panel, apart, strips, to, ld, 1 if whole and pc > 0 else 0, none)
                    if not whole:
                        _copy_edge(h, columns, scratch, ld, here, z.ldc, pc > 0)


@_parallel(fastmath={"contract"})
def _gemm_naive(a, b, c, m, n, k, threads):
    _use_threads(threads)
    for i in prange(m):
        for j in range(n):
            total = a[i, 0] * b[0, j]
            for p in range(1, k):
                total += a[i, p] * b[p, j]
            c[i, j] = total


@_parallel(fastmath={"contract"})
def _gemm_tiled(a, b, c, m, n, k, threads):
    _use_threads(threads)
    nc = _L2 // 2 // _TILED_K // c.itemsize
    for t in prange(threads):
        i0, i1 = _share(m, t, threads)
        for i in range(i0, i1):
            for j in range(n):
                c[i, j] = 0
        for jc in range(0, n, nc):
            for pc in range(0, k, _TILED_K):
                for i in range(i0, i1):
                    target = c[i, jc : min(jc + nc, n)]
                    for p in range(pc, min(pc + _TILED_K, k)):
                        factor, source = a[i, p], b[p, jc : min(jc + nc, n)]
                        for j in range(target.size):
                            target[j] += factor * source[j]
                            _not_vectorised()


_SCALAR_MR, _SCALAR_NR = 6, 2  # 12 sums + 2 elements of B + 1 of A fit 16 registers
_SCALAR_PANELS = 128  # of B in a block


@_jit(fastmath={"contract"})
def _scalar_tile(k, a, b, c, i, j, rows, columns, add):
    """C[rows, columns] at (i, j) = or += a[k, 6] transposed times b[k, 2], packed panels; C stays in registers."""
    c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = c40 = c41 = c50 = c51 = c.dtype.type(0)
    for p in range(k):
        x, y = b[p, 0], b[p, 1]  # then row by row: all of x first would keep 6 elements of A alive and spill
        c00, c01 = c00 + a[p, 0] * x, c01 + a[p, 0] * y
        c10, c11 = c10 + a[p, 1] * x, c11 + a[p, 1] * y
        c20, c21 = c20 + a[p, 2] * x, c21 + a[p, 2] * y
        c30, c31 = c30 + a[p, 3] * x, c31 + a[p, 3] * y
        c40, c41 = c40 + a[p, 4] * x, c41 + a[p, 4] * y
        c50, c51 = c50 + a[p, 5] * x, c51 + a[p, 5] * y
    sums = (c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51)
    for r in range(min(rows, _SCALAR_MR)):
        for q in range(min(columns, _SCALAR_NR)):
            c[i + r, j + q] = sums[r * _SCALAR_NR + q] + (c[i + r, j + q] if add else 0)


@_parallel
def _gemm_packed(a, b, c, m, n, k, pa, pb, threads):
    """Blocks of B in the order in which the tile reads them, a thread's columns each; panels end in zeros."""
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(n, t, threads)
        for j0 in range(first, last, _SCALAR_PANELS * _SCALAR_NR):
            width = min(_SCALAR_PANELS * _SCALAR_NR, last - j0)
            panels = (width + _SCALAR_NR - 1) // _SCALAR_NR
            for p0 in range(0, k, _TILED_K):
                depth = min(_TILED_K, k - p0)
                for p in range(depth):
                    for j in range(panels):
                        for q in range(_SCALAR_NR):
                            column = j * _SCALAR_NR + q
                            pb[t, j, p, q] = b[p0 + p, j0 + column] if column < width else 0
                for i in range(0, m, _SCALAR_MR):
                    for r in range(_SCALAR_MR):
                        for p in range(depth):
                            pa[t, p, r] = a[i + r, p0 + p] if i + r < m else 0
                    for j in range(panels):
                        column = j * _SCALAR_NR
                        _scalar_tile(depth, pa[t], pb[t, j], c, i, j0 + column, m - i, width - column, p0 > 0)


# ---- GEMV -----------------------------------------------------------------------------------------------------------


@_jit
def _dot_rows(i, end, k, w, ld, x, y):
    """Rows [i, end) of y = W[., k] x, as _STREAMS equally long streams: see csrc/per_isa/gemv.h."""
    whole, each = k - k % (2 * _lanes(w)), (end - i) // _STREAMS
    for r in range(i, i + each):
        _dots_many(_at(w, r * ld), ld, each, x, whole, _at(y, r))
    for r in range(i + _STREAMS * each, end):
        _dots_one(_at(w, r * ld), ld, 0, x, whole, _at(y, r))
    if whole < k:
        for r in range(i, end):
            for p in range(whole, k):
                y[r] += w[r * ld + p] * x[p]


@_jit
def _add_rows(first, end, n, x, w, ld, y):
    """y[n] = the sum of x[p] W[p, n] over p in [first, end)."""
    whole, each = n - n % _lanes(w), (end - first) // _STREAMS
    for p in range(first, first + each):
        _add_many(_at(x, p), each, _at(w, p * ld), ld, y, whole, p > first)
    for p in range(first + _STREAMS * each, end):
        _add_row(_at(x, p), 0, _at(w, p * ld), ld, y, whole, p > first)
    for j in range(whole, n):
        total = _zero(x)
        for p in range(first, end):
            total += x[p] * w[p * ld + j]
        y[j] = total


def _gemv(w, x, y, work, sizes, step, t, threads):
    """Thread t's rows of y = W x."""
    z = carray(sizes, 1)[0]
    line = _LINE // z.itemsize
    _dot_rows(_begin(z.n, line, t, threads), _begin(z.n, line, t + 1, threads), z.k, w, z.ldw, x, y)


def _gemv_t(x, w, y, work, sizes, step, t, threads):
    """Thread t's rows of W into its own sums (step 0), then its columns of all sums into y (step 1)."""
    z = carray(sizes, 1)[0]
    n, k = z.n, z.k
    if step == 0:  # split by rows, not columns: each thread reads one contiguous piece of W
        mine = y if threads == 1 else _at(work, t * z.apart)
        _add_rows(k * t // threads, k * (t + 1) // threads, n, x, w, z.ldw, mine)
        return
    for j in range(_begin(n, _LINE // z.itemsize, t, threads), _begin(n, _LINE // z.itemsize, t + 1, threads)):
        total = _zero(x)
        for s in range(threads):
            if k * s // threads < k * (s + 1) // threads:  # with k < threads some had no row
                total += work[s * z.apart + j]
        y[j] = total


# ---- Between the products -------------------------------------------------------------------------------------------
# Threads take whole rows; vectors beyond three operands come as addresses among the sizes.


def _softmax(a, b, c, work, sizes, step, t, threads):
    """c = softmax(b[0] c) row by row; causal: row i of a matrix sees its first i + 1 + n - m columns."""
    z = carray(sizes, 1)[0]
    for i in range(z.rows * t // threads, z.rows * (t + 1) // threads):
        row = i % z.m
        s, seen = _at(c, i // z.m * z.stride + row * z.ldc), z.n
        if z.causal:
            seen = min(max(row + 1 + z.n - z.m, 0), z.n)
        _softmax_row(s, seen, b)
        for j in range(seen, z.n):
            s[j] = 0


def _norm(a, b, c, work, sizes, step, t, threads):
    """c = LayerNorm(a + b + bias) gain + shift, row by row."""
    z = carray(sizes, 1)[0]
    bias, gain, shift, eps = _pointer(a, z.bias), _pointer(a, z.gain), _pointer(a, z.shift), _pointer(a, z.eps)
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        _norm_row(z.n, _at(a, i * z.lda), _at(b, i * z.ldb), bias, gain, shift, eps, _at(c, i * z.ldc))


def _gelu(a, b, c, work, sizes, step, t, threads):
    """c = GELU(c + b)."""
    z = carray(sizes, 1)[0]
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        _gelu_row(z.tanh_form != 0, z.n, _at(c, i * z.ldc), b)


def _add_to(a, b, c, work, sizes, step, t, threads):
    """c += a + b, where there is an a."""
    z = carray(sizes, 1)[0]
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        _add_to_row(z.n, _at(c, i * z.ldc), _at(a, i * z.lda), b)


# ---- Streams --------------------------------------------------------------------------------------------------------
# Slices, because Numba guards an index against being negative unless it runs from 0, and a guarded loop stays scalar.


@_parallel
def _copy(a, c, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(a.size, t, threads)
        source, target = a[first:last], c[first:last]
        for i in range(target.size):
            target[i] = source[i]


@_parallel
def _scale(c, b, scalar, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(c.size, t, threads)
        source, target = c[first:last], b[first:last]
        for i in range(target.size):
            target[i] = scalar * source[i]


@_parallel
def _add(a, b, c, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(a.size, t, threads)
        left, right, target = a[first:last], b[first:last], c[first:last]
        for i in range(target.size):
            target[i] = left[i] + right[i]


@_parallel(fastmath={"contract"})
def _triad(b, c, a, scalar, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(a.size, t, threads)
        left, right, target = b[first:last], c[first:last], a[first:last]
        for i in range(target.size):
            target[i] = left[i] + scalar * right[i]


@_parallel
def _update(a, scalar, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(a.size, t, threads)
        part = a[first:last]
        for i in range(part.size):
            part[i] = scalar * part[i]


@_jit(fastmath={"reassoc"})  # one running sum would be a chain of additions, 3 or 4 cycles each: no read test
def _sum(a):
    total = 0.0
    for i in range(a.size):
        total += a[i]
    return total


@_parallel
def _read(a, s, partial, threads):
    _use_threads(threads)
    for t in prange(threads):
        first, last = _share(a.size, t, threads)
        partial[t] = _sum(a[first:last])
    s[0] = _sum(partial)


# ---- Binding: arrays to a bare call ---------------------------------------------------------------------------------


def _rows(array: np.ndarray) -> np.ndarray:
    """A matrix as C-ordered rows of its leading dimension: one compiled function serves every leading dimension.

    The last row then reaches past the end of the memory; the kernels, given the true width, never touch that part.
    """
    rows, columns = array.shape
    width = array.strides[0] // array.itemsize if rows > 1 else columns
    strides = (width * array.itemsize, array.itemsize)
    return np.lib.stride_tricks.as_strided(array, (rows, width), strides)


def _up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def _whole(a: int, b: int) -> int:
    """a rounded up to a multiple of b."""
    return _up(a, b) * b


def _c_function(name: str, function, *kinds):
    """A C function without a result, compiled or from the cache."""
    start = time.perf_counter()
    compiled = cfunc(types.void(*kinds), cache=True, error_model="numpy")(function)
    _first_call[name] = time.perf_counter() - start
    return compiled


@functools.cache
def _compiled(function, dtype: str, fields: tuple[str, ...]):
    """A task as a C function, and the dtype of its sizes."""
    record = np.dtype([(field, np.int64) for field in fields])
    number, pointer = types.int64, types.CPointer(numba.from_dtype(DTYPES[dtype]))
    sizes = types.CPointer(numba.from_dtype(record))
    name = f"{function.__name__.lstrip('_')}_{dtype}"
    return _c_function(name, function, *[pointer] * 4, sizes, number, number, number), record


@functools.cache
def _compiled_tile(form: int, h: int, v: int, dtype: str):
    """A tile as a C function."""

    def tile(k, a, lda, b, apart, copy, c, ldc, accumulate, ahead):
        _tile(form, h, v, k, a, lda, b, apart, copy, c, ldc, accumulate, ahead)

    i, p = types.int64, types.CPointer(numba.from_dtype(DTYPES[dtype]))
    name = f"{[*_FORMS][form]}_{h}x{v}_{dtype}"
    return _c_function(name, tile, i, p, i, p, i, p, p, i, i, types.CPointer(i))


def _tiles(itemsize: int, needed: set[tuple[int, int, int]]) -> np.ndarray:
    """The table of tiles, by _place(), with those that are needed: (form, height, vectors)."""
    table = np.zeros(_place(len(_FORMS), 0, 1), np.int64)
    for which in needed:
        table[_place(*which)] = _compiled_tile(*which, f"f{itemsize * 8}").address
    return table


def _tile_heights(rows: int) -> list[int]:
    """Of the tiles over which rows are spread."""
    tiles = _up(rows, MR)
    return [rows * (i + 1) // tiles - rows * i // tiles for i in range(tiles)]


def _panel_widths(columns: int, width: int) -> set[int]:
    """Of the panels that so many columns are cut into: whole ones, and what is left."""
    return {min(columns, width), columns % width} - {0}


def _launch(function, a, b, c, threads, steps=1, room=1, **sizes):
    """The call that runs a task on arrays and on scratch memory for `room` elements, with sizes; compiles the task.

    An operand that isn't there is None, its address 0; an array among the sizes becomes its address.
    """
    sizes["itemsize"] = c.itemsize
    task, record = _compiled(function, f"f{c.itemsize * 8}", tuple(sizes))
    work = aligned_empty(room, c.dtype)
    work[:] = 0  # the first touch belongs to the preparation
    values = np.array(tuple(map(_number, sizes.values())), record)
    call = _bind("parallel", _run, task.address, steps, *map(_number, (a, b, c, work, values)), threads)
    call.keep = a, b, c, work, values, sizes  # the addresses are only as good as the arrays are alive
    return call


def _number(value) -> int:
    """An integer as it is, an array's address, 0 for None."""
    return value.ctypes.data if isinstance(value, np.ndarray) else value or 0


def pack(b: np.ndarray, dtype: str, threads: int = 1) -> np.ndarray:
    """B[k, n] as strips of one vector, each k x LANES and contiguous; 1-D, aligned to 64 bytes."""
    k, n = b.shape
    packed = aligned_empty(_whole(n, VECTOR_BYTES // b.itemsize) * k, b.dtype)
    _launch(_pack, b, b, packed, threads, n=n, k=k, ldb=leading_dimension(b))()
    return packed


def _kc(itemsize: int) -> int:
    """Steps of k after which a tile's columns of B and its rows of A fill three L1s: see csrc/per_isa/gemm.h."""
    return max(64, _L1 * 3 // (MR * itemsize + _NV * VECTOR_BYTES))


def _prepare_blocks(a, b, c, threads, ldb):
    """The five loops, planned by what fits into each cache: see csrc/per_isa/gemm.h. Without ldb B is packed."""
    (m, k), n, size = a.shape, c.shape[1], c.itemsize
    lanes, line = VECTOR_BYTES // size, _LINE // size
    kc = _up(k, _up(k, _L2 // 2 // (MR * size) if m <= MR else _kc(size)))
    mc = max(MR, _L2 // 2 // (kc * size) // MR * MR)
    mc = _up(m, _up(m, mc))
    blocks = [_tile_heights(min(mc, m - ic)) for ic in range(0, m, mc)]
    width = _at_once(max(map(max, blocks))) * lanes
    piece = 2 * line if width > 2 * line else line  # of B as it lies, what memory delivers together is a pair of lines
    if ldb and width > piece:
        width = width // piece * piece
    nc = n if m <= mc else min(n, max(width * threads, _L3 // 2 // (kc * size) // width * width))
    panels, tiles = _up(nc, width), _up(mc, MR)
    # The grid of threads with the shortest longest share; on a tie the wider one. No more rows of threads than the
    # first block has tiles: whoever multiplies in a later block has copied its panels of B in the first.
    grids = [(w, min(threads // w, tiles)) for w in range(1, threads + 1)]
    across, down = min(grids, key=lambda grid: (_up(panels, grid[0]) * _up(tiles, grid[1]), -grid[0]))
    needed = set()
    for i, heights in enumerate(blocks):
        for row in range(down):
            mine = heights[len(heights) * row // down : len(heights) * (row + 1) // down]
            for columns in _panel_widths(n, width):
                form = _LYING if len(mine) == 1 and m <= mc else _COPYING
                if not ldb or i > 0 or columns % lanes:
                    form = _PACKED
                needed |= {(_PACKED if tile else form, h, _up(columns, lanes)) for tile, h in enumerate(mine)}
    kept = 1 if m <= mc else _up(panels, across) + 1
    a_block, b_thread = _whole(mc * kc, line), kept * kc * width if ldb else 0
    steps = len(blocks) * _up(n, nc) * _up(k, kc)
    return _launch(
        _gemm, a, b, c, threads, steps + 1, 2 * a_block + threads * b_thread,
        m=m, n=n, k=k, lda=leading_dimension(a), ldb=ldb, ldc=leading_dimension(c), kc=kc, mc=mc, nc=nc, width=width,
        panels=kept, across=across, down=down, a_block=a_block, b_thread=b_thread, blocks=steps,
        tiles=_tiles(size, needed),
    )  # fmt: skip


def _prepare_few(a, b, c, threads):
    """Few rows, in columns whose sums fill a quarter of L2: see csrc/per_isa/few.h."""
    (m, k), n, line = a.shape, c.shape[1], _LINE // c.itemsize
    width = _up(n, threads)
    nb = _whole(_up(width, _up(width, _L2 // 4 // (m * c.itemsize))), line)
    page = 4096 // c.itemsize
    packed_a, ld = _whole(m * k, line), _whole(nb, page) + page // 16
    return _launch(
        _few_rows(m if m <= _HELD else 0), a, b, c, threads, 2, packed_a + threads * m * ld,
        m=m, n=n, k=k, lda=leading_dimension(a), ldb=leading_dimension(b), ldc=leading_dimension(c), nb=nb, ld=ld,
        packed_a=packed_a,
    )  # fmt: skip


def _prepare_gemm(a, b, c, threads):
    return _prepare_few(a, b, c, threads) if len(a) <= _FEW else _prepare_blocks(a, b, c, threads, leading_dimension(b))


def _prepare_batch(transposed: bool):
    """Many small products: see csrc/per_isa/batch.h."""

    def prepare(a, b, c, threads):
        (batch, m, k), n, size = a.shape, c.shape[2], c.itemsize
        lanes, kc = VECTOR_BYTES // size, _up(k, _up(k, _kc(size)))
        nr = _NV * lanes
        nc = min(n, max(4 * nr, _L1 // 2 // (kc * size) // nr * nr))
        b_thread = _whole(_whole(nc, lanes) * kc, _LINE // size) if m > 1 else 0
        ends = sorted({*range(0, batch * m + 1, m), *(batch * m * t // threads for t in range(threads))})
        needed = set()
        for rows in {end - begin for begin, end in itertools.pairwise(ends)} if m > 1 else ():
            heights = set(_tile_heights(rows))
            width = _at_once(max(heights)) * lanes
            for nb in {nc, n - (n - 1) // nc * nc}:
                edge = 0 if transposed else nb // width * width
                for form, columns in ((_BOTH, edge), (_DIRECT, nb - edge)):
                    needed |= {(form, h, _up(w, lanes)) for h in heights for w in _panel_widths(columns, width)}
        return _launch(
            _batch, a, b, c, threads, 1, threads * b_thread,
            batch=batch, m=m, n=n, k=k, lda=leading_dimension(a), ldb=leading_dimension(b), ldc=leading_dimension(c),
            stride_a=a.strides[0] // size, stride_b=b.strides[0] // size, stride_c=c.strides[0] // size,
            transposed=int(transposed), kc=kc, nc=nc, b_thread=b_thread, tiles=_tiles(size, needed),
        )  # fmt: skip

    return prepare


def _prepare_plain(function):
    return lambda a, b, c, threads: (function, _rows(a), _rows(b), _rows(c), *c.shape, a.shape[1], threads)


def _prepare_packed(a, b, c, threads):
    pa = aligned_empty((threads, _TILED_K, _SCALAR_MR), a.dtype)
    pb = aligned_empty((threads, _SCALAR_PANELS, _TILED_K, _SCALAR_NR), a.dtype)
    return _gemm_packed, _rows(a), _rows(b), _rows(c), *c.shape, a.shape[1], pa, pb, threads


def _prepare_gemv(w, x, y, threads):
    return _launch(_gemv, w, x, y, threads, n=y.size, k=x.size, ldw=leading_dimension(w))


def _prepare_gemv_t(x, w, y, threads):
    apart = _whole(y.size, _LINE // y.itemsize)  # threads never share a cache line of their sums
    return _launch(
        _gemv_t, x, w, y, threads, min(threads, 2), threads * apart if threads > 1 else 1,
        n=y.size, k=x.size, ldw=leading_dimension(w), apart=apart,
    )  # fmt: skip


def _team(elements: int, threads: int) -> int:
    return 1 if elements <= _ALONE else threads


def _prepare_softmax(causal: bool):
    def prepare(scale, s, threads):
        batch, m, n = s.shape
        return _launch(
            _softmax, None, scale, s, _team(s.size, threads),
            rows=batch * m, m=m, n=n, ldc=leading_dimension(s), stride=s.strides[0] // s.itemsize, causal=int(causal),
        )  # fmt: skip

    return prepare


def _prepare_norm(x, r, bias, gain, shift, eps, y, threads):
    return _launch(
        _norm, x, r, y, _team(y.size, threads),
        m=y.shape[0], n=y.shape[1], lda=leading_dimension(x), ldb=0 if r is None else leading_dimension(r),
        ldc=leading_dimension(y), bias=bias, gain=gain, shift=shift, eps=eps,
    )  # fmt: skip


def _prepare_gelu(tanh_form: bool):
    def prepare(bias, x, threads):
        m, n = x.shape
        sizes = {"m": m, "n": n, "ldc": leading_dimension(x), "tanh_form": int(tanh_form)}
        return _launch(_gelu, None, bias, x, _team(x.size, threads), **sizes)

    return prepare


def _prepare_add_to(r, bias, x, threads):
    (m, n), lda = x.shape, 0 if r is None else leading_dimension(r)
    return _launch(_add_to, r, bias, x, _team(x.size, threads), m=m, n=n, lda=lda, ldc=leading_dimension(x))


_OPERATIONS = {
    "gemm": _prepare_gemm,
    "gemm_naive": _prepare_plain(_gemm_naive),
    "gemm_tiled": _prepare_plain(_gemm_tiled),
    "gemm_packed": _prepare_packed,
    "gemm_prepacked": functools.partial(_prepare_blocks, ldb=0),
    "gemm_batch": _prepare_batch(transposed=False),
    "gemm_batch_t": _prepare_batch(transposed=True),
    "gemv": _prepare_gemv,
    "gemv_t": _prepare_gemv_t,
    "softmax": _prepare_softmax(causal=False),
    "softmax_causal": _prepare_softmax(causal=True),
    "layer_norm": lambda x, *norm: _prepare_norm(x, None, None, *norm),
    "residual_norm": _prepare_norm,
    "gelu": _prepare_gelu(tanh_form=False),
    "gelu_tanh": _prepare_gelu(tanh_form=True),
    "bias": functools.partial(_prepare_add_to, None),
    "residual": _prepare_add_to,
}
_STREAM_OPERATIONS = {
    "copy": lambda a, c, threads: (_copy, a, c, threads),
    "scale": lambda c, b, threads: (_scale, c, b, SCALAR, threads),
    "add": lambda a, b, c, threads: (_add, a, b, c, threads),
    "triad": lambda b, c, a, threads: (_triad, b, c, a, SCALAR, threads),
    "update": lambda a, threads: (_update, a, UPDATE_SCALAR, threads),
    "read": lambda a, s, threads: (_read, a, s, np.empty(threads), threads),
}

_first_call: dict[str, float] = {}


def _bind(name: str, function, *args):
    """The compiled function applied to args, past Numba's look-up of argument types; compiles it if need be."""
    # Read-only arrays pass as writeable ones, lest every function be compiled for both; none writes to its inputs.
    kinds = [numba.typeof(arg) for arg in args]
    signature = tuple(kind.copy(readonly=False) if isinstance(kind, types.Array) else kind for kind in kinds)
    if signature not in function.overloads:
        start = time.perf_counter()
        function.compile(signature)
        _first_call[name] = time.perf_counter() - start
    return functools.partial(function.get_overload(signature), *args)


def binder(operation: str, dtype: str) -> Callable[..., Callable[[], None]]:
    """bind(*inputs, out, threads) for an operation on "f32" or "f64": a callable that runs it once on those arrays.

    Of an operation in place the first input is `out`, and isn't given again.

    All preparation, compiling included, is done by bind; scratch memory belongs to the callable.
    """
    prepare = (_OPERATIONS | _STREAM_OPERATIONS)[operation]

    def bind(*inputs: np.ndarray, out: np.ndarray, threads: int) -> Callable[[], None]:
        prepared = prepare(*inputs, out, threads)
        return prepared if callable(prepared) else _bind(f"{operation}_{dtype}", *prepared)

    return bind


OPERATIONS: tuple[tuple[str, str], ...] = (
    *((operation, dtype) for operation in _OPERATIONS for dtype in DTYPES),
    *((operation, "f64") for operation in _STREAM_OPERATIONS),
)
"""(operation, dtype) of every kernel."""


def isa() -> str:
    """The ISA whose register tile and vector width the kernels use; the compiler may use all that the host has."""
    widest = "neon" if platform.machine() in ("aarch64", "arm64") else "generic"
    return {64: "avx512", 32: "avx2"}.get(VECTOR_BYTES, widest)


def threads_available() -> int:
    """Most threads a callable may be bound with."""
    return numba.config.NUMBA_NUM_THREADS


def first_call_seconds() -> dict[str, float]:
    """Seconds that compiling each function, or loading it from the cache, took in this process."""
    return dict(_first_call)


@functools.cache
def evidence() -> dict[str, dict[str, int | bool]]:
    """Widest multiplying vector (bits) and use of FMA in the machine code of each microkernel, as compiled here.

    They are compiled alone and afresh, in about a second: a function from the cache has no assembly to look into.
    """
    found = {}
    for dtype, kind in (("f32", types.float32), ("f64", types.float64)):
        i, p = types.int64, types.CPointer(kind)
        for operation, kernel, signature in (
            ("gemm", lambda k, a, c: _tile(_PACKED, MR, _NV, k, a, 0, a, k, a, c, k, 1, _nothing_ahead(a)), (i, p, p)),
            ("gemv", lambda w, x, y, k: _dots_many(w, k, k, x, k, y), (p, p, p, i)),
            ("gemv_t", lambda x, w, y, n: _add_many(x, 1, w, n, y, n, True), (p, p, p, i)),
        ):
            asm = njit(signature)(kernel).inspect_asm(signature)
            widths = [
                {"x": 128, "y": 256, "z": 512}[name]
                for name in re.findall(r"\bv?(?:fn?madd\w*|mul)p[sd]\s.*%([xyz])mm", asm)
            ]
            widths += [128 for _ in re.findall(r"\bv\d+\.(?:2d|4s)", asm)]
            fma = re.search(r"\b(?:vfn?m(?:add|sub)\d+p|fml[as]\b)", asm)
            found[f"{operation}_{dtype}"] = {"vector_bits": max(widths, default=0), "fma": fma is not None}
    return found
