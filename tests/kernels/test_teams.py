"""Teams of any size: more threads than CPUs, more than tiles, fewer than asked for, fewer than in the last call."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import kernels
from kernels import DTYPES, Kernel, registry
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


REFUSED = """
import numpy as np
import kernels
a = np.ones((8, 8), np.float32)
for backend in ("c", "numba"):
    kernel = kernels.find("gemm", "f32", backend)
    print((kernel(a, a, threads=1) == 8).all(), end=" ")
    for call in (lambda: kernel(a, a, threads=2), lambda: kernels.find("gemm_prepacked", "f32", "c").pack(a, 2)):
        try:
            call()
        except ValueError as error:
            print(error, end=" ")
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_THREAD_LIMIT", "1"),
        ("OMP_DYNAMIC", "true"),
        ("OMP_MAX_ACTIVE_LEVELS", "0"),
    ],
)
def test_a_setting_that_makes_teams_smaller_is_refused_by_name(python: Run, name: str, value: str) -> None:
    """What ran on one thread would be recorded, and held against roofs, as if it had run on two."""
    ran = python("-c", REFUSED, **{name: value}, NUMBA_NUM_THREADS="2")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("True") == 2
    assert ran.stdout.count(f"unset {name}={value}") == 4


def test_a_limit_that_leaves_enough_threads_is_none(python: Run) -> None:
    ran = python("-c", REFUSED, OMP_THREAD_LIMIT="2", OMP_MAX_ACTIVE_LEVELS="1", NUMBA_NUM_THREADS="2")
    assert (ran.returncode, ran.stdout) == (0, "True True "), ran.stderr


def test_threads_that_cannot_be_made_are_refused(python: Run) -> None:
    """OpenMP would end the process: here, a thousand stacks don't fit into its address space."""
    code = """
import numpy as np, kernels
from support.process import limit_address_space
kernel, a = kernels.find("gemm", "f32", "c"), np.ones((8, 8), np.float32)
limit_address_space(200 << 20)
try:
    kernel(a, a, threads=1024)
except ValueError as error:
    print(error, (kernel(a, a, threads=2) == 8).all())
"""
    ran = python("-c", code)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("can't start 1024 threads: ")
    assert ran.stdout.endswith("True\n")


def test_a_blas_pool_that_ends_earlier_is_refused() -> None:
    """Pools are built for so many CPUs: asked for more, they take what they have and say nothing."""
    a = np.ones((8, 8), np.float32)
    with pytest.raises(ValueError, match=r"has a pool of \d+ where it is asked for 1024 threads"):
        kernels.find("gemm", "f32", "blas")(a, a, threads=1024)
    assert "has a pool of" in (registry.unusable("blas", 1024) or "")
    assert registry.unusable("blas", 1) is None


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
