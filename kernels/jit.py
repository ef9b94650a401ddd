"""The operations in Numba: the same loops and register tiles as the C side, compiled when first bound.

GEMM is the five loops around packed panels. Its innermost step, one register tile, and the inner loops of GEMV are
intrinsics that emit vector LLVM IR, since a vector width left to the auto-vectoriser depends on the CPU's name (Intel
names get half of AVX-512) and a float sum isn't vectorised at all. The rest is plain Python loops that Numba compiles.

Panels: A becomes panels of mr rows, B panels of nr columns; a panel holds all k steps contiguously (k x mr, k x nr) and
the last one is padded with zeros, so no edge kernel exists: an edge tile is computed whole in scratch, its valid part
copied out. A padded lane never meets a valid output, hence NaN and Inf go exactly where the mathematics sends them.

Everything sits in one file because Numba's cache notices only edits of the file that holds the cached function.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
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
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.native import lib
from kernels.operands import aligned_empty
from kernels.reference import DTYPES, SCALAR, UPDATE_SCALAR

# ---- What this machine offers ---------------------------------------------------------------------------------------


def _vector_bytes() -> int:
    """Widest vectors this CPU multiplies and adds in one instruction, or fewer where RIDGELINE_ISA says so."""
    has = llvm.get_host_cpu_features()
    widest = 64 if has.get("avx512f") else 32 if has.get("avx2") and has.get("fma") else 16
    return min(widest, {"generic": 16, "neon": 16, "avx2": 32}.get(os.environ.get("RIDGELINE_ISA", ""), 64))


VECTOR_BYTES = _vector_bytes()
# Rows and vectors of the register tile: mr * nv accumulators + nv vectors of B + 1 broadcast of A fill the registers.
_NEON = platform.machine() in ("aarch64", "arm64")
MR, _NV = {64: (14, 2), 32: (6, 2), 16: (7, 3) if _NEON else (4, 2)}[VECTOR_BYTES]
_REGISTERS = 32 if _NEON or VECTOR_BYTES == 64 else 16
assert MR * _NV + _NV + 1 <= _REGISTERS

_LINE = 64  # bytes of a cache line, and the alignment of every buffer made here
_NR_BYTES = _NV * VECTOR_BYTES
_L1, _L2 = lib.cache_bytes(1), lib.cache_bytes(2)
_KC = max(64, _L1 // 2 // _NR_BYTES)  # a kc x nr panel of B takes half of L1; the same for every dtype
_MC_BYTES = _L2 // 2 // _KC  # mc rows x kc of A take half of L2; mc = this / itemsize
_B_BYTES = _L2 // 2  # B packed at a time per thread: half of L2, so that it is still there to be multiplied,
_B_PANELS = 8  # but that many panels at least, for each of them reads all of A; they are packed side by side
_TILED_K = 64  # gemm_tiled: rows of the B block whose columns fill half of L2
_GEMV_ROWS, _GEMV_UNROLL, _GEMV_T_ROWS = 4, 2, 8


def tile(dtype: str) -> tuple[int, int, int]:
    """Rows, columns and vector bytes of the register tile for "f32" or "f64"."""
    return MR, _NR_BYTES // DTYPES[dtype].itemsize, VECTOR_BYTES


# ---- Numba's settings, before anything is decorated -----------------------------------------------------------------


def _cache_dir() -> str:
    """The cache folder of this CPU, Numba version, source and vector width; a temporary one if home isn't writable."""
    source = hashlib.sha256(Path(__file__).read_bytes() + b"%d" % VECTOR_BYTES).hexdigest()[:12]
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
# Unfused: Numba can't see that a call in one prange writes what a call in the next one reads.
_parallel = functools.partial(_jit, parallel={"fusion": False})

# The symbol under numba.set_num_threads, which costs 2 us from Python and keeps compiled callers out of the cache.
_use_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))

# ---- Vector intrinsics ----------------------------------------------------------------------------------------------


