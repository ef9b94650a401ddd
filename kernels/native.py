"""The C backend: NumPy arrays to calls of csrc/ through cffi. Arguments were checked in kernels.operands."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kernels.operands import Packed, aligned_empty, leading_dimension
from kernels.reference import DTYPES, SCALAR, UPDATE_SCALAR

try:
    from kernels._native import ffi, lib
except ImportError as error:
    raise ImportError(
        "kernels/_native, the compiled part, is missing or not for this Python: build it with `make build` or `pip install -e .`"
        f" ({error})"
    ) from error

ISAS: tuple[str, ...] = tuple(ffi.string(lib.isa_name(i)).decode() for i in range(lib.isa_count()))
"""The ISAs compiled in, narrowest first."""

CACHE_LINE = 64

_C_TYPE = {"f32": "float *", "f64": "double *"}

_STREAM = {  # operation: (C's enum, flavour, which operand is which of a, b, c, and the scalar)
    "copy": (lib.STREAM_COPY, lib.STREAM_REGULAR, "ac", 0.0),
    "scale": (lib.STREAM_SCALE, lib.STREAM_REGULAR, "cb", SCALAR),
    "add": (lib.STREAM_ADD, lib.STREAM_REGULAR, "abc", 0.0),
    "triad": (lib.STREAM_TRIAD, lib.STREAM_REGULAR, "bca", SCALAR),
    "copy_nt": (lib.STREAM_COPY, lib.STREAM_NONTEMPORAL, "ac", 0.0),
    "scale_nt": (lib.STREAM_SCALE, lib.STREAM_NONTEMPORAL, "cb", SCALAR),
    "add_nt": (lib.STREAM_ADD, lib.STREAM_NONTEMPORAL, "abc", 0.0),
    "triad_nt": (lib.STREAM_TRIAD, lib.STREAM_NONTEMPORAL, "bca", SCALAR),
    "update": (lib.STREAM_UPDATE, lib.STREAM_REGULAR, "aa", UPDATE_SCALAR),
    "read": (lib.STREAM_READ, lib.STREAM_REGULAR, "a", 0.0),
    "read_2": (lib.STREAM_READ, lib.STREAM_READ_2, "a", 0.0),
    "read_4": (lib.STREAM_READ, lib.STREAM_READ_4, "a", 0.0),
    "read_prefetch": (lib.STREAM_READ, lib.STREAM_READ_PREFETCH, "a", 0.0),
}

OPERATIONS: tuple[tuple[str, str], ...] = (
    *((op, dtype) for op in ("gemm", "gemm_prepacked", "gemm_tiled", "gemm_naive", "gemv", "gemv_t") for dtype in DTYPES),
    *((op, "f64") for op in _STREAM),
)
"""(operation, dtype) of every kernel that each ISA has."""


def runs(isa: str) -> bool:
    """Whether this CPU and operating system have the ISA."""
    return bool(lib.isa_runs(ISAS.index(isa)))


def missing(operation: str, isa: str) -> str | None:
    """Why an ISA lacks an operation, or None."""
    if operation.endswith("_nt") and not lib.isa_nontemporal(ISAS.index(isa)):
        return f"{isa} has no non-temporal stores"
    return None


def vector_bytes(isa: str) -> int:
    return lib.isa_vector_bytes(ISAS.index(isa))


def tile(isa: str, dtype: str) -> tuple[int, int]:
    """(mr, nr): rows and columns of the register tile."""
    i = ISAS.index(isa)
    return lib.isa_tile_rows(i), lib.isa_tile_columns(i, DTYPES[dtype].itemsize)


def build() -> dict[str, Any]:
    """Compiler, flags and ISAs of the compiled module."""
    return {
        "compiler": ffi.string(lib.build_compiler()).decode(),
        "flags": ffi.string(lib.build_flags()).decode().strip(),
        "isas": list(ISAS),
    }


def _pointer(x: np.ndarray, dtype: str) -> Any:
    return ffi.cast(_C_TYPE[dtype], x.ctypes.data)


def _workspace(size: int) -> tuple[np.ndarray, Any]:
    array = aligned_empty(max(size, 1), np.uint8)
    array[:] = 0  # the first touch belongs to the preparation, not to the first call
    return array, ffi.cast("void *", array.ctypes.data)


def pack(isa: str, dtype: str, b: np.ndarray, threads: int) -> np.ndarray:
    """Weights b[k,n] -> the panels that gemm_prepacked reads, as a flat aligned array."""
    k, n = b.shape
    i = ISAS.index(isa)
    packed = aligned_empty(lib.packed_elements(i, DTYPES[dtype].itemsize, n, k), DTYPES[dtype])
    getattr(lib, f"pack_{dtype}")(i, threads, n, k, _pointer(b, dtype), leading_dimension(b), _pointer(packed, dtype))
    return packed


def bind(
    operation: str, dtype: str, isa: str, inputs: list[Any], out: np.ndarray, threads: int, passes: int = 1
) -> Callable[[], Any]:
    """A call with everything prepared: what is left to the call is one C function that allocates nothing.

    passes: how often one call does the operation; other than 1 only for the STREAM operations.
    """
    i, size = ISAS.index(isa), DTYPES[dtype].itemsize
    at = partial(_pointer, dtype=dtype)
    keep: list[Any] = [*inputs, out]
    function = getattr(lib, f"{operation}_{dtype}", None)
    if operation in _STREAM:
        if operation.endswith("_nt") and out.ctypes.data % CACHE_LINE:
            raise ValueError(f"out must be {CACHE_LINE}-byte aligned for non-temporal stores")
        op, flavour, roles, scalar = _STREAM[operation]
        arrays = dict(zip(roles, keep, strict=False))  # a read's sum is no operand of the C call
        a, b, c = (_pointer(arrays[role], "f64") if role in arrays else ffi.NULL for role in "abc")
        n = inputs[0].size
        if not operation.startswith("read"):
            call = partial(lib.stream, i, threads, op, flavour, passes, n, scalar, a, b, c, ffi.NULL)
        else:
            sums = np.zeros((threads, 8))  # a cache line per thread
            keep.append(sums)
            sum_of = partial(lib.stream, i, threads, op, flavour, passes, n, scalar, a, b, c, _pointer(sums, "f64"))

            def call() -> None:
                sum_of()
                out[0] = sums[:, 0].sum()
    elif operation == "gemv":
        w, x = inputs
        call = partial(function, i, threads, *w.shape, at(w), leading_dimension(w), at(x), at(out))
    elif operation == "gemv_t":
        x, w = inputs
        k, n = w.shape
        array, workspace = _workspace(lib.gemv_t_workspace_bytes(i, size, threads, n, k))
        keep.append(array)
        call = partial(function, i, threads, n, k, at(x), at(w), leading_dimension(w), at(out), workspace)
    else:
        a, b = inputs
        m, k = a.shape
        n = b.shape[1]
        left = (i, threads, m, n, k, at(a), leading_dimension(a))
        right = (at(b.data),) if isinstance(b, Packed) else (at(b), leading_dimension(b))
        result = (at(out), leading_dimension(out))
        if operation in ("gemm", "gemm_prepacked"):
            array, workspace = _workspace(lib.gemm_workspace_bytes(i, size, threads, m, n, k))
            keep.append(array)
            call = partial(function, *left, *right, *result, workspace)
        else:
            call = partial(function, *left, *right, *result)
    call.keep = keep  # type: ignore[attr-defined]  # the pointers are only as good as the arrays are alive
    return call
