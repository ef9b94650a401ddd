"""How far a product on weights in a type is from the f32 one, on normal random numbers: from definitions alone."""

from functools import cache

import numpy as np

from kernels.operations import LINEAR, OPERATIONS
from kernels.types import TYPES

ROWS = 256  # of weights


@cache
def relative_error(operation: str, element: str, k: int) -> float:
    """RMS of the error over RMS of the result, of sums of k products of standard normal numbers."""
    random = np.random.default_rng(4)
    x, w = random.standard_normal((8, k)).astype(np.float32), random.standard_normal((ROWS, k)).astype(np.float32)
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    stored = TYPES[element].decode(TYPES[element].encode(w))
    define = OPERATIONS[operation].define if operation in LINEAR else lambda x, w: x @ w.T
    error = define(x.astype(np.float64), stored) - exact
    return float(np.sqrt(np.mean(error**2) / np.mean(exact**2)))
