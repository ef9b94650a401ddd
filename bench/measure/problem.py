"""Where kernels get ready to be timed: inputs, cold copies of weights, outputs, and checks before and after."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.measure.arrays import Weights, huge_page_share
from bench.measure.timing import Variant
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.arrays import Arena, Scratch, aligned_empty
from kernels.operations import OPERATIONS
from kernels.types import DTYPES
from kernels.verify import check, reference


class Problem:
    """Prepares kernels for one case after another; what belongs to a case is dropped when the next one comes.

    arrays   how many times over the cold copies have to fit into memory: packed ones, other processes' ones
    weights  those of another problem, to share their memory

    huge_pages: the share of the case's largest input that is on huge pages
    """

    huge_pages: float | None = None

    def __init__(self, arrays: int = 4, weights: Weights | None = None) -> None:
        self.weights = weights or Weights(arrays=arrays)
        self._key: Any = None
        self._inputs: list[list[np.ndarray]] = []
        self._expected: np.ndarray | None = None
        self._outputs: dict[Kernel, np.ndarray] = {}
        self._calls: dict[Kernel, list[Callable[[], Any]]] = {}
        self._packed: dict[tuple[str, int], Any] = {}
        self._packed_for: Any = None
        self._scratch, self._arena = Scratch(), Arena()
        self._random = np.random.default_rng(7)

    def prepare(
        self, case: Case, dtype: str, threads: int, kernel: Kernel, copies: int | None = None, verified: bool = False
    ) -> Variant:
        """The kernel's calls, one per copy of the weights (the first `copies` of them), right after a first call.

        verified: an earlier first call gave the right result, so this one's isn't compared with the reference.

        What works in place gets a copy of its first input, and works on its own results from the second call on.
        Raises WrongResult where its result is farther from float64's than rounding allows.
        """
        if self._key != (case, dtype, threads):
            self._outputs.clear()
            self._calls.clear()
            if not case.weight or self._packed_for != (case.n, case.k, dtype, threads):
                self._packed.clear()
                self._arena.reset()
                self._packed_for = (case.n, case.k, dtype, threads)
            self._inputs, self._expected = self._make_inputs(case, dtype), None
            self._key = (case, dtype, threads)
            largest = max(self._inputs[0], key=lambda x: x.nbytes)
            self.huge_pages = huge_page_share(largest)
        op = OPERATIONS[case.operation]
        shape = tuple({**case.dims, "1": 1}[d] for d in op.output[1])
        out = self._outputs[kernel] = aligned_empty(shape, DTYPES[dtype])
        with self._scratch:
            calls = self._calls[kernel] = [
                kernel.bind(*self._arguments(kernel, x, out, threads), out=out, threads=threads)
                for x in self._inputs[:copies]
            ]
        self._restore(kernel)
        calls[0]()
        if not verified:
            if self._expected is None:
                self._expected = reference(case.operation, dtype, self._inputs[0])
            check(kernel.operation, kernel.types, self._inputs[0], out, self._expected)
        return calls

    def _make_inputs(self, case: Case, dtype: str) -> list[list[np.ndarray]]:
        """The inputs of each call in turn. Activations are the same each time, weights another copy."""
        op, dims = OPERATIONS[case.operation], {**case.dims, "1": 1}
        shapes = {name: tuple(dims[d] for d in names) for name, names in op.inputs}
        cold = case.weights
        hot = {name: self.weights.values(shape, DTYPES[dtype]) for name, shape in shapes.items() if name != cold}
        hot |= {name: abs(x) for name, x in hot.items() if x.shape == (1,)}  # a scale, or a variance's least
        if cold is None:
            return [[hot[name] for name in shapes]]
        copies = self.weights.copies(shapes[cold], DTYPES[dtype])
        return [[copy if name == cold else hot[name] for name in shapes] for copy in copies]

    def _arguments(self, kernel: Kernel, inputs: list[np.ndarray], out: np.ndarray, threads: int) -> Sequence[Any]:
        """The inputs as this kernel takes them; packed weights are kept for other m."""
        if OPERATIONS[kernel.operation].in_place:
            return [out, *inputs[1:]]
        if kernel.operation != "gemm_prepacked":
            return inputs
        a, b = inputs
        key = (kernel.name, b.ctypes.data)
        if key not in self._packed:
            with self._arena:
                self._packed[key] = kernel.pack(b, threads)
        return [a, self._packed[key]]

    def _restore(self, kernel: Kernel) -> None:
        """What works in place finds its input again."""
        if OPERATIONS[kernel.operation].in_place:
            self._outputs[kernel][...] = self._inputs[0][0]

    def check_again(self, kernel: Kernel, copy: int) -> None:
        """What the last timed call, with that copy, left; of a tall matrix, eight of its rows. Raises WrongResult.

        What works in place is called once more, on its input.
        """
        op, inputs, out = OPERATIONS[kernel.operation], self._inputs[copy], self._outputs[kernel]
        if op.in_place:
            self._restore(kernel)
            self._calls[kernel][copy]()
        if out.ndim == 2 and out.shape[0] > 8:
            some = self._random.choice(out.shape[0], 8, replace=False)
            tall = [names[0] == "m" for _, names in op.inputs]
            inputs, out = [x[some] if t else x for x, t in zip(inputs, tall, strict=True)], out[some]
        check(kernel.operation, kernel.types, inputs, out)
