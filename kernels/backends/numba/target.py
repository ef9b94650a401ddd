"""What the kernels are built for: the ISA and its register tile, as C's are, cache sizes, polynomials.

Every constant here is frozen into compiled code, and is part of the cache folder's name: see settings.py. This module
imports neither Numba nor llvmlite, so that the registry can name the ISA at little cost.
"""

from __future__ import annotations

import os
from typing import Any

from kernels.backends import c
from kernels.backends.c import ffi, lib
from kernels.types import native_isa


def _isa() -> str:
    """The widest ISA that runs here, or the one that RIDGELINE_ISA names, if it runs; what an extension extends."""
    running = c.running()
    forced = os.environ.get("RIDGELINE_ISA")
    return native_isa(forced if forced in running else running[-1])


def _coefficients(function: Any) -> dict[int, list[float]]:
    """A polynomial of the C side by the bytes of an element, lowest power first."""
    count = ffi.new("int *")
    return {size: ffi.unpack(function(size, count), count[0]) for size in (4, 8)}


def plan_target(itemsize: int) -> Any:
    """The struct target of elements of so many bytes: what the planner of csrc/plan.c has to know of them."""
    return c.target(ISA, f"f{itemsize * 8}")


ISA = _isa()
_described = plan_target(4)  # what differs between element types is used by the planner alone
VECTOR_BYTES, REGISTERS = _described.vector_bytes, _described.registers
MR, MOST_VECTORS = _described.mr, _described.widest
TILE_VECTORS = tuple(lib.plan_tile_vectors(_described, rows) for rows in range(MR + 1))
"""Vectors of a tile by its rows."""
SKINNY_ROWS, HELD_ROWS, ROWS_PER_STEP = _described.skinny_rows, _described.held_rows, _described.rows_per_step
"""Of gemm_skinny: most rows of A; most rows of A whose elements stay in registers; rows of B in one step."""
STREAMED_ROWS = _described.streamed_rows
"""Most rows of A for which a row tile prefetches nothing of packed B."""

LINE = c.CACHE_LINE
L1, L2, L3 = (lib.cache_bytes(level) for level in (1, 2, 3))

EXP, TAIL = _coefficients(lib.exp_coefficients), _coefficients(lib.tail_coefficients)
EXP_PARTS = {
    4: (1.5 * 2**23, -87.33654, float.fromhex("0x1.62ep-1"), float.fromhex("0x1.0bfbe8e7bcd5ep-15"), 23),
    8: (1.5 * 2**52, -708.3964, float.fromhex("0x1.62e42fep-1"), float.fromhex("0x1.f473de6af278fp-30"), 52),
}
"""Of exp(), by the bytes of an element: 1.5 times the power of two whose ulp is 1, the lowest argument, ln 2 in two
parts (Cody and Waite), bits of the significand."""
