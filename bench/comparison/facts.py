"""What may explain that two sessions differ: of the machine, the build, the settings, by name and in words."""

from collections.abc import Mapping
from typing import Any

from bench.comparison.families import allowed, cores_of
from bench.quantities import size
from bench.record.format import Record
from bench.record.placement import placement


def facts_of(record: Record, options: Mapping[str, Any]) -> dict[str, str]:
    """By name, in words; what a record doesn't know is "unknown"."""
    machine, session = record["machine"], record["session"]
    build, huge = machine["build"], machine.get("huge_pages") or {}
    blas = (f"{b.get('name') or '?'} {b.get('version') or '?'}" for b in machine.get("blas") or ())
    placed = (placement(session, int(threads)) for threads in session["cpus"] if threads != "1")
    known: dict[str, Any] = {
        "CPU": _cpu(machine["cpu"]),
        "commit": machine.get("commit"),
        "module": str(build.get("module_sha256") or "")[:12],
        "compiler": build.get("compiler"),
        "flags": build.get("flags"),
        "cores": cores_of(machine),
        "CPUs": allowed(machine),
        "caches": ", ".join(_cache(cache) for cache in machine["caches"] if cache["type"] != "Instruction"),
        "memory": _size(machine.get("memory_limit_bytes") or machine["memory_bytes"]),
        "page size": _size(machine.get("page_bytes")),
        "virtual machine": machine.get("virtual_machine"),
        "ISA": session["isa"] + (" (forced)" if session["forced"] else ""),
        "huge pages": huge.get("transparent"),
        "kernel": machine.get("kernel"),
        "libc": machine.get("libc"),
        "Python": machine.get("python"),
        "BLAS": ", ".join(sorted(set(blas))),
        "threads": ", ".join(sorted(session["cpus"], key=int)),
        "threads share": ", ".join(dict.fromkeys(placed)),
        "options": ", ".join(filter(None, (_option(name, options[name]) for name in sorted(options)))),
        "command": record["command"],
    }
    known |= {f"{name} version": version for name, version in machine["libraries"].items()}
    return {name: str(value) if value not in (None, "", {}, []) else "unknown" for name, value in known.items()}


def _cpu(cpu: Mapping[str, Any]) -> str | None:
    """ "AMD EPYC (family 25, model 1, stepping 1)": one name can stand for several generations."""
    known = {"family": "family", "model": "model_number", "stepping": "stepping"}
    parts = ", ".join(f"{said} {cpu[name]}" for said, name in known.items() if cpu.get(name))
    return f"{cpu['model']} ({parts})" if cpu["model"] and parts else cpu["model"] or parts


def _option(name: str, value: Any) -> str:
    """ "types bf16 i8", "rows": the name alone of what is only switched on; nothing of what isn't given."""
    name = name.strip("-")
    if value in (None, "", False, [], "None", "False", "[]"):
        return ""
    if value in (True, "True"):
        return name
    return f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def _cache(cache: Mapping[str, Any]) -> str:
    return f"L{cache['level']} {size(cache['bytes']) if cache['bytes'] else '?'}"


def _size(count: int | None) -> str | None:
    return None if count is None else size(count)
