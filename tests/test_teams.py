"""Teams of any size: more threads than CPUs, more than tiles, fewer than asked for, fewer than in the last call."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cases import arguments, blocks, make_inputs, output_for
from conftest import Run

import kernels
from kernels import DTYPES, Kernel
from kernels.backends import c
from kernels.verify import check, error_bound, reference

MOST = 64
FIXED = [(337, 40, 1024), (169, 8, 409), (133, 8, 1024), (41, 4, 3072), (37, 4, 4096)]
"""(m, n, k) that some CPU's caches cut into blocks of rows whose last has fewer tiles than some team has threads."""


def uneven(kernel: Kernel) -> tuple[int, int, int]:
    """Such a shape for this CPU's caches: two blocks of rows, the second one of fewer tiles."""
    mr, _, lanes, kc = blocks(kernel)
    most = c.lib.cache_bytes(2) // 2 // (kc * DTYPES[kernel.dtype].itemsize) // mr * mr
    m = next(m for m in range(most + 1, 2 * most) if -(-(m - m // 2) // mr) > -(-(m // 2) // mr))
    return m, lanes, kc


def verify_teams(kernel: Kernel) -> None:
    """Every team size up to MOST computes the same product right; raises AssertionError naming those that don't."""
    wrong = []
    for m, n, k in (uneven(kernel), *FIXED):
        inputs = make_inputs(kernel, {"m": m, "n": n, "k": k})
        expected = reference(kernel.operation, inputs)
        bound = error_bound(kernel.operation, inputs, DTYPES[kernel.dtype])
        _, out = output_for(kernel, inputs)
        given = arguments(kernel, inputs)
        for threads in range(1, MOST + 1):
            out[...] = np.nan
            kernel.bind(*given, out=out, threads=threads)()
            if count := int((~(np.abs(out - expected) <= bound)).sum()):
                wrong.append(f"{m} x {n} x {k} on {threads} threads: {count} wrong elements")
    assert not wrong, "\n".join(wrong)


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
import sys
sys.path.append(sys.argv[1])
import kernels
from test_teams import verify_teams
for operation in ("gemm", "gemm_prepacked"):
    verify_teams(kernels.find(operation, "{dtype}", "numba"))
"""
    ran = python("-c", code, Path(__file__).parent, NUMBA_NUM_THREADS=str(MOST))
    assert ran.returncode == 0, ran.stderr


def test_fewer_threads_than_asked(python: Run) -> None:
    """OpenMP may start a smaller team than it is asked for: the work of the missing threads is still done."""
    code = """
import sys
import kernels
sys.path.append(sys.argv[1])
from cases import make_inputs, verify
for kernel in kernels.available():
    if kernel.backend == "c":
        try:
            verify(kernel, make_inputs(kernel, {"m": 50, "n": 70, "k": 60}), threads=3)
        except Exception as error:
            print(kernel.name, error)
"""
    ran = python("-c", code, Path(__file__).parent, OMP_THREAD_LIMIT="2")
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
    check(kernel.operation, before, out)
