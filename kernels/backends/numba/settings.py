"""Numba's settings, made before anything is decorated: the cache folder and its lock, the threads, the decorators."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import njit, types

from kernels.backends.numba import target

_config: Any = numba.config
_PLACES = re.compile("CACHE|THREAD|CUDA|COLOR")
"""In the names of Numba's settings that change no machine code, and may differ from one process to the next."""


def cache_name(package: Path = Path(__file__).parent) -> str:
    """The cache folder's name: Numba's version, the CPU's name, a hash of all that decides what is compiled.

    That is: all sources, the target's constants, LLVM's bindings, Numba's settings (NUMBA_OPT=0 makes slow code).
    Numba's own key has none of them: of the sources it notices edits of the file that holds the cached function, not
    of those whose functions that one calls; and two hosts with one CPU name and one home may differ in cache sizes.
    """
    frozen = {name: value for name, value in vars(target).items() if name.isupper()}
    chosen = {name: str(value) for name, value in vars(_config).items() if name.isupper() and not _PLACES.search(name)}
    digest = hashlib.sha256(repr((sorted(frozen.items()), sorted(chosen.items()), llvmlite.__version__)).encode())
    for source in sorted(package.rglob("*.py")):
        content = source.read_bytes()
        digest.update(f"\n{source.relative_to(package)} {len(content)}\n".encode() + content)
    return f"numba-{numba.__version__}-{llvm.get_host_cpu_name()}-{digest.hexdigest()[:12]}"


ROOM = 16 << 20  # bytes; all that Numba compiles of this project takes 7 MiB


def _cache_folder() -> str | None:
    """The cache folder, made if need be, inside NUMBA_CACHE_DIR if that is set.

    A temporary one if that can't be written, is on a full disk or, on some network file systems, can't be locked. None
    where that is so of both: then everything is compiled anew.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "ridgeline"
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or home) / cache_name()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _try(folder)
        return str(folder)
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="ridgeline-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _try(folder)
        return str(folder)
    return None


def _try(folder: Path) -> None:
    """Raises OSError where a file of ROOM can't be made, or not be locked."""
    with tempfile.TemporaryFile(dir=folder) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.posix_fallocate(file.fileno(), 0, ROOM)


_folder = _cache_folder()
CACHED = _folder is not None
if _folder:
    _config.CACHE_DIR = _folder
_config.THREADING_LAYER = "omp"  # the system libgomp, the C extension's pool too
_config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # one that isn't all of them is an error

_one_thread = threading.Lock()


@contextlib.contextmanager
def cache_lock() -> Iterator[None]:
    """Held by one thread of one process at a time, around all that may compile, or load what another one compiled.

    Numba reads the index of a function's cached versions, adds one under the next free number and writes it back: of
    two processes that do so at once, one finds its number filled with the other's machine code, from then on.
    """
    with _one_thread, open(Path(_folder, "lock"), "wb") if _folder else contextlib.nullcontext() as file:
        if file:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


jit = functools.partial(njit, cache=CACHED, nogil=True, error_model="numpy")
# Into Numba's own code of the caller: as a function each would be linked, optimised and generated once more.
inlined = functools.partial(jit, inline="always")
# Unfused: Numba can't see that a call in one prange writes what a call in the next one reads.
parallel = functools.partial(jit, parallel={"fusion": False})

# The symbol under numba.set_num_threads, which costs 2 us from Python and keeps compiled callers out of the cache.
use_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))
