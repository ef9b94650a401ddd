"""No kernel touches memory outside its operands and its workspace, neither behind them nor before them."""

import os
import re
import subprocess

import pytest

import kernels
from kernels.backends import c as native
from support.process import ROOT, Run

SELFTEST = ROOT / "build" / "selftest"
"""C's kernels, without Python: tests/native."""
NUMBA = sorted({k.isa for k in kernels.KERNELS.values() if k.backend == "numba"})


def skip_unless_it_runs(backend: str, isa: str) -> None:
    if reason := next(k.reason for k in kernels.KERNELS.values() if (k.backend, k.isa) == (backend, isa)):
        pytest.skip(reason)


def selftest(*options: str) -> subprocess.CompletedProcess[str]:
    assert SELFTEST.exists(), f"{SELFTEST} is missing: make build"
    env = os.environ | {"OMP_WAIT_POLICY": "passive"}
    return subprocess.run([SELFTEST, *options], capture_output=True, text=True, env=env, timeout=600)


@pytest.mark.parametrize("isa", native.ISAS)
def test_c_touches_nothing_outside(isa: str) -> None:
    """Operands between guard pages, and every byte beside them looked at."""
    skip_unless_it_runs("c", isa)
    ran = selftest("--isa", isa, "--every", "3")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.split()[-4]) > 1000, "hardly any calls"


@pytest.mark.parametrize("isa", native.ISAS)
def test_offsets_beyond_32_bits(isa: str) -> None:
    """Rows, and matrices of a batch, whose offsets in elements exceed 2^32."""
    skip_unless_it_runs("c", isa)
    ran = selftest("--isa", isa, "--far")
    if ran.returncode == 77:
        pytest.skip(ran.stderr.strip())
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("isa", native.ISAS)
def test_sparse_products_touch_nothing_outside(isa: str, python: Run) -> None:
    """C's, whose weights are packed in Python; what is packed lies between guard pages, too."""
    skip_unless_it_runs("c", isa)
    ran = python("-m", "support.guarded", "c", isa, "sparse")
    *_, last = ran.stdout.splitlines() or [""]
    assert (ran.returncode, last) == (0, "done"), f"{last}\n{ran.stderr}"


@pytest.mark.parametrize("isa", NUMBA)
def test_numba_touches_nothing_outside(isa: str, python: Run) -> None:
    """In another process, which a touched guard page ends; its last line names the kernel."""
    skip_unless_it_runs("numba", isa)
    ran = python("-m", "support.guarded", "numba", isa)
    *_, last = ran.stdout.splitlines() or [""]
    assert (ran.returncode, last) == (0, "done"), f"{last}\n{ran.stderr}"


FAULTLESS = re.compile("vmovup[sd]|vmovdqu(32|64)|vscatter.*")  # stores that suppress the faults of masked lanes


def test_masked_stores_suppress_faults(machine_code: str) -> None:
    """AVX-512 code stores some lanes by moves and scatters alone, looked at on a CPU without it, too."""
    if "avx512" not in {k.isa for k in kernels.KERNELS.values()}:
        pytest.skip("needs a build with AVX-512")
    masked = set(re.findall(r"\t(\S+)\s[^\n]*\)\{%k\d\}\s*$", machine_code, re.MULTILINE))
    assert masked and not {name for name in masked if not FAULTLESS.fullmatch(name)}
