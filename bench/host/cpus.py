"""Which CPUs threads get, and the words for how many threads there are."""

import os

from bench.errors import BadInput
from bench.host.sysfs import one_cpu_per_core


def cpus_for(threads: int) -> list[int]:
    """The logical CPUs that `threads` threads are pinned to: one per physical core, and only beyond that siblings.

    Raises BadInput where the affinity mask has fewer.
    """
    first = one_cpu_per_core()
    order = first + [cpu for cpu in sorted(os.sched_getaffinity(0)) if cpu not in first]
    if not 1 <= threads <= len(order):
        raise BadInput(f"--threads {threads}: this process may use 1 to {len(order)} CPUs")
    return order[:threads]


def thread_counts(text: str) -> list[int]:
    """ "1,2,all" as ascending numbers; all: one thread per physical core of the affinity mask. Raises BadInput."""
    counts = set()
    for part in text.split(","):
        if part.strip() == "all":
            counts.add(len(one_cpu_per_core()))
        elif part.strip().isdecimal():
            counts.add(len(cpus_for(int(part))))
        else:
            raise BadInput(f"--threads {text}: give numbers or all, separated by commas")
    return sorted(counts)
