"""Tasks: what one thread does of an operation, compiled as a C function and run by one parallel region.

A task is task(a, b, c, work, sizes, step, t, threads): three operands, scratch memory, and a record of sizes that were
planned when the call was bound. Tasks are called by address from the region they share. It is OpenMP's own: a prange
takes seconds to compile, and at each call, and each barrier, 2 us longer to enter (Zen 3, 2 threads).
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels._native import __file__ as native
from kernels.arrays import Scratch
from kernels.backends.numba.settings import CACHED, cache_lock, jit
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


thread_number = types.ExternalFunction("omp_get_thread_num", types.intc())
team_size = types.ExternalFunction("omp_get_num_threads", types.intc())
wait_for_team = types.ExternalFunction("GOMP_barrier", types.void())
fork_team = types.ExternalFunction("GOMP_parallel", types.void(types.intp, types.intp, types.uintc, types.uintc))
# Those of the library that the C extension runs on: one pool.
for _function in thread_number, team_size, wait_for_team, fork_team:
    _address = ctypes.cast(ctypes.CDLL(native)[_function.symbol], ctypes.c_void_p).value
    binding.add_symbol(_function.symbol, _address)

_RUN = np.dtype([(field, np.int64) for field in ("task", "steps", "a", "b", "c", "work", "sizes", "threads")])


def _team(call):
    """What each thread of a team does: its tasks of every step, with a barrier after each."""
    z = carray(call, 1)[0]
    first, size = thread_number(), team_size()
    for step in range(z.steps):
        if step > 0:
            wait_for_team()
        for t in range(first, z.threads, size):  # one, unless the team is smaller than it was asked to be
            call_address(z.task, z.a, z.b, z.c, z.work, z.sizes, step, t, z.threads)


@functools.cache
def _compiled_team() -> Any:
    return c_function("team", _team, types.CPointer(numba.from_dtype(_RUN)))


@jit
def run(team, call, threads):
    if threads == 1:
        call_address(team, call)
    else:
        fork_team(team, call, threads, 0)


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
    whole = np.array((task.address, steps, *map(_number, (a, b, c, work, values)), threads), _RUN)
    call = bind("run", run, _compiled_team().address, _number(whole), threads)
    call.keep = a, b, c, work, values, whole, sizes  # an address is valid while its array is alive
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
