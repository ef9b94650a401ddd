"""bench.host on the real machine and on fake /proc and /sys trees."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench import machine
from bench.host import facts, sysfs
from bench.host.facts import Host
from support.trees import TWO_SOCKETS, V1, V2, lay, topology

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6242 CPU @ 2.80GHz
stepping\t: 7
flags\t\t: fpu avx2 avx512f

processor\t: 1
model name\t: another
"""
ARM_CPUINFO = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
Tree = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return partial(lay, tmp_path)


@pytest.mark.parametrize(
    ("mask", "cores", "pinned", "sockets"),
    [
        (range(8), [[0, 4], [1, 5], [2, 6], [3, 7]], [0, 1, 2, 3], 2),
        ([1, 4, 5], [[1, 5], [4]], [1, 4], 1),  # core 0 is reached by its second thread only
        ([7], [[7]], [7], 1),
    ],
)
def test_two_sockets_with_smt(
    tree: Tree, mask: Sequence[int], cores: list[list[int]], pinned: list[int], sockets: int
) -> None:
    host = Host(tree(TWO_SOCKETS), mask)
    assert sysfs.cores(host) == cores
    assert sysfs.one_cpu_per_core(host) == pinned
    assert sysfs.llc_bytes(host) == sockets * 16 << 20
    described = facts.describe(host)["topology"]
    assert described == {"logical_cpus": list(mask), "cores": cores, "packages": sockets, "numa_nodes": sockets}


def test_caches_count_the_instances_within_reach(tree: Tree) -> None:
    host = Host(tree(TWO_SOCKETS), [0, 4, 1])
    found = {(c["level"], c["type"]): (c["bytes"], c["line_bytes"], c["shared_by"], c["instances"])
             for c in sysfs.caches(host)}  # fmt: skip
    assert found == {
        (1, "Data"): (48 << 10, 64, 2, 2),
        (1, "Instruction"): (32 << 10, 64, 2, 2),
        (2, "Unified"): (1 << 20, 64, 2, 2),
        (3, "Unified"): (16 << 20, 64, 4, 1),
    }
    assert sysfs.cache_bytes(1, host) == 48 << 10
    assert sysfs.cache_bytes(4, host) is None


def test_old_kernels_name_for_siblings(tree: Tree) -> None:
    host = Host(tree(topology(["0,1", "2,3"], ["0,1,2,3"], file="thread_siblings_list")), range(4))
    assert sysfs.one_cpu_per_core(host) == [0, 2]
    assert host.notes == []


def test_unknown_cache_size_is_no_number(tree: Tree) -> None:
    root = tree(TWO_SOCKETS)
    (root / "sys/devices/system/cpu/cpu0/cache/index3/size").unlink()
    host = Host(root, [0])
    assert sysfs.llc_bytes(host) is None
    assert host.notes == [
        "unknown: no /sys/devices/system/cpu/cpu0/cache/index3/size",
        "unknown: the last-level cache, sysfs doesn't give the size of L3",
    ]


def test_nothing_to_read_is_named_not_guessed(tmp_path: Path) -> None:
    host = Host(tmp_path, [0, 1])
    found = facts.describe(host)
    for name in ("llc_bytes_aggregate", "memory_bytes", "memory_limit_bytes", "cpu_quota", "virtual_machine", "kernel"):
        assert found[name] is None
    assert found["topology"] == {"logical_cpus": [0, 1], "cores": None, "packages": None, "numa_nodes": None}
    assert set(found["cpu"].values()) == {None}
    assert sysfs.one_cpu_per_core(host) == [0, 1]
    assert sysfs.available_memory_bytes(host) is None
    notes = "\n".join(found["notes"])
    for missing in ("thread_siblings_list", "cache/index0/level", "/proc/cpuinfo", "CPU's model", "/etc/machine-id"):
        assert missing in notes
    for missing in ("MemTotal", "/proc/self/cgroup", "/proc/sys/kernel/osrelease", "transparent_hugepage"):
        assert missing in notes


