"""What the compiled microkernels are made of, read from their assembly."""

from __future__ import annotations

import functools
import re

from numba import njit, types

from kernels.backends.numba.linear.gemv import add_streams, dot_streams
from kernels.backends.numba.microkernel import AP_BP, microkernel, no_prefetch
from kernels.backends.numba.settings import cache_lock
from kernels.backends.numba.target import MR, TILE_VECTORS

NV = TILE_VECTORS[MR]


@functools.cache
def evidence() -> dict[str, dict[str, int | bool]]:
    """Widest multiplying vector (bits) and use of FMA in the machine code of each microkernel, as compiled here.

    They are compiled alone and afresh, in about a second: a function from the cache has no assembly to look into.
    """
    found: dict[str, dict[str, int | bool]] = {}
    for dtype, kind in (("f32", types.float32), ("f64", types.float64)):
        i, p = types.int64, types.CPointer(kind)
        for operation, kernel, signature in (
            (
                "gemm",
                lambda k, a, c: microkernel(AP_BP, MR, NV, k, a, 0, a, k, a, c, k, 1, no_prefetch(a)),
                (i, p, p),
            ),
            ("gemv", lambda w, x, y, k: dot_streams(w, k, k, x, k, y), (p, p, p, i)),
            ("gemv_t", lambda x, w, y, n: add_streams(x, 1, w, n, y, n, True), (p, p, p, i)),
        ):
            with cache_lock():  # what these call is cached
                asm = njit(signature)(kernel).inspect_asm(signature)
            widths = [
                {"x": 128, "y": 256, "z": 512}[name]
                for name in re.findall(r"\bv?(?:fn?madd\w*|mul)p[sd]\s.*%([xyz])mm", asm)
            ]
            widths += [128 for _ in re.findall(r"\bv\d+\.(?:2d|4s)", asm)]
            fma = re.search(r"\b(?:vfn?m(?:add|sub)\d+p|fml[as]\b)", asm)
            found[f"{operation}_{dtype}"] = {"vector_bits": max(widths, default=0), "fma": fma is not None}
    return found