class _Emitter:
    """The vector operations the intrinsics are made of, for one element type."""

    def __init__(self, context, builder, dtype):
        self.builder, self.context = builder, context
        self.scalar = context.get_value_type(dtype)
        self.itemsize = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def index(self, value: int) -> ir.Constant:
        return ir.Constant(ir.IntType(64), value)

    def pointer(self, array_type, array, *offsets):
        """Address of element sum(offsets) of an array, whatever its number of dimensions."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return functools.reduce(lambda at, offset: self.builder.gep(at, [offset]), offsets, data)

    def step(self, pointer, offset):
        return self.builder.gep(pointer, [self.index(offset) if isinstance(offset, int) else offset])

    def load(self, pointer):  # element alignment: user arrays promise no more, and on current CPUs it costs nothing
        return self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def store(self, value, pointer):
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.itemsize)

    def broadcast(self, pointer):
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def _call(self, name, result, *args, **flags):
        function_type = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, f"llvm.{name}.{self.suffix}")
        return self.builder.call(function, args, **flags)

    def fma(self, x, y, z):
        """x * y + z: fmuladd is one instruction where the CPU has it and never a library call where it hasn't."""
        return self._call("fmuladd", self.vector, x, y, z)

    def sum(self, value):
        return self._call("vector.reduce.fadd", self.scalar, self.scalar(0), value, fastmath=("reassoc",))

    def accumulators(self, count: int):
        return [cgutils.alloca_once_value(self.builder, ir.Constant(self.vector, None)) for _ in range(count)]


@intrinsic
def _tile(typing, k, a, a0, b, b0, c, c0, edge, edge0, full, add):
    """C[mr, nr] at c0 = or += packed A panel at a0 times packed B panel at b0, over k steps; C stays in registers.

    A tile that isn't full is stored in edge at edge0, rows nr apart, and never added to what is there.
    """

    def emit(context, builder, signature, args):
        v = _Emitter(context, builder, signature.args[1].dtype)
        k, full, add = args[0], args[9], args[10]
        a, b, c, edge = (v.pointer(signature.args[i], args[i], args[i + 1]) for i in (1, 3, 5, 7))
        ldc = builder.extract_value(context.make_array(signature.args[5])(context, builder, args[5]).shape, 1)
        target = builder.select(full, c, edge)
        ldt = builder.select(full, ldc, v.index(_NV * v.lanes))
        sums = v.accumulators(MR * _NV)
        with cgutils.for_range(builder, k) as loop:
            ap = v.step(a, builder.mul(loop.index, v.index(MR)))
            bp = v.step(b, builder.mul(loop.index, v.index(_NV * v.lanes)))
            columns = [v.load(v.step(bp, j * v.lanes)) for j in range(_NV)]
            for i in range(MR):
                row = v.broadcast(v.step(ap, i))
                for at, column in zip(sums[i * _NV :], columns, strict=False):
                    builder.store(v.fma(row, column, builder.load(at)), at)
        rows = [v.step(target, builder.mul(ldt, v.index(i))) for i in range(MR)]
        places = [v.step(row, j * v.lanes) for row in rows for j in range(_NV)]
        with builder.if_then(builder.and_(full, add)):
            for at, place in zip(sums, places, strict=True):
                builder.store(builder.fadd(v.load(place), builder.load(at)), at)
        for at, place in zip(sums, places, strict=True):
            v.store(builder.load(at), place)
        return context.get_dummy_value()

    return types.void(k, a, a0, b, b0, c, c0, edge, edge0, types.boolean, types.boolean), emit


@intrinsic
def _copy_row(typing, source, s0, target, t0):
    """target[t0 : t0 + nr] = source[s0 : s0 + nr], in vectors."""

    def emit(context, builder, signature, args):
        v = _Emitter(context, builder, signature.args[0].dtype)
        s, t = (v.pointer(signature.args[i], args[i], args[i + 1]) for i in (0, 2))
        for j in range(_NV):
            v.store(v.load(v.step(s, j * v.lanes)), v.step(t, j * v.lanes))
        return context.get_dummy_value()

    return types.void(source, s0, target, t0), emit


def _make_dots(rows: int, unroll: int):
    @intrinsic
    def dots(typing, w, w0, ld, x, count, y, y0):
        """y[y0 + r] = sum of w[w0 + r*ld + i] * x[i] over i < count, for `rows` rows; count: full unrolled steps."""

        def emit(context, builder, signature, args):
            v = _Emitter(context, builder, signature.args[0].dtype)
            _, w0, ld, _, count, _, y0 = args
            w, y = v.pointer(signature.args[0], args[0], w0), v.pointer(signature.args[5], args[5], y0)
            x = v.pointer(signature.args[3], args[3])
            starts = [v.step(w, builder.mul(ld, v.index(r))) for r in range(rows)]
            sums = v.accumulators(rows * unroll)
            with cgutils.for_range_slice(builder, v.index(0), count, v.index(unroll * v.lanes)) as (i, _):
                for u in range(unroll):
                    offset = builder.add(i, v.index(u * v.lanes))
                    xs = v.load(v.step(x, offset))
                    for start, at in zip(starts, sums[u::unroll], strict=True):
                        builder.store(v.fma(v.load(v.step(start, offset)), xs, builder.load(at)), at)
            for r in range(rows):
                total = functools.reduce(builder.fadd, [builder.load(at) for at in sums[r * unroll : (r + 1) * unroll]])
                builder.store(v.sum(total), v.step(y, r))
            return context.get_dummy_value()

        return types.void(w, w0, ld, x, count, y, y0), emit

    return dots


