"""What this machine is: CPU, topology, caches, limits, versions, and a stable id.

A fact that can't be found is None, and describe()'s notes say what was missing; nothing is guessed. bench.host.sysfs
reads what the process may use; its functions are here too, so that one import has every fact.
"""

import hashlib
import hmac
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from bench.host.git import OWN, git
from bench.host.sysfs import (
    CPUS,
    Host,
    alike,
    caches,
    cores,
    cpu_quota,
    llc_bytes,
    memory_limit_bytes,
)

GIT_SECONDS = 10
SOURCES = {".py", ".c", ".h", ".def", ".csv"}
LIBRARIES = ("numpy", "numba", "llvmlite", "scipy", "cffi", "threadpoolctl")
# what DMI's vendor and product say inside a virtual machine, for architectures whose cpuinfo has no hypervisor flag
VIRTUAL = ("QEMU", "KVM", "VMware", "VirtualBox", "Xen", "Virtual Machine", "Amazon EC2", "Google Compute", "OpenStack")


def cpu(host: Host | None = None) -> dict[str, Any]:
    """model, vendor, family, model_number, stepping as /proc/cpuinfo words them, and archspec's microarchitecture.

    On Arm: implementer, architecture, part, and rNpM (variant and revision); most have no model. The microarchitecture
    is the newest whose features are all visible, so one that a hypervisor masks looks older.
    """
    import archspec.cpu

    host = host or Host()
    info = host.fields("/proc/cpuinfo")
    arm = info.keys() >= {"CPU variant", "CPU revision"}
    revision = f"r{int(info['CPU variant'], 16)}p{info['CPU revision']}" if arm else None
    found = {
        "model": info.get("model name"),
        "vendor": info.get("vendor_id", info.get("CPU implementer")),
        "family": info.get("cpu family", info.get("CPU architecture")),
        "model_number": info.get("model", info.get("CPU part")),
        "stepping": info.get("stepping", revision),
        # archspec looks at the running CPU, whatever files a Host has
        "microarchitecture": archspec.cpu.host().name if host.root == Path("/") else None,
    }
    for name in (name for name, value in found.items() if value is None):
        host.note(f"unknown: the CPU's {name.replace('_', ' ')}, not in /proc/cpuinfo")
    return found


def machine_id(host: Host | None = None) -> str:
    """<CPU model>-<8 hexadecimal digits>, the same after a reboot, under another affinity mask, with other libraries.

    The digits hash what the hardware is and /etc/machine-id, which itself goes in only as a keyed hash, as
    machine-id(5) asks. Without that file machines of one type share an id, which is noted.
    """
    host = host or Host()
    facts = cpu(host)
    del facts["microarchitecture"]  # another archspec may name it otherwise
    present = host.cpulist(f"{CPUS}/present") or []
    # not how many instances, nor shared by how many: taking a CPU offline changes both
    kinds = {tuple(map(str, list(cache.values())[:4])) for cache in caches(Host(host.root, present))}
    private = host.text("/etc/machine-id", needed=False)
    if private and private != "uninitialized":  # the other word of machine-id(5), in images before their first boot
        private = hmac.new(private.encode(), b"ridgeline machine id", hashlib.sha256).hexdigest()
    else:
        private = None
        host.note("unknown: which of the machines of this type, for want of /etc/machine-id; they share an id")
    identity = json.dumps([facts, present, sorted(kinds), private])
    model = facts["model"] or " ".join(facts[name] for name in ("vendor", "model_number") if facts[name]) or "cpu"
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm|c)\)", "", model.lower())).strip("-")
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def virtual_machine(host: Host | None = None) -> str | None:
    """The hypervisor's name; None on bare metal, and where neither x86's hypervisor flag nor DMI tells (noted).

    The name is what /sys/hypervisor or DMI says, which on some is the cloud's; "unnamed" if there's only the flag.
    """
    host = host or Host()
    info = host.fields("/proc/cpuinfo")
    xen = host.text("/sys/hypervisor/type", needed=False)
    dmi = [host.text(f"/sys/class/dmi/id/{name}", needed=False) for name in ("sys_vendor", "product_name")]
    product = " ".join(name for name in dmi if name) or None
    if xen:
        return xen
    if "flags" in info:  # x86, where every hypervisor that wants to be known sets the flag
        if "hypervisor" not in info["flags"].split():
            return None
        if product is None:
            host.note("unknown: the hypervisor's name, no /sys/hypervisor/type, no /sys/class/dmi/id")
        return product or "unnamed"
    if product is None:
        host.note("unknown: whether this is a virtual machine, no /sys/hypervisor/type, no /sys/class/dmi/id")
        return None
    # a cloud's bare machines carry its name too, as in "Amazon EC2 c7g.metal"
    return product if ".metal" not in product and any(name in product for name in VIRTUAL) else None


