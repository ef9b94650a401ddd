"""What this process may use: its cores, caches, memory and CPU time, as Linux tells in /proc and /sys.

Every function takes a Host, which says where to read and for which CPUs; without one, this process's own. A fact that
can't be found is None, and the Host's notes say what was missing.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from kernels.cpus import started_with

CPUS = "/sys/devices/system/cpu"
UNKNOWN_LEVEL = "unknown: the last-level cache, "  # what a note begins with
UNLIKE = "unlike cores: "
MOST_CACHES = 8  # index0 to index7, of which some may be missing
ALIKE = 0.9  # of the highest capacity: favoured cores of one kind differ by a few per cent
# cgroup v1 has no word for "no limit", only LONG_MAX rounded down to a page; nothing real comes near 2^62 bytes
UNLIMITED = 1 << 62
# limit, usage, and memory.stat's key of the pages that can go: cgroup v2, v1
MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def ranges(cpus: Iterable[int]) -> str:
    """CPUs as the kernel lists them: [0, 1, 2, 8] -> "0-2,8"."""
    runs = [[cpu for _, cpu in run] for _, run in groupby(enumerate(sorted(cpus)), lambda at: at[1] - at[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


class Host:
    """Where facts are read: the files under `root`, for the logical CPUs in `mask` (None: those of this process)."""

    def __init__(self, root: Path | str = "/", mask: Sequence[int] | None = None) -> None:
        self.root = Path(root)
        self.mask = sorted(started_with() if mask is None else mask)
        self._notes: dict[tuple[str, str], set[int]] = {}

    @property
    def notes(self) -> list[str]:
        """What was looked for and not found, in order; what many CPUs lack is one line, "cpu0-127"."""
        return [before + ranges(cpus) + after for (before, after), cpus in self._notes.items()]

    def note(self, text: str) -> None:
        of_cpu = re.fullmatch(rf"(.*{CPUS}/cpu)(\d+)(/.*)", text)
        cpus = self._notes.setdefault((of_cpu[1], of_cpu[3]) if of_cpu else (text, ""), set())
        if of_cpu:
            cpus.add(int(of_cpu[2]))

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

    def size(self, path: str) -> int | None:
        """integer() of what has to be there and more than 0: some firmware says 0 or -1 for what it doesn't know."""
        found = self.integer(path)
        if found is not None and found <= 0:
            self.note(f"unknown: {path} says {self.text(path)}")
        return found if found and found > 0 else None

    def cpulist(self, path: str, needed: bool = True) -> list[int] | None:
        """A kernel CPU list, "0-3,8" -> [0, 1, 2, 3, 8]."""
        text = self.text(path, needed)
        if text is None:
            return None
        ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
        return sorted(cpu for ends in ranges for cpu in range(ends[0], ends[-1] + 1))

    def fields(self, path: str, needed: bool = True) -> dict[str, str]:
        """The first block of "key : value" lines, as /proc/cpuinfo and /proc/meminfo have them."""
        block = (self.text(path, needed) or "").split("\n\n")[0]
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


def alike(host: Host | None = None) -> Host:
    """The mask's CPUs of one kind, the fastest: a team that shares work evenly would wait for slower ones.

    Kinds as Linux tells: cpu_core, cpu_atom and cpu_lowpower of x86, else cpu_capacity, else Arm's MIDR, of which the
    one with most CPUs is taken. The Host's notes say which CPUs are left out.
    """
    host = host or Host()
    mask = set(host.mask)
    kinds = {
        kind: host.cpulist(f"/sys/devices/{kind}/cpus", False) for kind in ("cpu_core", "cpu_atom", "cpu_lowpower")
    }
    known = {cpu for cpus in kinds.values() for cpu in cpus or ()}
    capacity = {cpu: host.integer(f"{CPUS}/cpu{cpu}/cpu_capacity", False) for cpu in mask}
    if kinds["cpu_core"] and mask <= known:
        taken, how = next((set(cpus or ()) & mask, kind) for kind, cpus in kinds.items() if mask & set(cpus or ()))
    elif all(capacity.values()):
        most = max(capacity[cpu] or 0 for cpu in mask)
        taken, how = {cpu for cpu in mask if (capacity[cpu] or 0) >= ALIKE * most}, f"cpu_capacity {most}"
    else:
        of_part: dict[str, set[int]] = {}
        for cpu in mask:
            part = host.text(f"{CPUS}/cpu{cpu}/regs/identification/midr_el1", False) or ""
            of_part.setdefault(part, set()).add(cpu)
        how, taken = max(of_part.items(), key=lambda one: len(one[1]), default=("", mask))
    if taken == mask:
        return host
    host.note(f"{UNLIKE}threads run on CPUs {ranges(taken)} ({how}), none on {ranges(mask - taken)}")
    chosen = Host(host.root, sorted(taken))
    chosen._notes = host._notes
    return chosen


def one_cpu_per_core(host: Host | None = None) -> list[int]:
    """The first logical CPU of each physical core among those alike() has, in order: where threads are pinned.

    Where sysfs doesn't tell which share a core (describe() notes it) they can't be told apart: all of them.
    """
    host = alike(host)
    grouped = cores(host)
    return list(host.mask) if grouped is None else [core[0] for core in grouped]


