"""Which CPUs threads get, and the words for how many threads there are."""

from bench.errors import BadInput
from bench.host.sysfs import UNLIKE, Host, alike, cpu_quota, one_cpu_per_core, ranges
from bench.quantities import plural


def cpus_for(threads: int, host: Host | None = None) -> list[int]:
    """The logical CPUs that `threads` threads are pinned to: one per physical core, and only beyond that siblings.

    Raises BadInput where the affinity mask has fewer, or fewer of one kind.
    """
    host = host or Host()
    usable, first = alike(host).mask, one_cpu_per_core(host)
    order = first + [cpu for cpu in usable if cpu not in first]
    if not 1 <= threads <= len(order):
        unlike = f" of one kind, {ranges(order)} of {ranges(host.mask)}" if usable != host.mask else ""
        raise BadInput(f"--threads {threads}: this process may use {plural(len(order), 'CPU')} at most{unlike}")
    return order[:threads]


def all_threads(host: Host | None = None) -> int:
    """One thread per physical core of the affinity mask, of the fastest kind; at most what the CPU quota is worth."""
    return _all_threads(host)[0]


def remarks(host: Host | None = None) -> list[str]:
    """Why threads don't run on all cores of the affinity mask, in words: a CPU quota, cores that are slower."""
    host = host or Host()
    note = _all_threads(host)[1]
    return [text for text in host.notes if text.startswith(UNLIKE)] + ([note] if note else [])


def _all_threads(host: Host | None) -> tuple[int, str | None]:
    host = host or Host()
    cores, quota = len(one_cpu_per_core(host)), cpu_quota(host)
    if quota is None or quota >= cores:
        return cores, None
    threads = max(1, int(quota))
    return (
        threads,
        f"the cgroup's quota is worth {quota:g} of {plural(cores, 'core')}: `all` is {threads}, and more are throttled",
    )


def thread_counts(text: str) -> list[int]:
    """ "1,2,all" as ascending numbers; all: all_threads(). Raises BadInput."""
    counts = set()
    for part in text.split(","):
        if part.strip() == "all":
            counts.add(all_threads())
        elif part.strip().isdecimal():
            counts.add(len(cpus_for(int(part))))
        else:
            raise BadInput(f"--threads {text}: give numbers or all, separated by commas")
    return sorted(counts)
