"""What can be run: KERNELS, one row per (operation, dtype, backend, isa).

    kernel = kernels.find("gemm", "f32", "c")        # the best ISA of this CPU, or the one RIDGELINE_ISA names
    c = kernel(a, b, threads=2)                      # checked call, allocates c
    call = kernel.bind(a, b, out=c, threads=2)       # checked once; call() then only computes

Operations and what they mean: kernels.operations.OPERATIONS. Other libraries, as rows of the same kind:
kernels.backends.libraries.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from kernels.arguments import check_inputs, check_matrix, check_output, check_threads
from kernels.arrays import aligned_empty
from kernels.backends import blas
from kernels.backends import c as native
from kernels.backends.numba import jit
from kernels.operations import OPERATIONS
from kernels.packing import Packed
from kernels.types import DTYPES

__all__ = [
    "DTYPES",
    "KERNELS",
    "OPERATIONS",
    "Kernel",
    "Packed",
    "UnavailableISA",
    "available",
    "chosen_isa",
    "find",
    "set_threads",
]

BACKENDS = ("c", "numba", "blas")
ISA_VARIABLE = "RIDGELINE_ISA"


_Pack = Callable[[np.ndarray, int], Any]


class UnavailableISA(Exception):
    """An ISA was asked for by name that isn't compiled in or can't run here."""


@dataclass(frozen=True)
class Kernel:
    """One row of the registry. `reason` says why it can't be used here; None: it can."""

    operation: str
    dtype: str
    backend: str
    isa: str
    reason: str | None
    most_threads: int
    _bind: Callable[..., Callable[[], Any]]
    _pack: _Pack | None = None

    @property
    def name(self) -> str:
        """As in tables and test ids: operation_dtype-backend-isa."""
        return f"{self.operation}_{self.dtype}-{self.backend}-{self.isa}"

    def __str__(self) -> str:
        return self.name

    def pack(self, b: np.ndarray, threads: int = 1) -> Packed:
        """Weights b[k,n] in this kernel's order; only gemm_prepacked has one (TypeError)."""
        if self._pack is None:
            raise TypeError(f"{self.name} takes plain weights: it has no pack()")
        ready = check_matrix("b", b, self.dtype)
        k, n = ready.shape
        data = self._pack(ready, check_threads(threads, self.most_threads))
        return Packed(data, k, n, self.dtype, (self.backend, self.isa))

    def bind(self, *inputs: Any, out: np.ndarray, threads: int = 1, **options: int) -> Callable[[], Any]:
        """Checks the arguments, prepares scratch memory and pointers, compiles what has to be; returns the bare call.

        The call writes `out`, returns nothing of use, releases the GIL and may be repeated; the arrays stay alive
        with it. The BLAS backend's calls run on the pool that set_threads() sized last.
        Raises TypeError or ValueError naming the argument, UnavailableISA where `reason` is set.
        """
        if self.reason:
            raise UnavailableISA(f"{self.name}: {self.reason}")
        ready, dims = check_inputs(self.operation, self.dtype, inputs, (self.backend, self.isa))
        check_output(self.operation, self.dtype, out, ready, dims)
        check_threads(threads, self.most_threads)
        return self._bind(ready, out=out, threads=threads, **options)

    def __call__(self, *inputs: Any, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
        """Runs once and returns the output, a new array unless `out` is given. Raises as bind() does."""
        if out is None:
            _, dims = check_inputs(self.operation, self.dtype, inputs, (self.backend, self.isa))
            op = OPERATIONS[self.operation]
            shape = tuple(1 if d == "1" else dims[d] for d in op.output[1])
            out = inputs[0] if op.in_place else aligned_empty(shape, DTYPES[self.dtype])
        call = self.bind(*inputs, out=out, threads=threads)
        set_threads(threads)
        call()
        return out


def set_threads(threads: int) -> None:
    """Sizes the pools that are the process's, not the call's: BLAS."""
    blas.set_threads(threads)


def _forced() -> str | None:
    """The ISA that RIDGELINE_ISA names, checked; None where it isn't set."""
    isa = os.environ.get(ISA_VARIABLE) or None
    if isa is None:
        return None
    running = [name for name in native.ISAS if native.runs(name)]
    if isa not in native.ISAS:
        raise UnavailableISA(f"{ISA_VARIABLE}={isa}: not compiled in; this build has {', '.join(native.ISAS)}")
    if isa not in running:
        raise UnavailableISA(f"{ISA_VARIABLE}={isa}: this CPU can't run it; it runs {', '.join(running)}")
    return isa


def chosen_isa() -> str:
    """The ISA in use: the one RIDGELINE_ISA names, or the widest that runs here. Raises UnavailableISA."""
    return _forced() or [name for name in native.ISAS if native.runs(name)][-1]


def _native_reason(isa: str, operation: str) -> str | None:
    if not native.runs(isa):
        return f"this CPU has no {isa}"
    if isa != (forced := os.environ.get(ISA_VARIABLE) or isa):
        return f"{ISA_VARIABLE} asks for {forced}"
    return native.missing(operation, isa)


def _bind_numba(operation: str, dtype: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    given = ready[1:] if OPERATIONS[operation].in_place else ready  # the first is `out` itself
    inputs = [x.data if isinstance(x, Packed) else x for x in given]
    return jit.binder(operation, dtype)(*inputs, out=out, threads=threads)


def _bind_blas(operation: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    return blas.bind(operation, ready, out)  # the threads are the pool's


def _rows() -> dict[tuple[str, str, str, str], Kernel]:
    many = 1024  # OpenMP starts as many threads as it is asked for
    rows = []
    for isa in native.ISAS:
        for operation, dtype in native.OPERATIONS:
            bind = partial(native.bind, operation, dtype, isa)
            pack: _Pack | None = partial(native.pack, isa, dtype) if operation == "gemm_prepacked" else None
            rows.append(Kernel(operation, dtype, "c", isa, _native_reason(isa, operation), many, bind, pack))
    for operation, dtype in jit.OPERATIONS:
        bind = partial(_bind_numba, operation, dtype)
        pack = (lambda b, threads, dtype=dtype: jit.pack(b, dtype, threads)) if operation == "gemm_prepacked" else None
        rows.append(Kernel(operation, dtype, "numba", jit.isa(), None, jit.threads_available(), bind, pack))
    for operation, dtype in blas.OPERATIONS:
        bind = partial(_bind_blas, operation)
        rows.append(Kernel(operation, dtype, "blas", blas.name(), None, many, bind))
    return {(row.operation, row.dtype, row.backend, row.isa): row for row in rows}


KERNELS: Mapping[tuple[str, str, str, str], Kernel] = MappingProxyType(_rows())
"""The registry. Tests, benchmarks and commands loop over it."""


def available() -> list[Kernel]:
    """The rows that can be used here. Raises UnavailableISA where RIDGELINE_ISA names an ISA that can't."""
    _forced()
    return [kernel for kernel in KERNELS.values() if kernel.reason is None]


def find(operation: str, dtype: str, backend: str, isa: str | None = None) -> Kernel:
    """One usable row; without `isa` the widest. Raises UnavailableISA, or KeyError where there is no such row."""
    rows = [
        k
        for k in KERNELS.values()
        if (k.operation, k.dtype, k.backend) == (operation, dtype, backend) and isa in (None, k.isa)
    ]
    if not rows:
        raise KeyError(f"no kernel {operation}_{dtype} in {backend}" + (f" for {isa}" if isa else ""))
    _forced()
    usable = [kernel for kernel in rows if kernel.reason is None]
    if not usable:
        raise UnavailableISA(f"{rows[-1].name}: {rows[-1].reason}")
    return usable[-1]
