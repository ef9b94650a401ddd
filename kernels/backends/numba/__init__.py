"""The operations in Numba: the same loops and register tiles as the C side, compiled when first bound.

The design is that of csrc/per_isa. What C has vector types for is emitted as LLVM IR by intrinsics (emit.py and those
who use it); the loops around them are plain Python that Numba compiles; block sizes and workspaces are planned by
csrc/plan.c when a call is bound.

This module is the backend's face. Importing it imports neither Numba nor llvmlite: what needs them does so when called.
"""

from __future__ import annotations

import functools
import importlib
import os
import resource
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from kernels.backends import c
from kernels.cpus import started_with
from kernels.operations import LINEAR
from kernels.operations import OPERATIONS as DEFINED
from kernels.sparse import pack as pack_sparse
from kernels.types import DTYPES, TYPES

# Numba's default is the CPUs of the thread that imports it, which may be pinned to one of them by then.
if "numba" not in sys.modules:
    os.environ.setdefault("NUMBA_NUM_THREADS", str(len(started_with())))

_MODULES = {
    "gemm": ("gemm", "gemm_prepacked"),
    "gemm_batch": ("gemm_batch", "gemm_batch_t"),
    "gemm_scalar": ("gemm_naive", "gemm_tiled", "gemm_packed"),
    "linear.gemv": ("gemv", "gemv_t"),
    "linear.forms": ("linear", "linear_a8"),
    "pointwise": (
        "softmax", "softmax_causal", "layer_norm", "residual_norm", "gelu", "gelu_tanh", "bias", "residual",
        "copy_rows", "embed", "argmax",
    ),
    "linear.sparse": ("gemv_bitmap", "gemv_2_4", "gemv_csr", "gemv_csr16"),
    "stream": ("copy", "scale", "add", "triad", "update", "read"),
}  # fmt: skip
"""Module of this package -> its operations, each with a prepare_<operation>(*inputs, out, threads)."""


def _elements(operation: str, module: str) -> Iterable[str]:
    """The element types that an operation has: of stored weights those that C has, whose packed order it shares."""
    if module.startswith("linear."):
        return [element for of, element in c.OPERATIONS if of == operation]
    return ("f64",) if module == "stream" else DTYPES


OPERATIONS: tuple[tuple[str, str], ...] = tuple(
    (operation, element)
    for module, operations in _MODULES.items()
    for operation in operations
    for element in _elements(operation, module)
)
"""(operation, element type) of every kernel."""


def binder(operation: str, dtype: str) -> Callable[..., Callable[[], Any]]:
    """bind(*inputs, out, threads) for an operation on "f32" or "f64": a callable that runs it once on those arrays.

    Of an operation in place the first input is `out`, and isn't given again.

    All preparation, compiling included, is done by bind; scratch memory belongs to the callable.
    """
    (module,) = (module for module, operations in _MODULES.items() if operation in operations)
    prepare = getattr(importlib.import_module(f"{__name__}.{module}"), f"prepare_{operation}")
    if operation in (*LINEAR, "gemv_bitmap"):
        prepare = functools.partial(prepare, element=dtype)

    def bind(*inputs: np.ndarray, out: np.ndarray, threads: int) -> Callable[[], Any]:
        call: Callable[[], Any] = prepare(*inputs, out, threads=threads)
        return call

    return bind


def pack(operation: str, dtype: str, b: np.ndarray, threads: int = 1) -> np.ndarray:
    """Weights as an operation's kernels read them; 1-D, aligned to 64 bytes."""
    from kernels.backends.numba import packing, target

    if DEFINED[operation].stored:
        return pack_sparse(operation, TYPES[dtype], 8, b)
    if not TYPES[dtype].native:  # in the order of C's kernels for the ISA, by C: it has one definition
        return c.pack("linear", dtype, target.ISA, b, threads)
    return packing.pack(b, threads)


def isa() -> str:
    """The ISA whose register tile and vector width the kernels use; the compiler may use all that the host has."""
    from kernels.backends.numba import target

    return target.ISA


def threads_available() -> int:
    """Most threads a callable may be bound with."""
    return int(importlib.import_module("numba").config.NUMBA_NUM_THREADS)


_USUAL: dict[str, tuple[Any, ...]] = {
    "DISABLE_JIT": (0,),
    "OPT": (3,),
    "CPU_NAME": (None,),
    "CPU_FEATURES": (None,),
    "BOUNDSCHECK": (None, 0),
    "LOOP_VECTORIZE": (1,),
    "SLP_VECTORIZE": (0,),
    "DEBUG": (0,),
    "DEBUGINFO": (0,),
    "TRACE": (0,),
}
"""Numba's settings that decide which code it makes, with the values under which it is its usual code."""


def refusal() -> str | None:
    """Why nothing is run in Numba here: it isn't installed, or a setting changes what it makes; None: all can run."""
    strange = {}
    for name in ("NUMBA_ENABLE_AVX", "NUMBA_NUM_THREADS"):
        if not (value := os.environ.get(name, "1")).isdecimal() or int(value) < 1:
            strange[name] = value
    if not strange:
        try:
            config = importlib.import_module("numba").config
        except (ImportError, OSError, ValueError) as error:
            room = resource.getrlimit(resource.RLIMIT_AS)[0]
            limit = "" if room == resource.RLIM_INFINITY else f" (ulimit -v is {room >> 10})"
            return f"Numba can't be imported{limit}: {error}"
        for name, usual in _USUAL.items():
            value = getattr(config, {"DEBUGINFO": "DEBUGINFO_DEFAULT"}.get(name, name))
            if value not in usual:
                strange[f"NUMBA_{name}"] = os.environ.get(f"NUMBA_{name}", value)
    named = ", ".join(f"{name}={value}" for name, value in strange.items())
    return f"{named}: Numba's code is another then, or none" if named else None


_DOT_PRODUCTS = {"avx2": "avx2", "avx512": "avx512bw"}
"""ISA: what LLVM calls the instructions that its dot products of stored integers are made of."""
_SPARSE = {"avx2": "avx2", "avx512": "avx2"}
"""ISA: those of products with weights without their zeros."""


def missing(operation: str, element: str) -> str | None:
    """Why an operation isn't run on an element type where others are: LLVM lacks its instructions; or None."""
    from llvmlite import binding

    sums = {} if element in (*DTYPES, "bf16", "f16") else _DOT_PRODUCTS
    needed = (_SPARSE if DEFINED[operation].stored else sums).get(isa())
    if needed is None or binding.get_host_cpu_features().get(needed):
        return None
    return f"LLVM has no {needed} under this CPU's name, {binding.get_host_cpu_name()}"


def first_call_seconds() -> dict[str, float]:
    """Seconds that compiling each function, or loading it from the cache, took in this process."""
    task = sys.modules.get(f"{__name__}.task")
    return dict(task.FIRST_CALLS) if task else {}


def evidence() -> dict[str, dict[str, int | bool]]:
    """Widest multiplying vector (bits) and use of FMA in the machine code of each microkernel, as compiled here.

    They are compiled alone and afresh, in about a second: a function from the cache has no assembly to look into.
    """
    from kernels.backends.numba import machine_code

    return machine_code.evidence()
