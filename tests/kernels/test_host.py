"""csrc/host.c: caches of made-up machines, and CPUs with numbers that a cpu_set_t has no room for."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from kernels.backends.c import lib
from support.process import Run
from support.trees import lay

SAFE = (32 << 10, 256 << 10, 2 << 20)


def cpu(number: int, **levels: str) -> dict[str, str]:
    """Files of a CPU with caches L1="48K" and so on, an instruction cache beside the first."""
    found = {}
    for index, (name, size) in enumerate([("L1", "16K"), *levels.items()]):
        folder = f"sys/devices/system/cpu/cpu{number}/cache/index{index}"
        kind = "Instruction" if index == 0 else "Data"
        found |= {f"{folder}/level": name[1:], f"{folder}/size": size, f"{folder}/type": kind}
    return found


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        (cpu(4, L1="48K", L2="2048K", L3="36864K"), (48 << 10, 2 << 20, 36 << 20)),
        (cpu(0, L1="64K", L2="4096K", L3="36864K"), SAFE),  # of another CPU
        (cpu(4, L1="48K", L2="1024K"), (48 << 10, 1 << 20, 2 << 20)),  # the rest is hidden
        (cpu(4, L1="64K", L2="8192K"), (64 << 10, 8 << 20, 8 << 20)),  # none is smaller than the one before
        (cpu(4, L1="64K", L3="8192K"), (64 << 10, 256 << 10, 8 << 20)),
        (cpu(4, L1="0K", L2="-1K", L3="8192K"), (32 << 10, 256 << 10, 8 << 20)),
        ({}, SAFE),
    ],
)
def test_blocks_are_for_a_cpus_own_caches(tmp_path: Path, files: Mapping[str, str], sizes: tuple[int, ...]) -> None:
    found = lib.read_caches(str(lay(tmp_path, files)).encode(), 4)
    assert (found.l1, found.l2, found.l3) == sizes


def test_blocks_are_for_a_cpu_that_this_process_may_use(python: Run) -> None:
    last = max(os.sched_getaffinity(0))
    code = f"""
import os
os.sched_setaffinity(0, [{last}])
from kernels.backends.c import lib
own = lib.read_caches(b"", {last})
print((own.l1, own.l2, own.l3) == tuple(lib.cache_bytes(level) for level in (1, 2, 3)))
"""
    assert python("-c", code).stdout == "True\n"


LARGE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* A machine with room for 4096 CPUs, on which this process may use number 0 and 1500. */
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
    if (size < 512) { errno = EINVAL; return -1; }
    memset(set, 0, size);
    CPU_SET_S(0, size, set);
    CPU_SET_S(1500, size, set);
    return 0;
}

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set) {
    for (int cpu = 0; cpu < 8 * (int)size; cpu++)
        if (CPU_ISSET_S(cpu, size, set)) fprintf(stderr, "%d ", cpu);
    return 0;
}
"""


def test_cpus_beyond_1023(python: Run, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "large.c").write_text(LARGE)
    shim = tmp_path / "large.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, tmp_path / "large.c"], check=True)
    code = """
import os
from kernels.backends.c import ffi, lib
assert lib.pin_threads(1, 2, ffi.new("int[]", [0, 1500])) == 0
os.write(2, b"| ")
assert lib.ping_seconds(0, 1500, 1, 1) > 0
"""
    ran = python("-c", code, LD_PRELOAD=str(shim))
    pinned, _, pinged = ran.stderr.partition("| ")
    assert ran.returncode == 0, ran.stderr
    assert pinned.split()[-2:] == ["0", "1500"]
    assert pinged.split()[-2:] == ["0", "1500"]  # as it was before
    assert "1500" in pinged.split()[:-2]
