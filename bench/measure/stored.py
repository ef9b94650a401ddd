"""Weights as a kernel takes them that are not the case's plain ones: encoded once, packed once, copied until cold.

Encoding takes NumPy 50 to 100 ns an element, so nothing is encoded a second time: the copies of a matrix are equal.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from bench.measure.arrays import Weights
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.arrays import Arena
from kernels.operations import OPERATIONS
from kernels.types import TYPES
from kernels.verify import check

ENCODED = 1 << 22
"""Elements that are encoded at most; in a larger matrix (the LM head) those rows come again and again."""
CHECKED = 1 << 22  # weights that are decoded at a time: 32 MiB in float64


def plain(case: Case, kernel: Kernel) -> bool:
    """Whether the kernel takes the case's operands as they are, or packs them as they are."""
    op = OPERATIONS[kernel.operation]
    native = op.weights is None or TYPES[kernel.types[op.weights]].native
    return native and op.operands == OPERATIONS[case.operation].operands


class Stored:
    """Encoded matrices by shape and type, kept for as long as this is: all visits of a session share them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._encoded: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def operands(self, case: Case, kernel: Kernel, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The case's inputs as the kernel's operation has them: activations in its shape, weights in its type and
        orientation, not packed yet.
        """
        op, names = OPERATIONS[kernel.operation], OPERATIONS[case.operation]
        sizes = case.sizes(kernel.operation)
        given = {name: (x, dims) for (name, dims), x in zip(names.inputs, inputs, strict=True)}
        matrix, dims = given.pop(names.weights or "")
        ((activations, _),) = given.values()
        found = []
        for name, wanted in op.inputs:
            if name == op.weights:
                found.append(self._matrix(matrix if dims == wanted else matrix.T, kernel.types[name]))
            else:
                found.append(activations.reshape([sizes[d] for d in wanted]))
        return found

    def _matrix(self, values: np.ndarray, element: str) -> np.ndarray:
        key = element, values.shape
        if key not in self._encoded:
            count, width = values.shape
            rows = min(count, max(1, ENCODED // width))
            encoded = TYPES[element].encode(np.ascontiguousarray(values[:rows]))
            self._encoded[key] = encoded if rows == count else np.take(encoded, np.arange(count) % rows, axis=0)
        return self._encoded[key]

    def copies(self, kernel: Kernel, matrix: np.ndarray, threads: int, count: int | None) -> list[Any]:
        """The matrix for the kernel's calls in turn, packed where it takes packed ones: so many of them, or enough to
        be cold. Raises BadInput as Weights.count() does.
        """
        packed = kernel.pack(matrix, threads) if OPERATIONS[kernel.operation].packed else None
        data = packed.data if packed else matrix
        if packed and not isinstance(data, np.ndarray):  # a library's own object
            count = count or -(-self._weights.count(matrix.nbytes) // 2)  # each takes it up to 35 ms
            return [packed, *(kernel.pack(matrix, threads) for _ in range(count - 1))]
        found = []
        for _ in range(count or self._weights.count(data.nbytes)):
            copy = Arena.take(data.size, data.dtype).reshape(data.shape)
            copy[...] = data
            found.append(replace(packed, data=copy) if packed else copy)
        return found


def check_stored(case: Case, kernel: Kernel, operands: list[np.ndarray], out: np.ndarray, most: int = 0) -> None:
    """Compares with float64 on the decoded weights, in blocks of n; most: of so many columns alone, spread over all of
    them. Raises WrongResult.
    """
    count = out.shape[-1]
    columns = np.unique(np.linspace(0, count - 1, most).astype(int)) if 0 < most < count else np.arange(count)
    axes = [names.index("n") if "n" in names else None for _, names in OPERATIONS[kernel.operation].inputs]
    for part in np.array_split(columns, -(-columns.size * case.k // CHECKED)):
        inputs = [x if axis is None else x.take(part, axis) for x, axis in zip(operands, axes, strict=True)]
        check(kernel.operation, kernel.types, inputs, out[..., part])
