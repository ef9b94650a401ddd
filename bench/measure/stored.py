"""Kernels whose weights are not a case's plain ones: their operands, encoded and packed once, copied until cold.

Encoding takes NumPy 50 to 100 ns an element, so nothing is encoded a second time: copies of a matrix are equal, and
what is larger than ENCODED repeats itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bench.measure.arrays import Weights
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.arrays import Arena
from kernels.operations import OPERATIONS
from kernels.sparse import prune
from kernels.types import TYPES

ENCODED = 1 << 22
"""Elements that are encoded at most: in a larger matrix (the LM head) the weights of so many outputs come again."""


def plain(case: Case, kernel: Kernel) -> bool:
    """Whether the kernel takes the case's operands as they are, or packs them as they are."""
    op = OPERATIONS[kernel.operation]
    native = op.weights is None or (TYPES[kernel.types[op.weights]].native and not op.stored)
    return native and op.operands == OPERATIONS[case.operation].operands


class Operands(NamedTuple):
    """A kernel's inputs, in which the weights are those of the first outputs alone; and what these must be."""

    inputs: Mapping[str, np.ndarray]
    expected: np.ndarray
    bound: np.ndarray


class Stored:
    """Operands by operation, types and shape, kept for as long as this is: all visits of a session share them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._encoded: dict[Any, np.ndarray] = {}
        self._known: dict[Any, Operands] = {}

    def operands(self, case: Case, kernel: Kernel) -> Operands:
        """Random ones of the case's shape for the kernel's operation and types."""
        sizes = case.sizes(kernel.operation)
        sizes["n"] = min(case.n, max(1, ENCODED // case.k))
        key = (kernel.operation, kernel.label, kernel.meaning and kernel.backend, tuple(sizes.items()))
        if key not in self._known:
            op = OPERATIONS[kernel.operation]
            inputs = {name: self._values(kernel.types[name], tuple(sizes[d] for d in dims)) for name, dims in op.inputs}
            if op.stored and op.weights:
                inputs[op.weights] = self._pruned(kernel, inputs[op.weights], case.nnz)
            self._known[key] = Operands(inputs, *kernel.expected(list(inputs.values())))
        return self._known[key]

    def _values(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        element = TYPES[name]
        if element.native:
            return self._weights.values(shape, element.storage)
        if (name, shape) not in self._encoded:
            values = self._weights.values(shape, TYPES[element.accumulator].storage)
            self._encoded[name, shape] = element.encode(values)
        return self._encoded[name, shape]

    def _pruned(self, kernel: Kernel, w: np.ndarray, nnz: int) -> np.ndarray:
        """So many of the weights; those that are left are at least 1, and none is rounded to zero."""
        element = TYPES[kernel.types["w"]]
        values = element.decode(w)
        left = prune(kernel.operation, np.copysign(np.abs(values) + 1, values), nnz, np.random.default_rng(7))
        return element.encode(left)

    def copies(self, case: Case, kernel: Kernel, threads: int, count: int | None) -> list[Any]:
        """The weights for the kernel's calls in turn, packed where it takes packed ones: so many copies, or enough to
        be cold. Raises BadInput as Weights.count() does.
        """
        op, inputs = OPERATIONS[kernel.operation], self.operands(case, kernel).inputs
        ((matrix, axis),) = ((inputs[name], dims.index("n")) for name, dims in op.inputs if name == op.weights)
        if matrix.shape[axis] < case.n:
            matrix = matrix.take(np.arange(case.n) % matrix.shape[axis], axis)
        packed = kernel.pack(matrix, threads) if op.packed else None
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

    def check(self, case: Case, kernel: Kernel, out: np.ndarray) -> None:
        """Compares with float64 on the decoded weights. Raises WrongResult."""
        inputs, expected, bound = self.operands(case, kernel)
        known = (x.take(np.arange(case.n) % x.shape[-1], -1) for x in (expected, bound))
        kernel.check(list(inputs.values()), out, *known)
