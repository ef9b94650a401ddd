"""Made-up /proc and /sys trees of machines that aren't here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

V2 = {
    "proc/self/cgroup": "0::/a/b",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate",
}
V1 = {
    "proc/self/cgroup": "9:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/ignored",
    # a container's view: its own group, or that one's parent, is the mount's root; and one mount has an empty source
    "proc/self/mountinfo": "30 23 0:27 / /tmp rw - tmpfs  rw"
    + "\n35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    + "\n36 31 0:33 /docker /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct",
}


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """Writes the files, by their paths below `root`."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def topology(cores: Sequence[str], l3: Sequence[str], file: str = "core_cpus_list") -> dict[str, str]:
    """A machine whose cores and L3 instances are given as CPU lists ("0,4"); an L3 instance is a package and a node."""
    files = {"sys/devices/system/node/online": f"0-{max(len(l3) - 1, 0)}"}
    members = {cpu: core for core in cores for cpu in core.split(",")}
    files["sys/devices/system/cpu/present"] = f"0-{len(members) - 1}"
    for cpu, core in members.items():
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        package, shared = next(((i, cpus) for i, cpus in enumerate(l3) if cpu in cpus.split(",")), (0, ""))
        files |= {f"{folder}/topology/{file}": core, f"{folder}/topology/physical_package_id": str(package)}
        files[f"sys/devices/system/node/node{package}/cpulist"] = shared
        levels = [("1", "Data", "48K", core), ("1", "Instruction", "32K", core), ("2", "Unified", "1M", core)]
        levels += [("3", "Unified", "16384K", shared)] if shared else []
        for index, values in enumerate(levels):
            for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
                files[f"{folder}/cache/index{index}/{name}"] = value
            files[f"{folder}/cache/index{index}/coherency_line_size"] = "64"
    return files


TWO_SOCKETS = topology(cores=["0,4", "1,5", "2,6", "3,7"], l3=["0,1,4,5", "2,3,6,7"])
