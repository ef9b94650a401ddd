"""A forward pass as steps, calls that are bound to their arrays before: binding, and timing, them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np

import kernels
from bench.host.placement import isa_in_use
from bench.models import BACKENDS
from bench.models.weights import Stored
from bench.record.runs.work import call as work_of
from kernels import Kernel
from kernels.arrays import aligned_empty
from kernels.backends import c
from kernels.operations import OPERATIONS
from kernels.types import DTYPES

AT_ONCE = 10**9
"""FLOPs of steps that are one call of C, about: some 50 ms, in which Python hears of no signal."""


@dataclass(frozen=True)
class Step:
    """One bound call. `flops` and bytes are its operation's; what NumPy does (look-up, cache, argmax) has no FLOPs.

    name   which part of the model it is: "qkv", "softmax", ...
    cold   bytes that come from where the weights are: weights and KV cache
    hot    bytes of activations, each operand once
    back   of these, what only goes back to where it came from: changed in place
    """

    name: str
    call: Callable[[], Any]
    flops: int = 0
    cold: int = 0
    hot: int = 0
    back: int = 0


class Binder:
    """Binds the kernels of one backend, dtype and number of threads, and makes the arrays they work on."""

    def __init__(self, dtype: str, threads: int, backend: str = "c") -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be {' or '.join(BACKENDS)}, not {backend!r}")
        self.dtype, self.threads = dtype, threads
        isa = isa_in_use() if backend == "c" else None
        self.kernel: Callable[[str], Kernel] = cache(lambda operation: kernels.find(operation, dtype, backend, isa))

    def empty(self, *shape: int) -> np.ndarray:
        array = aligned_empty(shape, DTYPES[self.dtype])
        array[...] = 0  # maps its pages
        return array

    def scalar(self, value: float) -> np.ndarray:
        return np.array([value], DTYPES[self.dtype])

    def step(self, name: str, operation: str, *inputs: Any, out: np.ndarray, cold: int | None = None) -> Step:
        """cold: which of the inputs comes from memory; None: none does."""
        return self.bound(name, self.kernel(operation), *inputs, out=out, cold=cold)

    def product(self, name: str, x: np.ndarray, weight: Stored, out: np.ndarray) -> Step:
        """out[m,n] = x[m,k] w[n,k]^T, by the kernel that the weights are packed for."""
        return self.bound(name, weight.kernel, x, weight.packed, out=out, cold=1)

    def bound(self, name: str, kernel: Kernel, *inputs: Any, out: np.ndarray, cold: int | None = None) -> Step:
        """A kernel's step, as step()."""
        operation = kernel.operation
        op = OPERATIONS[operation]
        dims = op.dims(x.shape for x in inputs)
        does = work_of(operation, dims, kernel.types, None if cold is None else op.inputs[cold][0])
        call = kernel.bind(*inputs, out=out, threads=self.threads)
        return Step(name, call, does.flops, does.cold, does.hot, does.back)

    def pack(self, weight: np.ndarray) -> Any:
        return self.kernel("gemm_prepacked").pack(weight, self.threads)


def by_name(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps of each part of the model, in order of first use."""
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        found[step.name].append(step)
    return found


class Chain:
    """Steps to be run in order. Those of C that follow each other are one call into it, which reads the clock between
    them: Python's code and objects, which a token's weights displace from the caches, took a tenth of GPT-2's time.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._names = list(by_name(steps))
        self._part = np.array([self._names.index(step.name) for step in steps], np.int64)
        self._seconds = np.zeros(len(steps))
        self._calls: list[Callable[[], Any]] = []
        self._firsts: list[int] = []
        done = np.cumsum([step.flops for step in steps]) // AT_ONCE
        native = [c.arguments_of(step.call) is not None for step in steps]
        for (by_c, _), some in groupby(enumerate(steps), lambda one: (native[one[0]], done[one[0]])):
            found = list(some)
            if by_c:
                first, end = found[0][0], found[-1][0] + 1
                self._calls.append(c.in_turn([step.call for _, step in found], self._seconds[first:end]))
                self._firsts.append(first)
            else:
                self._calls += [step.call for _, step in found]
                self._firsts += [i for i, _ in found]

    def run(self) -> None:
        for call in self._calls:
            call()

    def timed(self) -> dict[str, float]:
        """Runs it; part -> seconds. What Python takes around a call of C is its first step's."""
        clock = [perf_counter()]
        for call in self._calls:
            call()
            clock.append(perf_counter())
        self._seconds[self._firsts] = 0
        inside = np.add.reduceat(self._seconds, self._firsts)
        self._seconds[self._firsts] = np.diff(clock) - inside
        return dict(zip(self._names, np.bincount(self._part, self._seconds).tolist(), strict=True))
