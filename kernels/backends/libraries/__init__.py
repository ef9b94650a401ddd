"""Libraries that people would use instead, as rows like KERNELS' own. None is imported before one of its rows is bound.

    for row in libraries.rows(): ...                 # row.reason says what to install where a library is missing
    row = libraries.find("gemm", "f32", "torch")

All compute in the row's dtype: nothing falls back to TF32 or bfloat16. A library's thread pool is the process's, and
bind() sizes it: calls run on as many threads as the last bind() said. Several OpenMP runtimes and pools whose threads
spin while they wait disturb each other, so bench gives each library a process of its own (bench.measure.process).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.operations import OPERATIONS, PRODUCTS
from kernels.types import DTYPES, Types

if TYPE_CHECKING:
    from kernels.registry import Kernel

PIP = "pip install 'ridgeline[peers]'"


def version_of(distributions: Sequence[str]) -> str | None:
    """The first one's version where all are installed, else None."""
    try:
        first, *_ = [importlib.metadata.version(name) for name in distributions]
        return first
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Library:
    """One library: the module of this package that calls it, and how its users get it.

    distributions are what it needs from PyPI, its own first; a library without any is the system's lib<backend>.
    f64 is False where it computes doubles in single precision, or not at all. prepacked: for f32, that is.
    """

    backend: str
    module: str
    distributions: tuple[str, ...]
    install: str
    f64: bool = True
    prepacked: bool = True

    def version(self) -> str | None:
        """Its version, None where it isn't installed; found without importing it."""
        if not self.distributions:
            name = find_library(self.backend)
            return name.partition(".")[2] if name else None
        return version_of(self.distributions)

    def rows(self) -> list[Kernel]:
        """Its rows, in the order of KERNELS; isa is its version."""
        from kernels.registry import MANY, Kernel  # names of libraries are read where nothing was compiled

        version = self.version()
        missing = ", ".join(self.distributions) or f"lib{self.backend}"
        reason = None if version else f"not installed ({missing}): {self.install}"
        found = []
        for dtype in DTYPES if self.f64 else ("f32",):
            names = [*PRODUCTS, "gemm_prepacked"] if self.prepacked and dtype == "f32" else PRODUCTS
            for operation in names:
                op, bind = OPERATIONS[operation], partial(self._bind, operation, dtype)
                pack = partial(self._pack, dtype) if op.packed else None
                types = op.types_for(dtype)
                found.append(Kernel(operation, types, self.backend, version or "missing", reason, MANY, bind, pack))
        return found

    def _bind(self, operation: str, dtype: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        bind: Callable[..., Callable[[], Any]] = importlib.import_module(self.module).bind
        return bind(operation, dtype, ready, out, threads)

    def _pack(self, dtype: str, b: np.ndarray, threads: int) -> Any:
        return importlib.import_module(self.module).pack(dtype, b, threads)


LIBRARIES = (
    Library("torch", "kernels.backends.libraries.pytorch", ("torch",), PIP),
    Library("onnxruntime", "kernels.backends.libraries.onnx", ("onnxruntime", "onnx"), PIP),
    Library("openvino", "kernels.backends.libraries.openvino", ("openvino",), PIP, f64=False),
    Library("blis", "kernels.backends.libraries.blis", (), "apt install libblis4-openmp", prepacked=False),
    Library("openblas", "kernels.backends.libraries.openblas", ("scipy-openblas32",), PIP, prepacked=False),
)
BACKENDS = tuple(library.backend for library in LIBRARIES)


@cache
def rows() -> tuple[Kernel, ...]:
    """Every library's rows, also those whose `reason` says why they can't be used."""
    return tuple(row for library in LIBRARIES for row in library.rows())


def missing() -> list[str]:
    """Of each library that isn't installed one line: its name and how to get it."""
    return [f"{library.backend}: {reason}" for library in LIBRARIES if (reason := library.rows()[0].reason)]


def find(operation: str, types: str | Types, backend: str) -> Kernel:
    """One usable row. Raises KeyError where there is no such row, UnavailableISA where its library is missing."""
    from kernels.registry import pick

    return pick(rows(), operation, types, backend)
