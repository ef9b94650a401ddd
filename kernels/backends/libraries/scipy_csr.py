"""SciPy's CSR, what people reach for first: a row beside KERNELS' own. One thread, and no pool: it needs no process."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.operations import OPERATIONS
from kernels.registry import Kernel


def _pack(weights: np.ndarray, threads: int) -> Any:
    from scipy.sparse import csr_array  # takes 0.2 s to import

    return csr_array(weights)


def _bind(ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    w, x = ready
    matrix = w.data

    def call() -> None:
        out[...] = matrix @ x

    return call


def row() -> Kernel:
    """gemv_csr of f32; its index arrays are of 32 bits, as csr_array chooses them."""
    import scipy

    types = OPERATIONS["gemv_csr"].types_for("f32")
    return Kernel("gemv_csr", types, "scipy", str(scipy.__version__), None, 1, _bind, _pack)
