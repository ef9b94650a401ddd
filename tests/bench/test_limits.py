"""Machines that tell half of what they are, or let a process have half of it: on made-up trees, and under settings."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.host import cpus, facts, sysfs
from bench.host.sysfs import Host
from bench.measure import arrays, last_level, roofs
from bench.quantities import plural
from kernels import cpus as own
from support.process import Run
from support.trees import TWO_SOCKETS, V1, V2, lay, topology

CPU = "sys/devices/system/cpu"
LAPTOP = topology(cores=["0,1", "2,3", "4", "5", "6", "7"], l3=["0,1,2,3,4,5,6,7"])
HYBRID = {**LAPTOP, "sys/devices/cpu_core/cpus": "0-3", "sys/devices/cpu_atom/cpus": "4-7"}
FLAT = topology(cores=[str(cpu) for cpu in range(8)], l3=["0,1,2,3,4,5,6,7"])


def capacities(*of: int) -> dict[str, str]:
    return {**FLAT, **{f"{CPU}/cpu{cpu}/cpu_capacity": str(capacity) for cpu, capacity in enumerate(of)}}


def without(files: Mapping[str, str], *parts: str) -> dict[str, str]:
    return {name: text for name, text in files.items() if not any(part in name for part in parts)}


def with_size(index: int, size: str) -> dict[str, str]:
    return {**TWO_SOCKETS, **{f"{CPU}/cpu{cpu}/cache/index{index}/size": size for cpu in range(8)}}


PARTLY_KNOWN = [
    pytest.param(without(TWO_SOCKETS, "index3"), "sysfs lists L1, L2, but no L3", id="ends at L2"),
    pytest.param(without(TWO_SOCKETS, "index2", "index3"), "sysfs lists L1, but no L2", id="ends at L1"),
    pytest.param(without(TWO_SOCKETS, "cache"), "sysfs lists none", id="no folder"),
    pytest.param(without(TWO_SOCKETS, "index2"), "sysfs lists L1, L3, but no L2", id="none between"),
    pytest.param(without(TWO_SOCKETS, "index0"), "sysfs lists L2, L3, but no L1", id="none first"),
    pytest.param(without(TWO_SOCKETS, "index3/size"), "sysfs doesn't give the size of L3", id="no size"),
    pytest.param(with_size(3, "0K"), "sysfs doesn't give the size of L3", id="size 0"),
    pytest.param(with_size(2, "-1K"), "sysfs doesn't give the size of L2", id="size -1"),
    pytest.param(without(TWO_SOCKETS, "cpu3/cache", "cpu7/cache", "cpu2/cache", "cpu6/cache"),
                 "sysfs lists no L3 of CPUs 2-3,6-7", id="of half the CPUs"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "reason"), PARTLY_KNOWN)
def test_a_hierarchy_partly_known_has_no_last_level(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    host = Host(lay(tmp_path, files), range(8))
    assert sysfs.llc_bytes(host) is None
    assert f"{sysfs.UNKNOWN_LEVEL}{reason}" in host.notes
    found = facts.describe(Host(tmp_path, range(8)))
    assert found["llc_bytes_aggregate"] is None
    assert f"{sysfs.UNKNOWN_LEVEL}{reason}" in found["notes"]
    assert all(cache["bytes"] is None or cache["bytes"] > 0 for cache in found["caches"])


MIB = 1 << 20
SIZES = [MIB << i for i in range(10)]  # up to half of FAR


def curve(*plateaus: tuple[int, float]) -> list[float]:
    """Of each of SIZES, and of FAR, the rate of the smallest plateau that holds it."""
    return [next(rate for room, rate in plateaus if size <= room) for size in [*SIZES, last_level.FAR]]


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        (curve((MIB, 90e9), (32 * MIB, 52e9), (1 << 40, 29e9)), 64 * MIB),
        (curve((MIB, 90e9), (300 * MIB, 40e9), (1 << 40, 29e9)), 512 * MIB),
        (curve((1 << 40, 5e9)), 2 * MIB),  # nothing is beyond two CPUs' L2
        (curve((MIB, 90e9), (1 << 40, 29e9)), 2 * MIB),
    ],
)
def test_the_last_level_is_measured_where_it_is_not_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rates: list[float], size: int
) -> None:
    files = without(topology(cores=["0", "1"], l3=["0,1"]), "index3")
    host = Host(lay(tmp_path, files), range(2))
    monkeypatch.setattr(last_level, "Host", lambda: host)
    monkeypatch.setattr(last_level, "_known", None)
    monkeypatch.setattr(last_level, "available_memory_bytes", lambda _: 1 << 40)
    monkeypatch.setattr(
        last_level, "read_rates", lambda sizes, _: [rates[SIZES.index(s)] for s in sizes[:-1]] + rates[-1:]
    )
    found = last_level.last_level()
    assert found.bytes == size
    assert (found.doubt is None) != (found.found is None)
    assert arrays.dram_bytes(1)[0] >= min(arrays.RULE * size, (sysfs.available_memory_bytes() or 0) // 4)


def test_what_cannot_be_measured_is_never_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host(lay(tmp_path, without(topology(cores=["0"], l3=["0"]), "index3")), [0])
    monkeypatch.setattr(last_level, "Host", lambda: host)
    monkeypatch.setattr(last_level, "_known", None)
    monkeypatch.setattr(last_level, "available_memory_bytes", lambda _: 300 * MIB)
    ceilings = roofs.Ceilings([1], ["f32"], lambda *_: None, quick=True)
    (reason,) = ceilings.untrusted
    assert "no L3" in reason
    assert "1 GiB" in reason


def test_reading_tells_a_cache_from_memory() -> None:
    """On this machine: what fits L1 is read faster than an array of many times all caches."""
    rates = last_level.read_rates([16 << 10, 256 << 20], 1)
    assert last_level.largest_faster([16 << 10], rates) == 16 << 10


@pytest.mark.parametrize(
    ("mib", "l3", "no_l3"), [(0.03, "L1", "L1"), (0.9, "L2", "L2"), (33, "L3", "DRAM"), (63, "L3", "DRAM")]
)
def test_what_l3_keeps_a_part_of_is_not_held_against_memory(
    monkeypatch: pytest.MonkeyPatch, mib: float, l3: str, no_l3: str
) -> None:
    for found, known in ((l3, True), (no_l3, False)):
        monkeypatch.setattr(roofs, "_capacities", lambda known=known: ((32 << 10, 512 << 10), 32 * MIB, known))
        assert roofs.Ceilings.level(int(mib * MIB), 2) == found
        assert roofs.Ceilings.level(arrays.LEAST * 32 * MIB, 2) == "DRAM"


def test_one_note_for_what_many_cpus_lack(tmp_path: Path) -> None:
    many = topology(cores=[str(cpu) for cpu in range(128)], l3=[",".join(map(str, range(128)))])
    host = Host(lay(tmp_path, without(many, "index3/size", "topology", "cpu7/")), range(128))
    notes = facts.describe(host)["notes"]
    assert len(notes) < 30
    assert len([note for note in notes if "index3/size" in note]) == 1
    assert "unknown: no /sys/devices/system/cpu/cpu0-127/topology/thread_siblings_list" not in notes
    assert f"unknown: no /{CPU}/cpu0-6,8-127/cache/index3/size" in notes
    assert f"unknown: no /{CPU}/cpu7/cache/index0/level" in notes


@pytest.mark.parametrize(
    ("files", "pinned", "words"),
    [
        (HYBRID, [0, 2], "CPUs 0-3 (cpu_core), none on 4-7"),
        (capacities(446, 446, 446, 446, 1024, 1024, 1024, 1024), [4, 5, 6, 7], "CPUs 4-7 (cpu_capacity 1024)"),
        (capacities(250, 250, 250, 250, 800, 800, 800, 1024), [7], "CPUs 7 (cpu_capacity 1024)"),
        (capacities(1024, 1009, 1024, 1009, 1024, 1009, 1024, 1009), list(range(8)), ""),  # favoured, but of one kind
        ({**FLAT, **{f"{CPU}/cpu{cpu}/regs/identification/midr_el1": "0x411fd05" + "0b"[cpu > 2] for cpu in range(8)}},
         [3, 4, 5, 6, 7], "CPUs 3-7 (0x411fd05b)"),
        (FLAT, list(range(8)), ""),
    ],
)  # fmt: skip
def test_a_team_is_of_like_cores(tmp_path: Path, files: dict[str, str], pinned: list[int], words: str) -> None:
    host = Host(lay(tmp_path, files), range(8))
    assert sysfs.one_cpu_per_core(host) == pinned
    assert cpus.cpus_for(len(pinned), host) == pinned
    assert [words in remark for remark in cpus.remarks(host)] == [True] * bool(words)
    with pytest.raises(BadInput, match=r"may use . CPUs? at most"):
        cpus.cpus_for(9, host)


def test_unlike_cores_of_a_mask_of_one_kind_are_alike(tmp_path: Path) -> None:
    host = Host(lay(tmp_path, HYBRID), [4, 5])
    assert sysfs.one_cpu_per_core(host) == [4, 5]
    assert not any("unlike" in note for note in host.notes)


@pytest.mark.parametrize("cores", [8, 2, 1])
@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        (V2, {"a/b/cpu.max": "50000 100000"}, 0.5),
        (V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000"}, 2.5),
        (V1, {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1.5),
        (V2, {"a/b/cpu.max": "max 100000"}, None),
    ],
)
def test_all_is_what_the_quota_is_worth(
    tmp_path: Path, cgroup: dict[str, str], files: dict[str, str], quota: float | None, cores: int
) -> None:
    laid = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    host = Host(lay(tmp_path, {**FLAT, **cgroup, **laid}), range(cores))
    fewer = quota is not None and quota < cores
    assert cpus.all_threads(host) == (max(1, int(quota)) if fewer and quota else cores)
    assert [f"{quota} of {plural(cores, 'core')}" in remark for remark in cpus.remarks(host)] == [True] * fewer


LIMITS = "Limit                     Soft Limit           Hard Limit           Units"
FREE = {"proc/meminfo": "MemAvailable: 90000 kB\nCommitLimit: 5000 kB\nCommitted_AS: 4000 kB"}
STATUS = {**FREE, "proc/self/status": "Name:\tpython\nVmSize:\t 1000 kB\nVmData:\t 500 kB"}


@pytest.mark.parametrize(
    ("files", "left", "words"),
    [
        ({"proc/self/limits": f"{LIMITS}\nMax address space         3072000 unlimited bytes"}, 2000 << 10, "ulimit -v"),
        ({"proc/self/limits": f"{LIMITS}\nMax data size             1024000 unlimited bytes"}, 500 << 10, "ulimit -d"),
        ({"proc/self/limits": f"{LIMITS}\nMax address space         unlimited unlimited bytes"}, 90000 << 10, "memory"),
        ({"proc/self/limits": f"{LIMITS}\nMax address space         1000 unlimited bytes"}, 0, "ulimit -v"),
        ({"proc/sys/vm/overcommit_memory": "2"}, 1000 << 10, "overcommit"),
        ({"proc/sys/vm/overcommit_memory": "1"}, 90000 << 10, "memory"),
    ],
)  # fmt: skip
def test_every_limit_on_memory_counts(tmp_path: Path, files: dict[str, str], left: int, words: str) -> None:
    host = Host(lay(tmp_path, {**V2, **STATUS, **files}), [0])
    found, limit = sysfs.scarcest_memory(host)
    assert found == sysfs.available_memory_bytes(host) == left
    assert words in limit


BOUND: list[dict[str, str]] = [
    {"OMP_PROC_BIND": "true"},
    {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"},
    {"OMP_PLACES": "{0}"},
    {"GOMP_CPU_AFFINITY": "0"},
]


def test_a_runtime_that_binds_leaves_the_session_its_cpus(python: Run) -> None:
    code = """
