"""Teams of any size: more threads than CPUs, more than tiles, fewer than asked for, fewer than in the last call."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import kernels
from kernels import DTYPES, Kernel
from kernels.verify import check
from support.cases import arguments, make_inputs, output_for
from support.process import Run
from support.teams import MOST, verify_teams


@pytest.mark.parametrize(
    "kernel",
    [k for k in kernels.KERNELS.values() if k.operation in ("gemm", "gemm_prepacked") and k.backend == "c"],
    ids=str,
    indirect=True,
)
def test_any_team_size(kernel: Kernel) -> None:
    verify_teams(kernel)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_team_size_in_numba(dtype: str, python: Run) -> None:
    code = f"""
import kernels
from support.teams import verify_teams
for operation in ("gemm", "gemm_prepacked"):
    verify_teams(kernels.find(operation, "{dtype}", "numba"))
"""
    ran = python("-c", code, NUMBA_NUM_THREADS=str(MOST))
    assert ran.returncode == 0, ran.stderr


def test_fewer_threads_than_asked(python: Run) -> None:
    """OpenMP may start a smaller team than it is asked for: the work of the missing threads is still done."""
    code = """
import kernels
from support.cases import make_inputs, verify
for kernel in kernels.available():
    if kernel.backend == "c":
        try:
            verify(kernel, make_inputs(kernel, {"m": 50, "n": 70, "k": 60}), 3)
        except Exception as error:
            print(kernel.name, error)
"""
    ran = python("-c", code, OMP_THREAD_LIMIT="2")
    assert (ran.returncode, ran.stdout) == (0, "")


@contextmanager
def at_most_one_thread_per_cpu() -> Iterator[None]:
    """OpenMP's dynamic teams: never more threads than CPUs, whatever is asked for."""
    omp = ctypes.CDLL(sys.modules["kernels._native"].__file__)
    omp.omp_set_dynamic(1)
    try:
        yield
    finally:
        omp.omp_set_dynamic(0)


@pytest.mark.parametrize("kernel", [k for k in kernels.KERNELS.values() if k.backend == "c"], ids=str, indirect=True)
def test_a_smaller_team_than_in_the_last_call(kernel: Kernel) -> None:
    """Nothing is left of what the threads of the call before wrote."""
    threads = (os.cpu_count() or 1) + 3
    inputs = make_inputs(kernel, {"m": 50, "n": 1000, "k": 60})
    before = [x.copy() for x in inputs]
    _, out = output_for(kernel, inputs)
    call = kernel.bind(*arguments(kernel, inputs, threads, out), out=out, threads=threads)
    call()
    with at_most_one_thread_per_cpu():
        out[...] = before[0] if kernels.OPERATIONS[kernel.operation].in_place else np.nan
        call()
    check(kernel.operation, kernel.types, before, out)
