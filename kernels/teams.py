"""How many threads OpenMP starts, counted once for each number of threads before anything relies on it; and whose a
call and a team are: one thread's at a time, and not a forked child's."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from kernels.backends.c import BUSY, FORKED, lib

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


_forked = False  # from a thread that had a team


def _in_child() -> None:
    global _forked
    _forked = bool(lib.forked_team())
    refusal.cache_clear()


os.register_at_fork(after_in_child=_in_child)


def check_team(threads: int) -> None:
    """Raises ValueError where OpenMP doesn't start as many threads as it is asked for, RuntimeError in a child that was
    forked from a thread with a team."""
    if _forked and threads > 1:
        raise RuntimeError(FORKED)
    if reason := refusal(threads):
        raise ValueError(reason)


def exclusive(run: Callable[[], Any], threads: int) -> Callable[[], None]:
    """The call, with RuntimeError where another thread is running it, or where its team can't be here, as C's calls
    have it by themselves."""
    running = False  # no lock, which costs 150 ns: CPython switches threads at calls and jumps back, not in between

    def call() -> None:
        nonlocal running
        if running:
            raise RuntimeError(BUSY)
        running = True
        try:
            if _forked and threads > 1:
                raise RuntimeError(FORKED)
            run()
        finally:
            running = False

    return call
