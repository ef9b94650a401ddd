"""What the Numba backend keeps in its cache: reused by the next process, and never once it is stale."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

from kernels import _native
from kernels.backends import numba as backend
from kernels.backends.numba import settings, target
from support.process import Run, unfinished

PACKAGE = Path(settings.__file__).parent


@pytest.mark.parametrize("name", sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")))
def test_an_edit_of_any_file_is_another_cache(name: str, tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "numba")
    assert settings.cache_name(copy) == settings.cache_name()
    source = copy / name
    source.write_bytes(source.read_bytes()[:-1] + b" ")
    assert settings.cache_name(copy) != settings.cache_name()


@pytest.mark.parametrize("constant", ["VECTOR_BYTES", "MR", "TILE_VECTORS", "L1", "L2", "L3", "EXP", "TAIL"])
def test_another_target_is_another_cache(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.cache_name()
    assert settings.cache_name() == before
    value = getattr(target, constant)
    monkeypatch.setattr(target, constant, {**value, 4: value[4][::-1]} if isinstance(value, dict) else 2 * value)
    assert settings.cache_name() != before


@pytest.mark.parametrize("setting", ["OPT", "LOOP_VECTORIZE", "BOUNDSCHECK", "CPU_NAME", "LLVM_REFPRUNE_PASS"])
def test_other_settings_of_numba_are_another_cache(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.cache_name()
    monkeypatch.setattr(numba.config, setting, "other")
    assert settings.cache_name() != before


def test_more_threads_are_the_same_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.cache_name()
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 99)
    assert settings.cache_name() == before


PREPACKED = """
import sys, time
from pathlib import Path
from numba.core.caching import IndexDataCacheFile as File
import numpy as np
import kernels

started, *rows = Path(sys.argv[1]), *map(int, sys.argv[2:])
save = File._save_index

def save_together(self, overloads):
    if "tile" in self._index_name:
        (started / str(rows[0])).touch()
        late = time.monotonic() + 2
        while len(list(started.iterdir())) < 3 and time.monotonic() < late:
            time.sleep(0.01)
    save(self, overloads)

File._save_index = save_together
kernel = kernels.find("gemm_prepacked", "f32", "numba")
b = kernel.pack(np.ones((2, 1), np.float32))
for m in rows:
    assert (kernel(np.ones((m, 2), np.float32), b) == 2).all(), m
"""


def test_processes_that_compile_at_once_share_a_cache(python: Run, tmp_path: Path) -> None:
    """Tiles of several heights are versions of one function, and each has its own machine code in the end."""
    started, cache = tmp_path / "started", str(tmp_path / "cache")
    started.mkdir()
    heights = [["2"], ["3"], ["4"]]
    with ThreadPoolExecutor() as pool:
        for ran in pool.map(lambda rows: python("-c", PREPACKED, started, *rows, NUMBA_CACHE_DIR=cache), heights):
            assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "cache").rglob("*tile*.nbc"))) == 3
    ran = python("-c", PREPACKED, started, "2", "3", "4", NUMBA_CACHE_DIR=cache)
    assert ran.returncode == 0, ran.stderr


FULL = """
import resource, sys
import numpy as np
import kernels

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
w, x = np.ones((5, 9), np.float32), np.ones(9, np.float32)
print(kernels.find("gemv", "f32", "numba")(w, x, out=np.zeros(5, np.float32)))
"""


@pytest.mark.parametrize("cache", [None, "/proc/none"])
def test_without_a_place_for_the_cache_the_kernels_run(cache: str | None, python: Run, tmp_path: Path) -> None:
    """A disk that takes no file of 8 KiB, /tmp neither; and a folder that can't be made.

    -B: Python 3.11 keeps what fits of a module that it has compiled, and every later import of it fails.
    """
    folder = cache or str(tmp_path / "cache")
    ran = python("-B", "-c", FULL, 8192, NUMBA_CACHE_DIR=folder, TMPDIR=folder if cache else str(tmp_path))
    assert (ran.returncode, ran.stdout) == (0, "[9. 9. 9. 9. 9.]\n"), ran.stderr
    assert not list(tmp_path.rglob("*.nb?"))


CALLS = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

sys.meta_path[:] = BuiltinImporter, FrozenImporter, PathFinder  # an editable install's finder would find the original
import numpy as np

import kernels

assert kernels.__file__.startswith(sys.argv[1])
w, x = np.ones((5, 9), np.float32), np.ones(9, np.float32)
print(np.unique(kernels.find("gemv", "f32", "numba")(w, x, out=np.zeros(5, np.float32))))
"""


def test_the_cache_is_reused_until_a_callee_in_another_module_changes(python: Run, tmp_path: Path) -> None:
    """gemv's machine code contains task.py's share_start, and Numba's own key doesn't see an edit of task.py."""
    package = shutil.copytree(PACKAGE.parents[1], tmp_path / "kernels", ignore=unfinished)
    shutil.copy(_native.__file__, package)

    def run() -> tuple[str, set[Path]]:
        ran = python("-c", CALLS, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert ran.returncode == 0, ran.stderr
        return ran.stdout, set((tmp_path / "cache").rglob("*.nbc"))

    output, cached = run()
    assert output == "[9.]\n"
    assert cached
    assert run() == (output, cached)
    source, share_start = package / "backends" / "numba" / "task.py", "return min((n + unit - 1) // unit * t"
    assert share_start in source.read_text()
    source.write_text(source.read_text().replace(share_start, "return 0 * min((n + unit - 1) // unit * t"))
    assert run()[0] == "[0.]\n"


def test_pinned_threads_do_not_change_how_many_there_are(python: Run) -> None:
    """Numba is imported when its first kernel is bound, when the main thread is pinned to one CPU."""
    code = """
import os
from bench.host.placement import pinned
cpus = len(os.sched_getaffinity(0))
with pinned(1):
    import kernels
    print(kernels.find("gemm", "f32", "numba").most_threads == cpus)
"""
    ran = python("-c", code)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


@pytest.mark.skipif(backend.isa() not in ("avx2", "avx512"), reason="no dot products of its own")
def test_an_instruction_that_llvm_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another name of the CPU: what needs it isn't run, all else is."""
    assert backend.missing("linear", "i4g32") is backend.missing("gemv_csr", "f32") is None
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", dict)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "x86-64")
    for operation, element in (("linear", "i4g32"), ("gemv_csr", "f32")):
        reason = backend.missing(operation, element)
        assert reason is not None and reason.startswith("LLVM has no avx") and reason.endswith(", x86-64")
    assert backend.missing("linear", "bf16") is backend.missing("gemv", "f32") is None