_dots_many, _dots_one = _make_dots(_GEMV_ROWS, _GEMV_UNROLL), _make_dots(1, 8)


@intrinsic
def _add_rows(typing, w, w0, ld, x, x0, y, y0, count):
    """y[y0 + j] += sum of x[x0 + r] * w[w0 + r*ld + j] over the _GEMV_T_ROWS rows r, for j < count; whole vectors."""

    def emit(context, builder, signature, args):
        v = _Emitter(context, builder, signature.args[0].dtype)
        _, w0, ld, _, x0, _, y0, count = args
        w, x, y = (v.pointer(signature.args[i], args[i], at) for i, at in ((0, w0), (3, x0), (5, y0)))
        starts = [v.step(w, builder.mul(ld, v.index(r))) for r in range(_GEMV_T_ROWS)]
        factors = [v.broadcast(v.step(x, r)) for r in range(_GEMV_T_ROWS)]
        with cgutils.for_range_slice(builder, v.index(0), count, v.index(v.lanes)) as (j, _):
            total = v.load(v.step(y, j))
            for start, factor in zip(starts, factors, strict=True):
                total = v.fma(v.load(v.step(start, j)), factor, total)
            v.store(total, v.step(y, j))
        return context.get_dummy_value()

    return types.void(w, w0, ld, x, x0, y, y0, count), emit


# ---- GEMM -----------------------------------------------------------------------------------------------------------


@_jit
def _share(count, t, threads):
    """First and last + 1 of the part of range(count) that is thread t's, as OpenMP's static schedule cuts it."""
    return count * t // threads, count * (t + 1) // threads


