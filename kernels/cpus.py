"""The CPUs that this process was started with, read before an OpenMP runtime is loaded.

Told to bind threads, a runtime binds the thread that loads it, usually the main one, which then has one CPU and passes
that mask on: from then on sched_getaffinity() tells the runtime's wish, not what the process may use.
"""

import os
from collections.abc import Mapping, Sequence

BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_HW_SUBSET")
"""The variables by which OpenMP runtimes bind threads to CPUs."""


def _now() -> list[int]:
    # elsewhere than on Linux nothing is measured, but records are read
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


_cpus = tuple(_now())
_unset: dict[str, str] = {}


def started_with() -> tuple[int, ...]:
    """The logical CPUs that this process may use, ascending."""
    return _cpus


def inherit_cpus(cpus: Sequence[int]) -> None:
    """Takes those of the process that started this one, from a thread that was pinned by then."""
    global _cpus
    _cpus = tuple(cpus)


def leave_unbound() -> None:
    """Unsets BINDING for what this process loads and starts from now on: for those who pin threads themselves."""
    for name in BINDING:
        if (value := os.environ.pop(name, None)) is not None:
            _unset[name] = value


def unset() -> Mapping[str, str]:
    """What leave_unbound() unset, and its value."""
    return _unset
