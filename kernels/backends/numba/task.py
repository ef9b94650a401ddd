"""Tasks: what one thread does of an operation, compiled as a C function and run by one parallel loop.

A task is task(a, b, c, work, sizes, step, t, threads): three operands, scratch memory, and a record of sizes that were
planned when the call was bound. Tasks are called by address from the only prange they share: Numba takes seconds to
compile a prange, and generates three times whatever the loop calls directly.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import cfunc, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.arrays import Scratch
from kernels.backends.numba.settings import CACHED, cache_lock, jit, parallel, use_threads
from kernels.types import DTYPES, TYPES

Call = Callable[[], Any]

FIRST_CALLS: dict[str, float] = {}
"""Function -> seconds that compiling it, or loading it from the cache, took in this process."""


@intrinsic
def call_address(typing, function, *args):
    """Calls the C function at an address, with pointers and int64; an address is passed as a pointer is."""

    def emit(context, builder, signature, values):
        function, packed = values
        arguments = cgutils.unpack_tuple(builder, packed, len(args))
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(function, types.BaseTuple.from_types(args)), emit


@parallel
def run(task, steps, a, b, c, work, sizes, threads):
    if threads == 1:  # entering a parallel region costs 1 us, of one thread too
        for step in range(steps):
            call_address(task, a, b, c, work, sizes, step, 0, 1)
    else:
        use_threads(threads)
        for step in range(steps):  # with a barrier after each
            for t in prange(threads):
                call_address(task, a, b, c, work, sizes, step, t, threads)


@jit
def share(count, t, threads):
    """First and last + 1 of thread t's part of range(count), cut as OpenMP's static schedule cuts it."""
    return count * t // threads, count * (t + 1) // threads


@jit
def share_start(n, unit, t, threads):
    """Where thread t's share of n elements begins, in whole units; it ends where the next one's begins."""
    return min((n + unit - 1) // unit * t // threads * unit, n)


def divide_up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def c_function(name: str, function: Callable[..., None], *kinds: Any) -> Any:
    """A C function without a result, compiled or from the cache; the time goes to FIRST_CALLS under that name."""
    with cache_lock():
        start = time.perf_counter()
        compiled = cfunc(types.void(*kinds), cache=CACHED, error_model="numpy")(function)
        FIRST_CALLS[name] = time.perf_counter() - start
    return compiled


def pointer_to(dtype: str) -> Any:
    """Numba's type of a pointer to "f32" or "f64"."""
    return types.CPointer(numba.from_dtype(DTYPES[dtype]))


HALVES = {types.uint16: "bf16", types.int16: "f16"}
"""Numba has no arithmetic on 16-bit floats: arrays of them are pointers to these integers."""
_STORED = {TYPES[name].storage: (name, types.CPointer(kind)) for kind, name in HALVES.items()}


@functools.cache
def _compiled(
    function: Callable[..., None], dtype: str, stored: tuple[np.dtype | None, ...], fields: tuple[str, ...]
) -> tuple[Any, np.dtype]:
    """A task as a C function, and the dtype of its sizes; stored: dtypes of operands, where that isn't `dtype`."""
    record = np.dtype([(field, np.int64) for field in fields])
    sizes = types.CPointer(numba.from_dtype(record))
    names = [_STORED[of][0] for of in stored if of]
    operands = [_STORED[of][1] if of else pointer_to(dtype) for of in stored]
    name = "_".join([function.__name__, *names, dtype])
    kinds = [*operands, pointer_to(dtype), sizes, types.int64, types.int64, types.int64]
    return c_function(name, function, *kinds), record


def launch(
    function: Callable[..., None],
    a: np.ndarray | None,
    b: np.ndarray,
    c: np.ndarray,
    threads: int,
    steps: int = 1,
    room: int = 1,
    **sizes: Any,
) -> Call:
    """The call that runs a task on arrays and on scratch memory for `room` elements, with sizes; compiles the task.

    A missing operand is None, its address 0; an array among the sizes becomes its address.
    """
    sizes["itemsize"] = c.itemsize
    stored = tuple(x.dtype if x is not None and x.dtype in _STORED else None for x in (a, b, c))
    task, record = _compiled(function, f"f{c.itemsize * 8}", stored, tuple(sizes))
    work = Scratch.take(room * c.itemsize)
    values = np.array(tuple(map(_number, sizes.values())), record)
    call = bind("parallel", run, task.address, steps, *map(_number, (a, b, c, work, values)), threads)
    call.keep = a, b, c, work, values, sizes  # an address is valid while its array is alive
    return call


def _number(value: Any) -> int:
    """An integer as it is, an array's address, 0 for None."""
    return value.ctypes.data if isinstance(value, np.ndarray) else value or 0


def bind(name: str, function: Any, *args: Any) -> Any:
    """The compiled function applied to args, past Numba's look-up of argument types; compiles it if need be."""
    # Read-only arrays pass as writeable ones, lest every function be compiled for both; none writes to its inputs.
    kinds = [numba.typeof(arg) for arg in args]
    signature = tuple(kind.copy(readonly=False) if isinstance(kind, types.Array) else kind for kind in kinds)
    if signature not in function.overloads:
        with cache_lock():
            start = time.perf_counter()
            function.compile(signature)
            FIRST_CALLS[name] = time.perf_counter() - start
    return functools.partial(function.get_overload(signature), *args)
