"""What is the same measurement in two sessions, and the families that rows belong to.

Threads enter by their role, which every machine has.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.quantities import plural
from bench.record.format import Machine, Record
from bench.record.probes import LAYERS, LINK, LOOPS, PROBES
from bench.record.row import OURS, Row, types_label
from kernels.operations import OPERATIONS

PROBE_FAMILIES = {"peak": "FMA", "bandwidth": "read", "clock": "clock", None: "STREAM"}


class Key(NamedTuple):
    """What makes rows of two sessions the same measurement.

    kind   kernel, probe, or run: a whole model
    dims   of a kernel, and of what is between ranks; the sizes of another probe are the machine's, and rank orders
           those of one level
    level  of a probe; where the data of a hot kernel is follows from its dims and the machine's caches
    role   of its threads
    """

    kind: str
    operation: str
    types: str
    backend: str
    dims: tuple[tuple[str, int], ...]
    level: str
    cold: bool
    role: str
    rank: int = 0

    @property
    def class_(self) -> str:
        """The class of rows whose variance between sessions is alike."""
        if self.kind != "kernel":
            return "probes" if self.kind == "probe" else "whole models"
        if OPERATIONS[self.operation].terms is None:
            return "pointwise"
        if not self.cold:
            return "hot"
        rows = dict(self.dims).get("m", 1)
        return "cold m = 1" if rows == 1 else "cold m 2-15" if rows < 16 else "cold m >= 16"

    @property
    def family(self) -> "Family":
        if self.kind == "probe":
            between = {**dict.fromkeys(LINK, "interconnect"), **dict.fromkeys(LAYERS, "layers over ranks")}
            kernel = between.get(self.operation) or PROBE_FAMILIES[PROBES[self.operation].roof]
        else:
            ahead = " prepacked" if self.operation == "gemm_prepacked" else ""
            kernel = f"{self.backend}{ahead} {self.types}"
        return Family(kernel, self.class_, self.role)

    @property
    def text(self) -> str:
        """ "gemm f32 c 8x768x768 cold DRAM, one": the row in a word."""
        dims = "x".join(str(size) for _, size in self.dims)
        data = {"kernel": "cold" if self.cold else "hot", "probe": "probe", "run": ""}[self.kind]
        size = f"size {self.rank + 1}" if self.rank else ""
        words = (self.operation, self.types, self.backend, dims, data, self.level, size)
        return f"{' '.join(filter(None, words))}, {self.role}"


class Family(NamedTuple):
    """A backend's kernels on one class of rows with one role of threads: what is judged first.

    GEMV of either orientation is one kernel here, and so are all pointwise ones: the fewer families a page has, the
    smaller the change that Holm's correction lets it call.
    """

    kernel: str
    class_: str
    role: str


def cores_of(machine: Machine | Mapping[str, Any]) -> int | None:
    """Physical cores, or logical CPUs where those aren't known."""
    topology = machine["topology"]
    return len(topology.get("cores") or topology.get("logical_cpus") or ()) or None


def allowed(machine: Machine | Mapping[str, Any]) -> str:
    """ "1 CPU", "4 CPUs on 2 cores", "2 CPUs, a quota of 1.5": what the session was let run on."""
    topology, quota = machine["topology"], machine.get("cpu_quota")
    cpus, cores = (len(topology.get(name) or ()) for name in ("logical_cpus", "cores"))
    known = plural(cpus, "CPU") if cpus else "CPUs unknown"
    on = f" on {plural(cores, 'core')}" if cores and cores != cpus else ""
    return f"{known}{on}{f', a quota of {quota:g}' if quota else ''}"


def role(threads: int, machine: Machine | Mapping[str, Any]) -> str:
    """ "one", "all" or "N threads"."""
    return "one" if threads == 1 else "all" if threads == cores_of(machine) else plural(threads, "thread")


def key_of(row: Row, record: Record) -> Key:
    """Of a row of a record; its rank is 0."""
    kernel, operation, backend = row["kind"] == "kernel", row["operation"], row["backend"]
    if operation in LOOPS or (backend in OURS and row["isa"] != record["session"]["isa"]):
        backend = f"{backend}/{row['isa']}"
    sized = kernel or operation in (*LINK, *LAYERS)
    dims = tuple(sorted(row["dims"].items(), key=lambda item: "bmnk".find(item[0][0]))) if sized else ()
    cold = bool(row["cold"])
    level = row["level"] if cold or not kernel else ""
    place = role(row["threads"], record["machine"])
    return Key(row["kind"], operation, types_label(row), backend, dims, level, cold, place)
