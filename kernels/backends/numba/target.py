"""What the kernels are built for: vector width, registers, the register tile, cache sizes, polynomials.

Every constant here is frozen into compiled code, and is part of the cache folder's name: see settings.py. This module
imports llvmlite but not Numba, so that the registry can name the ISA at little cost.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import llvmlite.binding as llvm

from kernels.backends.c import ffi, lib


def _vector_bytes() -> int:
    """The widest vectors that this CPU multiplies and adds in one instruction, or narrower ones by RIDGELINE_ISA."""
    has = llvm.get_host_cpu_features()
    widest = 64 if has.get("avx512f") else 32 if has.get("avx2") and has.get("fma") else 16
    return min(widest, {"generic": 16, "neon": 16, "avx2": 32}.get(os.environ.get("RIDGELINE_ISA", ""), 64))


def _coefficients(function: Any) -> dict[int, list[float]]:
    """A polynomial of the C side by the bytes of an element, lowest power first."""
    count = ffi.new("int *")
    return {size: ffi.unpack(function(size, count), count[0]) for size in (4, 8)}


NEON = platform.machine() in ("aarch64", "arm64")
VECTOR_BYTES = _vector_bytes()

REGISTERS = 32 if NEON or VECTOR_BYTES == 64 else 16
MR, NV, FREE_REGISTERS = {64: (14, 2, 1), 32: (6, 2, 1), 16: (7, 3, 5) if NEON else (4, 2, 2)}[VECTOR_BYTES]
"""Rows and vectors of the tallest register tile; registers left for A's broadcast elements (and products, without FMA).

MR x NV accumulators, NV vectors of B and the free registers fit the register file.
"""
MOST_VECTORS = 6  # of a low tile: each is a stream of B, and hardware prefetchers follow about this many

LINE = 64  # bytes of a cache line, and the alignment of scratch memory
L1, L2, L3 = (lib.cache_bytes(level) for level in (1, 2, 3))

EXP, TAIL = _coefficients(lib.exp_coefficients), _coefficients(lib.tail_coefficients)
EXP_PARTS = {
    4: (1.5 * 2**23, -87.33654, float.fromhex("0x1.62ep-1"), float.fromhex("0x1.0bfbe8e7bcd5ep-15"), 23),
    8: (1.5 * 2**52, -708.3964, float.fromhex("0x1.62e42fep-1"), float.fromhex("0x1.f473de6af278fp-30"), 52),
}
"""Of exp(), by the bytes of an element: 1.5 times the power of two whose ulp is 1, the lowest argument, ln 2 in two
parts (Cody and Waite), bits of the significand."""


def tile_vectors(h: int) -> int:
    """Vectors of a tile of h rows: as many as the registers hold accumulators and B for."""
    return min((REGISTERS - FREE_REGISTERS) // (h + 1), MOST_VECTORS)


assert tile_vectors(MR) == NV


def isa() -> str:
    """The ISA whose register tile and vector width the kernels use; the compiler may use all that the host has."""
    return {64: "avx512", 32: "avx2"}.get(VECTOR_BYTES, "neon" if NEON else "generic")
