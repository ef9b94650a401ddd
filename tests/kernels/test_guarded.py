"""No kernel touches memory outside its operands and its workspace, neither behind them nor before them."""

import re
import shutil
import subprocess
import sys

import pytest

import kernels
from support.process import Run

ROWS = sorted({(k.backend, k.isa) for k in kernels.KERNELS.values() if k.backend != "blas"})


@pytest.mark.parametrize(("backend", "isa"), ROWS)
def test_nothing_outside_is_touched(backend: str, isa: str, python: Run) -> None:
    """In another process, which a touched guard page ends; its last line names the kernel."""
    if reason := next(k.reason for k in kernels.KERNELS.values() if (k.backend, k.isa) == (backend, isa)):
        pytest.skip(reason)
    ran = python("-m", "support.guarded", backend, isa)
    *_, last = ran.stdout.splitlines() or [""]
    assert (ran.returncode, last) == (0, "done"), f"{last}\n{ran.stderr}"


FAULTLESS = re.compile("vmovup[sd]|vmovdqu(32|64)|vscatter.*")  # stores that suppress the faults of masked lanes


def test_masked_stores_suppress_faults() -> None:
    """AVX-512 code stores some lanes by moves and scatters alone, looked at on a CPU without it, too."""
    if shutil.which("objdump") is None or "avx512" not in {k.isa for k in kernels.KERNELS.values()}:
        pytest.skip("needs objdump and a build with AVX-512")
    module = sys.modules["kernels._native"].__file__
    code = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(module)], capture_output=True, text=True, check=True
    ).stdout
    masked = set(re.findall(r"\t(\S+)\s[^\n]*\)\{%k\d\}\s*$", code, re.MULTILINE))
    assert masked and not {name for name in masked if not FAULTLESS.fullmatch(name)}