@pytest.mark.parametrize(
    ("cgroup", "files", "limit", "quota"),
    [
        (V2, {"a/b/memory.max": "max", "a/b/cpu.max": "max 100000"}, None, None),
        (V2, {"a/b/memory.max": "max", "a/memory.max": "5000", "a/cpu.max": "150000 100000"}, 5000, 1.5),
        (
            V2,
            {"a/b/memory.max": "3000", "a/memory.max": "5000", "a/b/cpu.max": "50000 100000", "a/cpu.max": "9 3"},
            3000,
            0.5,
        ),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/x/cpu.cfs_quota_us": "-1"}, None, None),
        (V1, {"memory/memory.limit_in_bytes": "7000", "cpu/cpu.cfs_quota_us": "250000"}, 7000, 2.5),
    ],
)
def test_cgroup_limits_with_parents(
    tree: Tree, cgroup: dict[str, str], files: dict[str, str], limit: int | None, quota: float | None
) -> None:
    period = {"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000", "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000"}
    host = Host(tree({**cgroup, **period, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}), [0])
    assert sysfs.memory_limit_bytes(host) == limit
    assert sysfs.cpu_quota(host) == quota
    assert not any("no cgroup" in note for note in host.notes)


@pytest.mark.parametrize(
    ("available_kib", "current", "expected"),
    [(9000, 4096_000, 5_000_000 - (4_096_000 - 1_000_000)), (1, 0, 1024), (9000, 9_000_000, 0)],
)
def test_available_memory_is_the_lesser_of_both(tree: Tree, available_kib: int, current: int, expected: int) -> None:
    group = {"memory.max": "5000000", "memory.current": str(current), "memory.stat": "anon 1\ninactive_file 1000000"}
    files = {"proc/meminfo": f"MemTotal: 99999 kB\nMemAvailable:  {available_kib} kB"}
    host = Host(tree({**V2, **files, **{f"sys/fs/cgroup/a/{name}": text for name, text in group.items()}}), [0])
    assert sysfs.available_memory_bytes(host) == expected


def test_a_cgroup_path_outside_the_mount_leaves_the_mount_point(tree: Tree) -> None:
    host = Host(tree({**V2, "proc/self/cgroup": "0::/../../other", "sys/fs/cgroup/memory.max": "1234"}), [0])
    assert host.cgroups("memory") == ["/sys/fs/cgroup"]
    assert sysfs.memory_limit_bytes(host) == 1234


def test_cpu_on_x86_and_arm(tree: Tree) -> None:
    found = facts.cpu(Host(tree({"proc/cpuinfo": CPUINFO}), [0]))
    assert found == {
        "model": "Intel(R) Xeon(R) Gold 6242 CPU @ 2.80GHz",
        "vendor": "GenuineIntel",
        "family": "6",
        "model_number": "85",
        "stepping": "7",
        "microarchitecture": None,  # archspec would describe the CPU that the test runs on
    }
    host = Host(tree({"proc/cpuinfo": ARM_CPUINFO}), [0])
    found = facts.cpu(host)
    assert (found["model"], found["vendor"], found["family"]) == (None, "0x41", "8")
    assert (found["model_number"], found["stepping"]) == ("0xd0c", "r3p1")
    assert any("model" in note for note in host.notes)
    assert re.fullmatch(r"0x41-0xd0c-[0-9a-f]{8}", facts.machine_id(host))


