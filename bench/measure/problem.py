"""Where kernels get ready to be timed: inputs, cold copies of weights, outputs, and checks before and after."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bench.measure.arrays import Weights, huge_page_share
from bench.measure.stored import Stored, plain
from bench.measure.timing import Variant
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.arrays import Arena, Scratch, aligned_empty
from kernels.operations import OPERATIONS
from kernels.packing import Packed
from kernels.types import DTYPES
from kernels.verify import check, reference


class Problem:
    """Prepares kernels for one case after another; what belongs to a case is dropped when the next one comes.

    arrays   how many times over the cold copies have to fit into memory: packed ones, other processes' ones
    beside   another problem, to share its weights' memory

    huge_pages: the share of the case's largest input that is on huge pages
    """

    huge_pages: float | None = None

    def __init__(self, arrays: int = 4, beside: "Problem | None" = None) -> None:
        self.weights: Weights = beside.weights if beside else Weights(arrays=arrays)
        self._stored: Stored = beside._stored if beside else Stored(self.weights)
        self._key: Any = None
        self._inputs: list[list[np.ndarray]] = []
        self._expected: np.ndarray | None = None
        self._outputs: dict[Kernel, np.ndarray] = {}
        self._calls: dict[Kernel, list[Callable[[], Any]]] = {}
        self._packed: dict[
            tuple[str, int], Any
        ] = {}  # with the address of what is packed; or, of all copies, 0 or -their number
        self._packed_for: Any = None
        self._scratch, self._arena = Scratch(), Arena()
        self._random = np.random.default_rng(7)

    def prepare(
        self, case: Case, dtype: str, threads: int, kernel: Kernel, copies: int | None = None, verified: bool = False
    ) -> Variant:
        """The kernel's calls, one per copy of the weights (the first `copies` of them), right after a first call.

        verified: an earlier first call gave the right result, so this one's isn't compared with the reference.

        A kernel of another operation or types than the case's has weights of that shape as it stores them, in copies of
        its own, enough of its own bytes to be cold.

        What works in place gets a copy of its first input, and works on its own results from the second call on.
        Raises WrongResult where its result is farther from float64's than rounding allows.
        """
        if self._key != (case, dtype, threads):
            self._outputs.clear()
            self._calls.clear()
            if not case.weight or self._packed_for != (case.n, case.k, case.nnz, dtype, threads):
                self._packed.clear()
                self._arena.reset()
                self._packed_for = (case.n, case.k, case.nnz, dtype, threads)
            self._inputs, self._expected, self.huge_pages = [], None, None
            self._key = (case, dtype, threads)
        stored = not plain(case, kernel)
        if not stored and not self._inputs:
            self._inputs = self._make_inputs(case, dtype)
            self.huge_pages = huge_page_share(max(self._inputs[0], key=lambda x: x.nbytes))
        shape = tuple({**case.sizes(kernel.operation), "1": 1}[d] for d in OPERATIONS[kernel.operation].output[1])
        out = self._outputs[kernel] = aligned_empty(shape, DTYPES[dtype])
        make = self._stored_arguments if stored else self._arguments
        with self._scratch:
            calls = self._calls[kernel] = [
                kernel.bind(*arguments, out=out, threads=threads) for arguments in make(kernel, out, copies)
            ]
        self._restore(kernel)
        calls[0]()
        if stored and not verified:
            self._stored.check(case, kernel, out)
        elif not verified:
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

    def _arguments(self, kernel: Kernel, out: np.ndarray, most: int | None) -> Iterator[Sequence[Any]]:
        """The inputs of each call in turn as this kernel takes them; packed weights are kept for other m."""
        for inputs in self._inputs[:most]:
            if OPERATIONS[kernel.operation].in_place:
                yield [out, *inputs[1:]]
            elif kernel.operation != "gemm_prepacked":
                yield inputs
            else:
                a, b = inputs
                key = (kernel.name, b.ctypes.data)
                if key not in self._packed:
                    with self._arena:
                        self._packed[key] = kernel.pack(b, self._key[2])
                yield [a, self._packed[key]]

    def _stored_arguments(self, kernel: Kernel, _: np.ndarray, most: int | None) -> Iterator[Sequence[Any]]:
        """The same of a kernel that takes others than the case's."""
        case, _, threads = self._key
        count = most if case.weight else 1
        key = (kernel.name, -(count or 0))
        if key not in self._packed:
            with self._arena:
                self._packed[key] = self._stored.copies(case, kernel, threads, count)
        inputs, weights = self._stored.operands(case, kernel).inputs, OPERATIONS[kernel.operation].weights
        for copy in self._packed[key]:
            yield [copy if name == weights else x for name, x in inputs.items()]

    def _restore(self, kernel: Kernel) -> None:
        """What works in place finds its input again."""
        if OPERATIONS[kernel.operation].in_place:
            self._outputs[kernel][...] = self._inputs[0][0]

    def cold(self) -> Iterator[np.ndarray]:
        """The weights that the case's calls walk through in turn."""
        if self._key and (name := self._key[0].weights):
            place = [operand for operand, _ in OPERATIONS[self._key[0].operation].inputs].index(name)
            yield from (inputs[place] for inputs in self._inputs)
        for packed in self._packed.values():
            for copy in packed if isinstance(packed, list) else [packed]:
                data = copy.data if isinstance(copy, Packed) else copy
                if isinstance(data, np.ndarray):  # not a library's own object
                    yield data

    def check_again(self, kernel: Kernel, copy: int) -> None:
        """What the last timed call, with that copy, left; of a tall matrix, eight of its rows. Raises WrongResult.

        What works in place is called once more, on its input.
        """
        op, out, case = OPERATIONS[kernel.operation], self._outputs[kernel], self._key[0]
        if not plain(case, kernel):
            self._stored.check(case, kernel, out)
            return
        inputs = self._inputs[copy]
        if op.in_place:
            self._restore(kernel)
            self._calls[kernel][copy]()
        if out.ndim == 2 and out.shape[0] > 8:
            some = self._random.choice(out.shape[0], 8, replace=False)
            tall = [names[0] == "m" for _, names in op.inputs]
            inputs, out = [x[some] if t else x for x, t in zip(inputs, tall, strict=True)], out[some]
        check(kernel.operation, kernel.types, inputs, out)