import os
import bench.host.placement as placement
from bench.host.cpus import all_threads, cpus_for
from kernels.backends import numba
from kernels.backends.c import lib
lib.stream_fill(1, 0, placement.ffi.NULL, 0.0)
with placement.pinned(all_threads()):
    print(len(cpus_for(all_threads())), numba.threads_available(), end=" ")
print(sorted(os.sched_getaffinity(0)))
"""
    free = python("-c", code)
    assert free.stdout.startswith(f"{cpus.all_threads()} ")
    for setting in BOUND:
        ran = python("-c", code, **setting)
        assert (ran.returncode, ran.stdout) == (0, free.stdout), f"{setting}: {ran.stderr}"


def test_a_runtime_that_was_bound_before_is_refused_by_name(python: Run) -> None:
    code = "from bench.peak import run, main; run(main)"
    ran = python("-c", code, "--threads", "1", LD_PRELOAD="libgomp.so.1", OMP_PROC_BIND="true")
    assert ran.returncode != 0
    assert len(ran.stderr.splitlines()) == 1
    assert "unset OMP_PROC_BIND=true" in ran.stderr


@pytest.mark.skipif(cpus.all_threads() < 2, reason="one core: no team")
@pytest.mark.parametrize("setting", ["OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true", "OMP_MAX_ACTIVE_LEVELS=0"])
def test_a_session_is_refused_before_it_measures(python: Run, setting: str) -> None:
    name, _, value = setting.partition("=")
    ran = python("-m", "bench.stream", "--threads", "2", **{name: value})
    assert ran.returncode != 0
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert f"unset {setting}" in ran.stderr


def test_a_session_says_which_settings_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(own._unset, "OMP_PLACES", "cores")
    monkeypatch.setattr(roofs, "remarks", lambda: ["unlike cores: some"])
    ceilings = roofs.Ceilings([1], ["f32"], lambda *_: None, quick=True)
    assert ceilings.remarks[-2:] == [
        "unlike cores: some", "OMP_PLACES=cores is of no effect: the session pins its threads",
    ]  # fmt: skip


def test_kernels_alone_know_the_cpus_before_a_runtime_binds(python: Run) -> None:
    code = "import kernels; from kernels.backends import c, numba; print(numba.threads_available())"
    assert python("-c", code, OMP_PROC_BIND="true").stdout == f"{len(os.sched_getaffinity(0))}\n"


FULL = """
import bench.peak
from bench.cli import run
from bench.measure.roofs import Ceilings