def test_machine_id_is_the_hardwares_not_the_sessions(tree: Tree) -> None:
    files = {**TWO_SOCKETS, "proc/cpuinfo": CPUINFO, "etc/machine-id": "0123456789abcdef0123456789abcdef"}
    files["sys/devices/system/cpu/cpu2/cache/index2/size"] = "2M"  # cores differ, so that a mask sees less than all
    root = tree({**files, "proc/meminfo": "MemTotal: 1 kB", "proc/sys/kernel/osrelease": "6.1"})
    first = facts.machine_id(Host(root, range(8)))
    assert re.fullmatch(r"intel-xeon-gold-6242-cpu-2-80ghz-[0-9a-f]{8}", first)
    tree({"proc/meminfo": "MemTotal: 2 kB", "proc/sys/kernel/osrelease": "6.2"})  # rebooted into another kernel
    for file in (root / "sys/devices/system/cpu/cpu5").rglob("*"):  # and with a CPU offline
        if file.is_file():
            file.unlink()
    tree({f"sys/devices/system/cpu/cpu1/cache/index{index}/shared_cpu_list": "1" for index in range(3)})
    assert facts.machine_id(Host(root, [3])) == first
    tree({"etc/machine-id": "f" * 32})
    another = facts.machine_id(Host(root, range(8)))
    assert another != first
    tree({"etc/machine-id": "uninitialized"})
    host = Host(root, range(8))
    assert facts.machine_id(host) not in (first, another)
    assert any("/etc/machine-id" in note for note in host.notes)
    tree({"etc/machine-id": files["etc/machine-id"], "proc/cpuinfo": CPUINFO.replace(": 85", ": 86")})
    assert facts.machine_id(Host(root, range(8))) not in (first, another)


def test_machine_id_file_is_never_shown(tree: Tree) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    host = Host(tree({**TWO_SOCKETS, "proc/cpuinfo": CPUINFO, "etc/machine-id": secret}), range(8))
    assert secret[:8] not in json.dumps(facts.describe(host))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/cpuinfo": CPUINFO}, None),
        ({"proc/cpuinfo": CPUINFO, "sys/class/dmi/id/product_name": "c5.metal"}, None),
        ({"proc/cpuinfo": CPUINFO.replace("fpu", "fpu hypervisor")}, "unnamed"),
        (
            {
                "proc/cpuinfo": CPUINFO.replace("fpu", "fpu hypervisor"),
                "sys/class/dmi/id/sys_vendor": "QEMU",
                "sys/class/dmi/id/product_name": "Standard PC",
            },
            "QEMU Standard PC",
        ),
        ({"proc/cpuinfo": CPUINFO, "sys/hypervisor/type": "xen"}, "xen"),
        ({"proc/cpuinfo": ARM_CPUINFO, "sys/class/dmi/id/product_name": "KVM Virtual Machine"}, "KVM Virtual Machine"),
        (
            {
                "proc/cpuinfo": ARM_CPUINFO,
                "sys/class/dmi/id/sys_vendor": "Amazon EC2",
                "sys/class/dmi/id/product_name": "c7g.metal",
            },
            None,
        ),
    ],
)
def test_virtual_machine(tree: Tree, files: dict[str, str], expected: str | None) -> None:
    assert facts.virtual_machine(Host(tree(files), [0])) == expected


def test_arm_without_dmi_may_be_virtual(tree: Tree) -> None:
    host = Host(tree({"proc/cpuinfo": ARM_CPUINFO}), [0])
    assert facts.virtual_machine(host) is None
    assert any("whether this is a virtual machine" in note for note in host.notes)


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    mask = sorted(os.sched_getaffinity(0))
    assert found["topology"]["logical_cpus"] == mask
    assert set(sysfs.one_cpu_per_core()) <= set(mask)
    assert sorted(cpu for core in found["topology"]["cores"] or [mask] for cpu in core) == mask
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert 0 < (sysfs.available_memory_bytes() or 0) <= found["memory_bytes"]
    assert found["kernel"] == os.uname().release
    assert found["id"] == facts.machine_id()
    assert all(info["name"] and info["version"] for info in found["blas"])
    assert machine.main([]) == 0
    assert found["id"] in capsys.readouterr().out


def test_another_archspec_keeps_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    first = facts.machine_id()
    monkeypatch.setattr("archspec.cpu.host", lambda: SimpleNamespace(name="renamed"))
    assert facts.cpu()["microarchitecture"] == "renamed"
    assert facts.machine_id() == first


def test_a_narrower_mask_keeps_the_id_and_lists_fewer_cpus() -> None:
    first = min(os.sched_getaffinity(0))
    found = facts.describe(Host(mask=[first]))
    assert found["topology"]["logical_cpus"] == [first]
    assert found["id"] == facts.machine_id()
