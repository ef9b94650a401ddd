"""Numba's settings, made before anything is decorated: the cache folder, the threads, the decorators."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import njit, types

from kernels.backends.numba import target


def cache_name(package: Path = Path(__file__).parent) -> str:
    """The cache folder's name: Numba's version, the CPU's name, a hash of all sources and of the target's constants.

    Numba's own key has neither: of the sources it notices edits of the file that holds the cached function, not of
    those whose functions that one calls; and two hosts with one CPU name and one home may differ in cache sizes.
    """
    frozen = {name: value for name, value in vars(target).items() if name.isupper()}
    digest = hashlib.sha256(repr(sorted(frozen.items())).encode())
    for source in sorted(package.glob("*.py")):
        content = source.read_bytes()
        digest.update(f"\n{source.name} {len(content)}\n".encode() + content)
    return f"numba-{numba.__version__}-{llvm.get_host_cpu_name()}-{digest.hexdigest()[:12]}"


def _cache_folder() -> str:
    """The cache folder, made if need be, inside NUMBA_CACHE_DIR if that is set; a temporary one if not writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "ridgeline"
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or home) / cache_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="ridgeline-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return str(folder)


_config: Any = numba.config
_config.CACHE_DIR = _cache_folder()
_config.THREADING_LAYER = "omp"  # the system libgomp, the C extension's pool too

jit = functools.partial(njit, cache=True, nogil=True, error_model="numpy")
# Into Numba's own code of the caller: as a function each would be linked, optimised and generated once more.
inlined = functools.partial(jit, inline="always")
# Unfused: Numba can't see that a call in one prange writes what a call in the next one reads.
parallel = functools.partial(jit, parallel={"fusion": False})

# The symbol under numba.set_num_threads, which costs 2 us from Python and keeps compiled callers out of the cache.
use_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))