sample = Ceilings.sample

def once(self, *given):
    sample(self, *given)
    Ceilings.sample = full

def full(self, *given):
    raise MemoryError("no room for 12 bytes")

Ceilings.sample = once
run(bench.peak.main)
"""


def test_memory_that_runs_out_takes_nothing_along(python: Run, tmp_path: Path) -> None:
    """What was measured before is recorded and shown; stderr has one line that names the limit."""
    path = tmp_path / "record.json"
    ran = python("-c", FULL, "--threads", "1", "--dtype", "f32", "--seconds", "0.05", "--record", path)
    assert ran.returncode == 130, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith("memory ran out, no room for 12 bytes; ")
    assert json.loads(path.read_text())["complete"] is False
    assert "generic" in ran.stdout


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_session_under_a_limit_says_what_limits_it(python: Run, limit: str) -> None:
    """Arrays are as small as the limit asks for; what they don't show any more isn't trusted."""
    code = f"""
import resource
import bench.stream, kernels
from bench.cli import run
kernels.available()  # LLVM is in memory by then
from bench.measure.last_level import last_level
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
used = int(status["VmSize" if "{limit}" == "RLIMIT_AS" else "VmData"].split()[0]) << 10
resource.setrlimit(resource.{limit}, (used + 7 * last_level().bytes,) * 2)
run(bench.stream.main)
"""
    ran = python("-c", code, "--threads", "1", "--backend", "c", "--seconds", "0.01")
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0, ran.stderr
    assert f"ulimit -{'v' if limit == 'RLIMIT_AS' else 'd'}" in ran.stdout
    assert "Trust: D" in ran.stdout
