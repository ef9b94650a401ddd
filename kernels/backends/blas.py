"""The library reference: NumPy's matmul, that is the BLAS that NumPy was built with."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from kernels.operations import PRODUCTS
from kernels.types import DTYPES

OPERATIONS: tuple[tuple[str, str], ...] = tuple((op, dtype) for op in PRODUCTS for dtype in DTYPES)
"""(operation, element type) of every kernel."""


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def name() -> str:
    """The library and the kernels it chose for this CPU, as in "openblas-Zen"; "unknown" if threadpoolctl sees none."""
    found = [f"{pool['internal_api']}-{pool.get('architecture') or 'unknown'}" for pool in _pools().info()]
    return found[0] if found else "unknown"


def set_threads(threads: int) -> None:
    """Sizes the BLAS thread pool of the whole process."""
    _pools().limit(limits=threads)  # not used as a context manager: the size stays until the next call


def missing() -> str | None:
    """Why it can't be measured here, or None: its threads have to be known."""
    return (
        None if _pools().info() else "NumPy's BLAS has no thread pool that threadpoolctl knows: its size can't be set"
    )


@cache
def _most(threads: int) -> int:
    """The smallest pool that is had where so many threads are asked for; the pools are left as they were."""
    with _pools().limit(limits=threads):
        return min(int(pool["num_threads"]) for pool in _pools().info())


def refusal(threads: int) -> str | None:
    """Why it doesn't run on so many threads, or None."""
    most = _most(threads)
    return None if most == threads else f"{name()} has a pool of {most} where it is asked for {threads} threads"


def check_threads(threads: int) -> None:
    """Raises ValueError where the pool can't have so many threads."""
    if reason := refusal(threads):
        raise ValueError(reason)


def bind(operation: str, inputs: list[Any], out: np.ndarray) -> Callable[[], Any]:
    """The call; it runs on as many threads as set_threads() said last."""
    if operation == "gemm_batch_t":
        a, b = inputs
        inputs = [a, b.swapaxes(1, 2)]
    return partial(np.matmul, *inputs, out)
