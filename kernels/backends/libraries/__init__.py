"""Libraries that people would use instead, as rows like KERNELS' own. None is imported before one of its rows is bound.

    for row in libraries.rows(): ...                 # row.reason says what to install where a library is missing
    row = libraries.find("gemm", "f32", "torch")

All compute in the row's dtype: nothing falls back to TF32 or bfloat16. Weights that are only stored keep the values
that their type has; how a library rounds activations before it multiplies them is said in its rows. A library's
thread pool is the process's, and bind() sizes it: calls run on as many threads as the last bind() said. Several OpenMP
runtimes and pools whose threads spin while they wait disturb each other, so bench gives each library a process of its
own (bench.measure.process).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from ctypes.util import find_library
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.backends.libraries.activations import Activations
from kernels.operations import LINEAR, OPERATIONS, PRODUCTS
from kernels.types import DTYPES, TYPES, Types

if TYPE_CHECKING:
    from kernels.registry import Kernel

PIP, GGML = (f"pip install 'ridgeline[{extra}]'" for extra in ("peers", "ggml"))


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

    module         "" where it multiplies no native types
    distributions are what it needs from PyPI, its own first; a library without any is the system's lib<backend>.
    f64 is False where it computes doubles in single precision, or not at all. prepacked: for f32, that is.
    stored  by operation and type of the weights: how activations are rounded, None: they are not
    """

    backend: str
    module: str
    distributions: tuple[str, ...]
    install: str
    f64: bool = True
    prepacked: bool = True
    stored: Mapping[tuple[str, str], Activations | None] = field(default_factory=dict, hash=False)

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
        rows: list[tuple[str, str, Any]] = []
        for dtype in DTYPES if self.f64 else ("f32",):
            names = [*PRODUCTS, "gemm_prepacked"] if self.prepacked and dtype == "f32" else PRODUCTS
            rows += [(operation, dtype, None) for operation in names if self.module]
        rows += [(*key, rounding and rounding.meaning) for key, rounding in self.stored.items()]
        found = []
        for operation, element, meaning in rows:
            op, bind = OPERATIONS[operation], partial(self._bind, operation, element)
            pack, types = (partial(self._pack, operation, element) if op.packed else None), op.types_for(element)
            name = version or "missing"
            found.append(Kernel(operation, types, self.backend, name, reason, MANY, bind, pack, meaning))
        return found

    def _bind(self, operation: str, element: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        bind: Callable[..., Callable[[], Any]] = self._module(operation, element).bind
        return bind(operation, element, ready, out, threads)

    def _pack(self, operation: str, element: str, weights: np.ndarray, threads: int) -> Any:
        return self._module(operation, element).pack(operation, element, weights, threads)

    def _module(self, operation: str, element: str) -> Any:
        stored = (operation, element) in self.stored
        return importlib.import_module(f"{__name__}.{f'linear.{self.backend}' if stored else self.module}")


GROUPS = ("i8g32", "i4g32", "i4g128", "u4g32", "u4g128")
TORCH = {
    ("linear", "bf16"): Activations("bf16", output="bf16"),
    ("linear", "f16"): Activations("f16", output="f16"),
    ("linear_a8", "i8"): Activations(group=-1, levels=127, affine=True),
}
ONNXRUNTIME = {
    **{("linear", name): None for name in GROUPS},
    **{("linear_a8", name): Activations(group=TYPES[name].group) for name in GROUPS},
    ("linear_a8", "i8"): Activations(group=-1, levels=255, affine=True),
}
OPENVINO: dict[tuple[str, str], Activations | None] = {
    ("linear", name): None for name in ("bf16", "f16", "i8", *GROUPS)
}
LLAMA_CPP = {
    **{("linear", name): Activations(name) for name in ("bf16", "f16")},
    **{("linear_a8", name): Activations(scale="f16") for name in ("i8g32", "i4g32")},
}


LIBRARIES = (
    Library("torch", "pytorch", ("torch",), PIP, stored=TORCH),
    Library("onnxruntime", "onnx", ("onnxruntime", "onnx"), PIP, stored=ONNXRUNTIME),
    Library("openvino", "openvino", ("openvino",), PIP, f64=False, stored=OPENVINO),
    Library("blis", "blis", (), "apt install libblis4-openmp", prepacked=False),
    Library("openblas", "openblas", ("scipy-openblas32",), PIP, prepacked=False),
    Library("ggml", "", ("llama-cpp-python",), GGML, stored=LLAMA_CPP),
)
BACKENDS = tuple(library.backend for library in LIBRARIES)


@cache
def rows() -> tuple[Kernel, ...]:
    """Every library's rows, also those whose `reason` says why they can't be used."""
    return tuple(row for library in LIBRARIES for row in library.rows())


def rows_of(stored: bool) -> tuple[Kernel, ...]:
    """Those whose weights are only stored, or those whose aren't."""
    return tuple(row for row in rows() if (row.operation in LINEAR) == stored)


def missing(stored: bool = False) -> list[str]:
    """Of each library that isn't installed, and would have such rows, one line: its name and how to get it."""
    having = [library for library in LIBRARIES if (library.stored if stored else library.module)]
    return [f"{library.backend}: {reason}" for library in having if (reason := library.rows()[0].reason)]


def find(operation: str, types: str | Types, backend: str) -> Kernel:
    """One usable row. Raises KeyError where there is no such row, UnavailableISA where its library is missing."""
    from kernels.registry import pick

    return pick(rows(), operation, types, backend)
