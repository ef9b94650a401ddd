"""What this process may use: its cores, caches, memory and CPU time, as Linux tells in /proc and /sys.

Every function takes a Host, which says where to read and for which CPUs; without one, this process's own. A fact that
can't be found is None, and the Host's notes say what was missing.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

CPUS = "/sys/devices/system/cpu"
# cgroup v1 has no word for "no limit", only LONG_MAX rounded down to a page; nothing real comes near 2^62 bytes
UNLIMITED = 1 << 62
# limit, usage, and memory.stat's key of the pages that can go: cgroup v2, v1
MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


class Host:
    """Where facts are read: the files under `root`, for the logical CPUs in `mask` (None: the process's affinity mask).

    notes   what was looked for and not found, in order
    """

    def __init__(self, root: Path | str = "/", mask: Sequence[int] | None = None) -> None:
        self.root = Path(root)
        self.mask = sorted(os.sched_getaffinity(0) if mask is None else mask)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def text(self, path: str, needed: bool = True) -> str | None:
        """A file's text without outer white space; None, noted if `needed`, where it is empty or can't be read."""
        try:
            found = (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
            reason = f"{path} is empty"
        except OSError as error:
            found = ""
            reason = f"no {path}" if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}"
        if not found and needed:
            self.note(f"unknown: {reason}")
        return found or None

    def integer(self, path: str, needed: bool = True) -> int | None:
        """A file's number: plain, or with sysfs's K, M or G; None where there is none ("max")."""
        match = re.fullmatch(r"(-?\d+)([KMG]?)", self.text(path, needed) or "")
        return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]] if match else None

    def cpulist(self, path: str, needed: bool = True) -> list[int] | None:
        """A kernel CPU list, "0-3,8" -> [0, 1, 2, 3, 8]."""
        text = self.text(path, needed)
        if text is None:
            return None
        ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
        return sorted(cpu for ends in ranges for cpu in range(ends[0], ends[-1] + 1))

    def fields(self, path: str) -> dict[str, str]:
        """The first block of "key : value" lines, as /proc/cpuinfo and /proc/meminfo have them."""
        block = (self.text(path) or "").split("\n\n")[0]
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}

    def meminfo(self, key: str) -> int | None:
        """A line of /proc/meminfo in bytes."""
        value = self.fields("/proc/meminfo").get(key)
        if value is None:
            self.note(f"unknown: no {key} in /proc/meminfo")
        return int(value.split()[0]) * 1024 if value else None  # the kernel's kB is 1024 bytes

    def cgroups(self, controller: str) -> list[str]:
        """Folders of the cgroup where `controller` ("cpu", "memory") has this process: its own first, then its parents.

        Version 1 where a v1 hierarchy has the controller, else version 2. A path outside the mounted part of the tree,
        as a container can see, leaves only the mount point.
        """
        entries = [line.split(":", 2) for line in (self.text("/proc/self/cgroup") or "").splitlines()]
        v1 = next((path for _, names, path in entries if controller in names.split(",")), None)
        path = v1 if v1 is not None else next((path for number, _, path in entries if number == "0"), None)
        for line in (self.text("/proc/self/mountinfo") or "").splitlines():
            left, _, right = line.partition(" - ")
            (_, _, _, top, mount, *_), (kind, _, options) = left.split(), right.split(" ", 2)  # the source may be empty
            ours = kind == "cgroup2" if v1 is None else kind == "cgroup" and controller in options.split(",")
            if ours and path is not None:
                full = PurePosixPath(path)
                parts = full.relative_to(top).parts if full.is_relative_to(top) and ".." not in full.parts else ()
                return ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1)]
        self.note(f"unknown: no cgroup of the {controller} controller in /proc/self/cgroup and /proc/self/mountinfo")
        return []


def cores(host: Host | None = None) -> list[list[int]] | None:
    """The mask's logical CPUs grouped by physical core, ordered by their first; None where sysfs doesn't say."""
    host = host or Host()
    found = set()
    for cpu in host.mask:
        topology = f"{CPUS}/cpu{cpu}/topology"
        # the name changed in Linux 5.3; the old one remains
        siblings = host.cpulist(f"{topology}/core_cpus_list", False) or host.cpulist(f"{topology}/thread_siblings_list")
        if siblings is None:
            return None
        found.add(tuple(sorted(set(siblings) & set(host.mask))))
    return sorted(map(list, found))


def one_cpu_per_core(host: Host | None = None) -> list[int]:
    """The first logical CPU of each physical core in the affinity mask, in order: where threads are pinned.

    Where sysfs doesn't tell which share a core (describe() notes it) they can't be told apart: the whole mask.
    """
    host = host or Host()
    grouped = cores(host)
    return list(host.mask) if grouped is None else [core[0] for core in grouped]


def caches(host: Host | None = None) -> list[dict[str, Any]]:
    """The caches that the affinity mask reaches, from L1 on, equal ones counted.

    level, type ("Data", "Instruction", "Unified"), bytes, line_bytes, shared_by (logical CPUs on one, in or outside the
    mask), instances
    """
    host = host or Host()
    instances: dict[tuple[Any, ...], set[tuple[int, ...]]] = {}
    for cpu in host.mask:
        folder, index = f"{CPUS}/cpu{cpu}/cache", 0
        while (level := host.integer(f"{folder}/index{index}/level", needed=index == 0)) is not None:
            cache = f"{folder}/index{index}"
            shared = tuple(host.cpulist(f"{cache}/shared_cpu_list") or [cpu])
            size, line = host.integer(f"{cache}/size"), host.integer(f"{cache}/coherency_line_size")
            instances.setdefault((level, host.text(f"{cache}/type"), size, line, len(shared)), set()).add(shared)
            index += 1
    names = ("level", "type", "bytes", "line_bytes", "shared_by")
    ordered = sorted(instances.items(), key=lambda item: (item[0][0], str(item[0][1:])))
    return [dict(zip(names, key, strict=True), instances=len(which)) for key, which in ordered]


def cache_bytes(level: int, host: Host | None = None) -> int | None:
    """Size of one data or unified cache of that level, the smallest where they differ; None if unknown or absent."""
    sizes = [cache["bytes"] for cache in caches(host) if cache["level"] == level and cache["type"] != "Instruction"]
    return None if not sizes or None in sizes else min(sizes)


def llc_bytes(host: Host | None = None) -> int | None:
    """Bytes of all last-level caches that the affinity mask reaches: the highest level in sysfs, each instance once."""
    found = [cache for cache in caches(host) if cache["type"] != "Instruction"]
    last = [cache for cache in found if cache["level"] == max(c["level"] for c in found)]
    if not last or any(cache["bytes"] is None for cache in last):
        return None
    total: int = sum(cache["bytes"] * cache["instances"] for cache in last)
    return total


def memory_limit_bytes(host: Host | None = None) -> int | None:
    """The lowest memory limit of the process's cgroup and its parents; None where none is set."""
    return min((limit for limit, _ in _memory_limits(host or Host())), default=None)


def available_memory_bytes(host: Host | None = None) -> int | None:
    """What can be allocated now: MemAvailable, or what a cgroup limit leaves if less; None where either is unknown.

    A limit leaves limit - (usage - inactive file pages), the working set as the kubelet counts it: those pages can go.
    """
    host = host or Host()
    left = [host.meminfo("MemAvailable"), *(rest for _, rest in _memory_limits(host))]
    known = [rest for rest in left if rest is not None]
    return min(known) if len(known) == len(left) else None


def _memory_limits(host: Host) -> list[tuple[int, int | None]]:
    """(limit, what it leaves) of the process's cgroup and its parents where a limit is set, in bytes."""
    found = []
    for folder in host.cgroups("memory"):
        for limit_file, usage_file, inactive_key in MEMORY_FILES:
            limit = host.integer(f"{folder}/{limit_file}", needed=False)
            if limit is None or limit >= UNLIMITED:
                continue
            usage = host.integer(f"{folder}/{usage_file}")
            stat = dict(line.split() for line in (host.text(f"{folder}/memory.stat") or "").splitlines())
            working_set = None if usage is None else max(0, usage - int(stat.get(inactive_key, 0)))
            found.append((limit, None if working_set is None else max(0, limit - working_set)))
    return found


def cpu_quota(host: Host | None = None) -> float | None:
    """CPUs' worth of time that the cgroup or a parent allows: the lowest quota / period; None where none is set."""
    host = host or Host()
    quotas = []
    for folder in host.cgroups("cpu"):
        pair = (host.text(f"{folder}/cpu.max", needed=False) or "max").split()
        if pair[0] == "max":  # version 1 has the pair in two files and -1 for no quota
            pair = [host.text(f"{folder}/cpu.cfs_{name}_us", needed=False) or "-1" for name in ("quota", "period")]
        if int(pair[0]) > 0:
            quotas.append(int(pair[0]) / int(pair[1]))
    return min(quotas, default=None)
