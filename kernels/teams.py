"""How many threads OpenMP starts: counted once for each number of threads, before anything relies on it."""

import os
from functools import cache

from kernels.backends.c import lib

SETTINGS = (
    "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS",
    "KMP_ALL_THREADS", "KMP_DEVICE_THREAD_LIMIT", "KMP_DYNAMIC_MODE", "KMP_LIBRARY",
)  # fmt: skip
"""The variables that make a team smaller than it is asked for, of all OpenMP runtimes and of LLVM's and Intel's."""


@cache
def refusal(threads: int) -> str | None:
    """Why a team of so many threads isn't what OpenMP starts, in words that name the setting; None if it is."""
    if threads == 1:
        return None
    if error := lib.can_start(threads):
        return f"can't start {threads} threads: {os.strerror(error)} (ulimit -u or -v, or the cgroup's pids.max)"
    started = lib.team_started(threads)
    if started == threads:
        return None
    names = ", ".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ)
    size = f"{started}" if started else "as many as it likes"
    return f"of {threads} threads OpenMP starts {size}: {f'unset {names}' if names else 'something has set its limits'}"


def check_team(threads: int) -> None:
    """Raises ValueError where OpenMP doesn't start as many threads as it is asked for."""
    if reason := refusal(threads):
        raise ValueError(reason)