def describe(host: Host | None = None) -> dict[str, Any]:
    """Everything a reader needs to judge or repeat a result, JSON-able. Sizes in bytes; cpu_quota in CPUs.

    topology is that of the affinity mask, cores lists the logical CPUs of each physical core; caches are those that the
    threads' CPUs reach, which are alike().
    notes names what is unknown, and what isn't installed.
    """
    host = host or Host()
    huge = re.search(r"\[(\w+)\]", host.text("/sys/kernel/mm/transparent_hugepage/enabled") or "")
    libc = " ".join(platform.libc_ver()).strip() or None
    if libc is None:
        host.note("unknown: libc, not named in the Python executable")
    found: dict[str, Any] = {
        "id": machine_id(host),
        "cpu": cpu(host),
        "topology": {
            "logical_cpus": list(host.mask),
            "cores": cores(host),
            "packages": _distinct(host, "physical_package_id"),
            "numa_nodes": _numa_nodes(host),
        },
        "caches": caches(alike(host)),
        "llc_bytes_aggregate": llc_bytes(host),
        "memory_bytes": host.meminfo("MemTotal"),
        "memory_limit_bytes": memory_limit_bytes(host),
        "cpu_quota": cpu_quota(host),
        "virtual_machine": virtual_machine(host),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "huge_pages": {
            "transparent": huge[1] if huge else None,
            "nr_hugepages": host.integer("/proc/sys/vm/nr_hugepages"),
        },
        "kernel": host.text("/proc/sys/kernel/osrelease"),
        "libc": libc,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: _version(host, name) for name in LIBRARIES},
        "blas": _blas(),
        "commit": _commit(host),
    }
    if found["virtual_machine"]:
        host.note("unknown: the physical cores and caches, sysfs has the hypervisor's version of them")
    return {**found, "notes": list(host.notes)}


def _distinct(host: Host, name: str) -> int | None:
    values = {host.text(f"{CPUS}/cpu{cpu}/topology/{name}") for cpu in host.mask}
    return None if None in values else len(values)


def _numa_nodes(host: Host) -> int | None:
    nodes = host.cpulist("/sys/devices/system/node/online")
    if nodes is None:
        return None
    members = [host.cpulist(f"/sys/devices/system/node/node{node}/cpulist", needed=False) or [] for node in nodes]
    return sum(not set(host.mask).isdisjoint(cpus) for cpus in members)  # a node may have memory and no CPU


def _version(host: Host, library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        host.note(f"not installed: {library}")
        return None


def _blas() -> list[dict[str, Any]]:
    import numpy  # noqa: F401 - threadpoolctl sees only what is loaded
    import threadpoolctl

    names = ("version", "threading_layer", "architecture")
    loaded = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    return [{"name": info["internal_api"], **{name: info.get(name) for name in names}} for info in loaded]


def _commit(host: Host) -> str | None:
    if not (OWN / ".git").exists():  # else an enclosing repository, say around a virtual environment, would answer
        host.note("unknown: commit, the package doesn't lie in a checkout")
        return None
    try:
        if not git("ls-files", "--", "bench/host/facts.py", timeout=GIT_SECONDS):
            host.note(f"unknown: commit, {OWN} is a checkout of something else")
            return None
        found = git("describe", "--always", "--tags", "--dirty", "--abbrev=12", timeout=GIT_SECONDS)
        return found.decode(errors="replace").strip()
    except subprocess.CalledProcessError as error:
        host.note(f"unknown: commit, git says: {error.stderr.decode(errors='replace').strip()}")
    except (OSError, subprocess.TimeoutExpired) as error:
        host.note(f"unknown: commit, git doesn't run: {error}")
    return None


def sources_sha256(root: Path) -> str:
    """SHA-256 of what decides a time: the sources of the kernels and of their timing; in a checkout those in C, too.

    Two builds of the same sources have the same, whatever the compiler; a change that wasn't committed shows.
    """
    found = hashlib.sha256()
    for folder in ("csrc", "kernels", "bench/measure"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES and path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                found.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return found.hexdigest()
