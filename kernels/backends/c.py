"""The C backend: NumPy arrays to calls of csrc/ through cffi. Arguments were checked in kernels.arguments."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kernels.arrays import aligned_empty, leading_dimension
from kernels.operations import SCALAR, UPDATE_SCALAR
from kernels.packing import Packed
from kernels.types import DTYPES

try:
    from kernels._native import ffi, lib
except ImportError as error:
    raise ImportError(
        "kernels/_native, the compiled part, is missing or not for this Python: "
        "build it with `make build` or `pip install -e .`"
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
    "read_8": (lib.STREAM_READ, lib.STREAM_READ_8, "a", 0.0),
}

_ELEMENTWISE = {  # operation: (C's function, what it asks beside the operands)
    "softmax": ("softmax", (0,)),
    "softmax_causal": ("softmax", (1,)),
    "layer_norm": ("norm", ()),
    "residual_norm": ("norm", ()),
    "gelu": ("gelu", (0,)),
    "gelu_tanh": ("gelu", (1,)),
    "bias": ("add_to", ()),
    "residual": ("add_to", ()),
}

OPERATIONS: tuple[tuple[str, str], ...] = (
    *(
        (op, dtype)
        for op in (
            *("gemm", "gemm_prepacked", "gemm_batch", "gemm_batch_t", "gemv", "gemv_t"),
            *("gemm_packed", "gemm_tiled", "gemm_naive"),
            *_ELEMENTWISE,
        )
        for dtype in DTYPES
    ),
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


def _matrix(x: np.ndarray, dtype: str) -> tuple[Any, int]:
    """A matrix as C takes it: where it begins, and its leading dimension."""
    return _pointer(x, dtype), leading_dimension(x)


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
    if passes != 1 and operation not in _STREAM:
        raise ValueError(f"passes must be 1 for {operation}, not {passes}")
    keep = [*inputs, out]  # the pointers are only as good as the arrays are alive
    if operation in _STREAM:
        call = _bind_stream(operation, dtype, isa, inputs, out, threads, passes, keep)
    elif operation in _ELEMENTWISE:
        call = _bind_elementwise(operation, dtype, isa, inputs, out, threads)
    else:
        call = _bind_product(operation, dtype, isa, inputs, out, threads, keep)
    call.keep = keep  # type: ignore[attr-defined]
    return call


def _bind_stream(
    operation: str,
    dtype: str,
    isa: str,
    inputs: list[np.ndarray],
    out: np.ndarray,
    threads: int,
    passes: int,
    keep: list[Any],
) -> Callable[[], Any]:
    if operation.endswith("_nt") and out.ctypes.data % CACHE_LINE:
        raise ValueError(f"out must be {CACHE_LINE}-byte aligned for non-temporal stores")
    op, flavour, roles, scalar = _STREAM[operation]
    arrays = dict(zip(roles, keep, strict=False))  # a read's sum is no operand of the C call
    pointers = (_pointer(arrays[role], dtype) if role in arrays else ffi.NULL for role in "abc")
    call = partial(lib.stream, ISAS.index(isa), threads, op, flavour, passes, inputs[0].size, scalar, *pointers)
    if not operation.startswith("read"):
        return partial(call, ffi.NULL)
    sums = np.zeros((threads, CACHE_LINE // 8))  # a cache line per thread
    keep.append(sums)
    read = partial(call, _pointer(sums, dtype))

    def read_and_add() -> None:
        read()
        out[0] = sums[:, 0].sum()

    return read_and_add


def _bind_elementwise(
    operation: str,
    dtype: str,
    isa: str,
    inputs: list[np.ndarray],
    out: np.ndarray,
    threads: int,
) -> Callable[[], Any]:
    name, form = _ELEMENTWISE[operation]
    function = partial(getattr(lib, f"{name}_{dtype}"), ISAS.index(isa), threads, *form)

    matrix = partial(_matrix, dtype=dtype)

    x, *rest = inputs
    rows = matrix(x)
    if name == "softmax":
        return partial(function, *x.shape, *rows, x.strides[0] // x.itemsize, _pointer(rest[0], dtype))
    others = matrix(rest.pop(0)) if operation in ("residual", "residual_norm") else (ffi.NULL, 0)
    vectors = [_pointer(vector, dtype) for vector in rest]
    if name == "norm":
        bias = [] if operation == "residual_norm" else [ffi.NULL]
        return partial(function, *x.shape, *rows, *others, *bias, *vectors, *matrix(out))
    return partial(function, *x.shape, *rows, *(others if name == "add_to" else ()), *vectors)


def _bind_product(
    operation: str,
    dtype: str,
    isa: str,
    inputs: list[Any],
    out: np.ndarray,
    threads: int,
    keep: list[Any],
) -> Callable[[], Any]:
    i, size = ISAS.index(isa), DTYPES[dtype].itemsize
    name = "gemm_batch" if operation == "gemm_batch_t" else operation  # whose B being transposed is an argument
    function = partial(getattr(lib, f"{name}_{dtype}"), i, threads)

    matrix = partial(_matrix, dtype=dtype)

    def scratch(bytes_: int) -> Any:
        array = aligned_empty(max(bytes_, 1), np.uint8)
        array[:] = 0  # the first touch belongs to the preparation, not to the first call
        keep.append(array)
        return ffi.cast("void *", array.ctypes.data)

    if operation == "gemv":
        w, x = inputs
        return partial(function, *w.shape, *matrix(w), _pointer(x, dtype), _pointer(out, dtype))
    if operation == "gemv_t":
        x, w = inputs
        k, n = w.shape
        workspace = scratch(lib.gemv_t_workspace_bytes(i, size, threads, n, k))
        return partial(function, n, k, _pointer(x, dtype), *matrix(w), _pointer(out, dtype), workspace)
    a, b = inputs
    if operation in ("gemm_batch", "gemm_batch_t"):
        transposed = operation == "gemm_batch_t"
        (batch, m, k), n = a.shape, out.shape[2]
        workspace = scratch(lib.gemm_batch_workspace_bytes(i, size, threads, m, n, k))
        left, right, result = ((*matrix(x), x.strides[0] // size) for x in (a, b, out))
        return partial(function, batch, m, n, k, *left, *right, transposed, *result, workspace)
    (m, k), n = a.shape, b.shape[1]
    weights = (_pointer(b.data, dtype),) if isinstance(b, Packed) else matrix(b)
    call = partial(function, m, n, k, *matrix(a), *weights, *matrix(out))
    if operation in ("gemm", "gemm_prepacked"):
        return partial(call, scratch(lib.gemm_workspace_bytes(i, size, threads, isinstance(b, Packed), m, n, k)))
    return call
