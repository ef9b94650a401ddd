"""A forward pass as steps, calls that are bound to their arrays before: binding, and timing, them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
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
from kernels.operations import OPERATIONS
from kernels.types import DTYPES


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


def timed_steps(steps: Iterable[Step]) -> dict[str, float]:
    """Runs the steps, once each and in order; name -> seconds. Reading the clock costs each some 0.1 us."""
    spent: dict[str, float] = defaultdict(float)
    before = perf_counter()
    for step in steps:
        step.call()
        now = perf_counter()
        spent[step.name] += now - before
        before = now
    return spent