Instances = dict[tuple[Any, ...], set[tuple[int, ...]]]


def _instances(host: Host) -> Instances:
    """(level, type, bytes, line_bytes, shared_by) -> of each such cache the CPUs that share it."""
    found: Instances = {}
    for cpu in host.mask:
        for index in range(MOST_CACHES):
            cache = f"{CPUS}/cpu{cpu}/cache/index{index}"
            level = host.integer(f"{cache}/level", needed=index == 0)
            if level is None:
                continue
            shared = tuple(host.cpulist(f"{cache}/shared_cpu_list") or [cpu])
            size, line = host.size(f"{cache}/size"), host.size(f"{cache}/coherency_line_size")
            found.setdefault((level, host.text(f"{cache}/type"), size, line, len(shared)), set()).add(shared)
    return found


def caches(host: Host | None = None) -> list[dict[str, Any]]:
    """The caches that the mask reaches, from L1 on, equal ones counted.

    level, type ("Data", "Instruction", "Unified"), bytes, line_bytes, shared_by (logical CPUs on one, in or outside the
    mask), instances
    """
    names = ("level", "type", "bytes", "line_bytes", "shared_by")
    ordered = sorted(_instances(host or Host()).items(), key=lambda item: (item[0][0], str(item[0][1:])))
    return [dict(zip(names, key, strict=True), instances=len(which)) for key, which in ordered]


def cache_bytes(level: int, host: Host | None = None) -> int | None:
    """Size of one data or unified cache of that level, the smallest where they differ; None if unknown or absent."""
    found = caches(alike(host))
    sizes = [cache["bytes"] for cache in found if cache["level"] == level and cache["type"] != "Instruction"]
    return None if not sizes or None in sizes else min(sizes)


def _incomplete(host: Host, found: Instances) -> str | None:
    """Why sysfs can't have told of all caches, or of their sizes; None where it may well have.

    A hierarchy that ends at L2 may be whole, as on some small Arm cores, but more often a hypervisor or firmware has
    hidden what follows: sysfs alone doesn't tell which.
    """
    levels = sorted({key[0] for key in found})
    if not levels:
        return "sysfs lists none"
    if unknown := sorted({key[0] for key in found if key[2] is None}):
        return f"sysfs doesn't give the size of L{unknown[0]}"
    if missing := [level for level in (1, 2, 3) if level not in levels]:
        return f"sysfs lists {', '.join(f'L{level}' for level in levels)}, but no L{missing[0]}"
    last = [cpus for key, which in found.items() if key[0] == levels[-1] for cpus in which]
    if without := set(host.mask).difference(*last):
        return f"sysfs lists no L{levels[-1]} of CPUs {ranges(without)}"
    return None


def llc_bytes(host: Host | None = None) -> int | None:
    """Bytes of all last-level caches that the threads' CPUs reach, each instance once; None, noted, if one is unknown.

    bench.measure.last_level measures then.
    """
    host = alike(host)
    found = {key: which for key, which in _instances(host).items() if key[1] != "Instruction"}
    if reason := _incomplete(host, found):
        host.note(UNKNOWN_LEVEL + reason)
        return None
    last = max(key[0] for key in found)
    total: int = sum(key[2] * len(which) for key, which in found.items() if key[0] == last)
    return total


def memory_limit_bytes(host: Host | None = None) -> int | None:
    """The lowest memory limit of the process's cgroup and its parents; None where none is set."""
    return min((limit for limit, _ in _memory_limits(host or Host())), default=None)


def available_memory_bytes(host: Host | None = None) -> int | None:
    """What can be allocated now: the least that any limit leaves; None where one of them is unknown."""
    return scarcest_memory(host)[0]


def scarcest_memory(host: Host | None = None) -> tuple[int | None, str]:
    """available_memory_bytes(), and what limits it, in words.

    MemAvailable; of a cgroup limit what is left, limit - (usage - inactive file pages), the working set as the kubelet
    counts it: those pages can go; of the process's limits on address space and data, and of what Linux lets all commit
    where it is told not to overcommit.
    """
    host = host or Host()
    left = [(host.meminfo("MemAvailable"), "memory")]
    left += [(rest, "the cgroup's memory limit") for _, rest in _memory_limits(host)]
    status = host.fields("/proc/self/status", needed=False)
    for name, words, used in (("address space", "ulimit -v", "VmSize"), ("data size", "ulimit -d", "VmData")):
        limit = re.search(rf"^Max {name} +(\d+)", host.text("/proc/self/limits", needed=False) or "", re.MULTILINE)
        if limit and used in status:
            left.append((max(0, int(limit[1]) - int(status[used].split()[0]) * 1024), words))
    if host.integer("/proc/sys/vm/overcommit_memory", needed=False) == 2:
        limit_, committed = host.meminfo("CommitLimit"), host.meminfo("Committed_AS")
        rest = None if limit_ is None or committed is None else max(0, limit_ - committed)
        left.append((rest, "vm.overcommit_memory = 2"))
    known = [(rest, words) for rest, words in left if rest is not None]
    return min(known) if len(known) == len(left) else (None, "what is unknown")


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