@_jit
def _pack_a(a, m, k, t, threads, packed):
    """Thread t's share of the panels of A."""
    first, last = _share((m + MR - 1) // MR, t, threads)
    for panel in range(first, last):
        start, rows = panel * MR * k, min(MR, m - panel * MR)
        if rows == MR:  # the constant trip count unrolls
            for p in range(k):
                for r in range(MR):
                    packed[start + p * MR + r] = a[panel * MR + r, p]
        else:
            for p in range(k):
                for r in range(MR):
                    packed[start + p * MR + r] = a[panel * MR + r, p] if r < rows else 0


@_jit
def _pack_b(b, j0, n, k, t, threads, packed):
    """Thread t's share of the panels of B's columns j0 .. j0 + n."""
    nr = _NR_BYTES // b.itemsize
    first, last = _share((n + nr - 1) // nr, t, threads)
    for group in range(first, last, _B_PANELS):  # long reads along a row, not a cache line per page
        whole = min(group + _B_PANELS, last, n // nr)
        for p in range(k):
            for panel in range(group, whole):
                _copy_row(b, p * b.shape[1] + j0 + panel * nr, packed, (panel * k + p) * nr)
    if last * nr > n:
        for p in range(k):
            for j in range(nr):
                column = (last - 1) * nr + j
                packed[((last - 1) * k + p) * nr + j] = b[p, j0 + column] if column < n else 0


@_jit
def _multiply(pa, pb, c, m, n, k, j0, edges, t, threads):
    """Thread t's rectangle of C[:, j0 : j0 + n] = A times packed B: the five loops around the register tile."""
    nr = _NR_BYTES // c.itemsize
    a_panels, b_panels = (m + MR - 1) // MR, (n + nr - 1) // nr
    across, fewest = threads, a_panels * b_panels + 1  # the grid of threads whose busiest one has the fewest tiles
    for columns in range(threads, 0, -1):
        if threads % columns == 0:
            rows = threads // columns
            tiles = ((a_panels + rows - 1) // rows) * ((b_panels + columns - 1) // columns)
            if tiles < fewest:
                across, fewest = columns, tiles
    i_first, i_last = _share(a_panels, t // across, threads // across)
    j_first, j_last = _share(b_panels, t % across, across)
    k_blocks = (k + _KC - 1) // _KC  # equal blocks, lest a k just above kc leave a sliver
    mc_panels = max(1, _MC_BYTES // c.itemsize // MR)
    edge = t * MR * nr
    nc_panels = max(_B_PANELS, _B_BYTES // (k * _NR_BYTES))
    for jc in range(j_first, j_last, nc_panels):  # LOOP 5: a block of B, in L2 or L3
        for pc in range(k_blocks):  # LOOP 4: a k block, its B panel in L1
            p0, p1 = _share(k, pc, k_blocks)
            for ic in range(i_first, i_last, mc_panels):  # LOOP 3: a block of A, in L2
                for j in range(jc, min(jc + nc_panels, j_last)):  # LOOP 2
                    b0, columns = (j * k + p0) * nr, min(nr, n - j * nr)
                    for i in range(ic, min(ic + mc_panels, i_last)):  # LOOP 1
                        a0, rows, c0 = (i * k + p0) * MR, min(MR, m - i * MR), i * MR * c.shape[1] + j0 + j * nr
                        full = rows == MR and columns == nr
                        _tile(p1 - p0, pa, a0, pb, b0, c, c0, edges, edge, full, pc > 0)
                        if not full:
                            for r in range(rows):
                                for q in range(columns):
                                    before = c[i * MR + r, j0 + j * nr + q] if pc > 0 else 0
                                    c[i * MR + r, j0 + j * nr + q] = before + edges[edge + r * nr + q]


@_jit
def _gemm_step(step, a, b, c, m, n, k, nc, pa, pb, edges, t, threads):
    """Thread t's part of packing (even steps) or of multiplying (odd steps); B comes packed if b has no columns."""
    j0 = step // 2 * nc
    if step % 2:
        _multiply(pa, pb, c, m, min(nc, n - j0), k, j0, edges, t, threads)
    else:
        if step == 0:
            _pack_a(a, m, k, t, threads, pa)
        if b.shape[1]:
            _pack_b(b, j0, min(nc, n - j0), k, t, threads, pb)


@_parallel
def _gemm(a, b, c, m, n, k, nc, pa, pb, edges, threads):
    _use_threads(threads)
    for step in range((n + nc - 1) // nc * 2):  # blocks of B packed together, a share in each thread's L2
        for t in prange(threads):  # one prange for both kinds of step, since each costs seconds to compile
            _gemm_step(step, a, b, c, m, n, k, nc, pa, pb, edges, t, threads)


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


# ---- GEMV -----------------------------------------------------------------------------------------------------------


@_parallel
def _gemv(w, x, y, n, k, threads):
    _use_threads(threads)
    lanes = VECTOR_BYTES // w.itemsize
    many, one, ld = k - k % (lanes * _GEMV_UNROLL), k - k % (lanes * 8), w.shape[1]
    for t in prange(threads):
        first, last = _share(n, t, threads)
        grouped = last - (last - first) % _GEMV_ROWS
        for i in range(first, grouped, _GEMV_ROWS):
            _dots_many(w, i * ld, ld, x, many, y, i)
            for r in range(i, i + _GEMV_ROWS):
                for p in range(many, k):
                    y[r] += w[r, p] * x[p]
        for i in range(grouped, last):
            _dots_one(w, i * ld, ld, x, one, y, i)
            for p in range(one, k):
                y[i] += w[i, p] * x[p]


@_jit
def _gemv_t_step(step, x, w, y, n, k, partial, t, threads):
    """Thread t's rows of W into its own partial sums (step 0), then its columns of all partial sums into y (step 1)."""
    if step == 0:
        mine, ld, whole = partial[t], w.shape[1], n - n % (VECTOR_BYTES // w.itemsize)
        first, last = _share(k, t, threads)
        grouped = last - (last - first) % _GEMV_T_ROWS
        for j in range(n):
            mine[j] = 0
        for p in range(first, grouped, _GEMV_T_ROWS):
            _add_rows(w, p * ld, ld, x, p, mine, 0, whole)
            for r in range(p, p + _GEMV_T_ROWS):
                for j in range(whole, n):
                    mine[j] += x[r] * w[r, j]
        for p in range(grouped, last):
            factor, row = x[p], w[p]
            for j in range(n):
                mine[j] += factor * row[j]
    else:
        first, last = _share(n, t, threads)
        for j in range(first, last):
            y[j] = partial[0, j]
            for other in range(1, threads):
                y[j] += partial[other, j]


@_parallel
def _gemv_t(x, w, y, n, k, partial, threads):
    _use_threads(threads)
    for step in range(2):  # split by rows, not columns: each thread reads one contiguous piece of W
        for t in prange(threads):
            _gemv_t_step(step, x, w, y, n, k, partial, t, threads)


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


def packed_size(k: int, n: int, dtype: str) -> int:
    """Elements in packed B[k, n]: whole panels of nr columns."""
    nr = tile(dtype)[1]
    return -(-n // nr) * nr * k


def pack(b: np.ndarray, dtype: str) -> np.ndarray:
    """B[k, n] as panels of nr columns, each k x nr and contiguous; 1-D, aligned to 64 bytes."""
    k, n = b.shape
    packed = aligned_empty(packed_size(k, n, dtype), DTYPES[dtype])
    _bind(f"pack_{dtype}", _pack_b, _rows(b), 0, n, k, 0, 1, packed)()
    return packed


def _bind_gemm(a, b, c, nc, packed, threads):
    """Function and arguments of a product, with room for packed A and for a tile per thread at the edges."""
    (m, k), n = a.shape, c.shape[1]
    pa, edges = (
        aligned_empty(-(-m // MR) * MR * k, a.dtype),
        aligned_empty(threads * MR * _NR_BYTES // a.itemsize, a.dtype),
    )
    return _gemm, _rows(a), b, _rows(c), m, n, k, nc, pa, packed, edges, threads


def _prepare_gemm(a, b, c, threads):
    k, n, nr = a.shape[1], c.shape[1], _NR_BYTES // a.itemsize
    nc = min(-(-n // nr), threads * max(_B_PANELS, _B_BYTES // (k * _NR_BYTES))) * nr
    return _bind_gemm(a, _rows(b), c, nc, aligned_empty(k * nc, a.dtype), threads)


def _prepare_prepacked(a, packed, c, threads):
    return _bind_gemm(a, np.empty((1, 0), a.dtype), c, c.shape[1], packed, threads)


def _prepare_plain(function):
    return lambda a, b, c, threads: (function, _rows(a), _rows(b), _rows(c), *c.shape, a.shape[1], threads)


def _prepare_gemv_t(x, w, y, threads):
    width = -(-y.nbytes // _LINE) * _LINE // y.itemsize  # threads never share a cache line of partial sums
    return (
        _gemv_t,
        x,
        _rows(w),
        y,
        y.size,
        x.size,
        aligned_empty(threads * width, y.dtype).reshape(threads, width),
        threads,
    )


_OPERATIONS = {
    "gemm": _prepare_gemm,
    "gemm_naive": _prepare_plain(_gemm_naive),
    "gemm_tiled": _prepare_plain(_gemm_tiled),
    "gemm_prepacked": _prepare_prepacked,
    "gemv": lambda w, x, y, threads: (_gemv, _rows(w), x, y, *w.shape, threads),
    "gemv_t": _prepare_gemv_t,
    "copy": lambda a, c, threads: (_copy, a, c, threads),
    "scale": lambda c, b, threads: (_scale, c, b, SCALAR, threads),
    "add": lambda a, b, c, threads: (_add, a, b, c, threads),
    "triad": lambda b, c, a, threads: (_triad, b, c, a, SCALAR, threads),
    "update": lambda a, threads: (_update, a, UPDATE_SCALAR, threads),
    "read": lambda a, s, threads: (_read, a, s, np.empty(threads), threads),
}

_first_call: dict[str, float] = {}


def _bind(name: str, function, *args) -> Callable[[], None]:
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

    All preparation, compiling included, is done by bind; scratch memory belongs to the callable.
    """
    prepare = _OPERATIONS[operation]

    def bind(*inputs: np.ndarray, out: np.ndarray, threads: int) -> Callable[[], None]:
        return _bind(f"{operation}_{dtype}", *prepare(*inputs, out, threads))

    return bind


OPERATIONS: tuple[tuple[str, str], ...] = tuple(
    (operation, dtype) for operation in _OPERATIONS for dtype in (DTYPES if operation.startswith("gem") else ("f64",))
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
        i, vector, matrix = types.int64, types.Array(kind, 1, "C"), types.Array(kind, 2, "C")
        for operation, kernel, signature in (
            ("gemm", lambda k, a, b, c: _tile(k, a, 0, b, 0, c, 0, a, 0, True, False), (i, vector, vector, matrix)),
            ("gemv", lambda w, x, y, k: _dots_many(w, 0, k, x, k, y, 0), (matrix, vector, vector, i)),
            ("gemv_t", lambda x, w, y, n: _add_rows(w, 0, n, x, 0, y, 0, n), (vector, matrix, vector, i)),
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
