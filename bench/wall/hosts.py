"""A machine as the memory wall's figures show it: peak, bandwidth and ridge of its record."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from bench.errors import BadInput
from bench.record.intervals import Interval
from bench.record.metrics import Metrics

DTYPE = "f32"
SOURCE = (
    f"{DTYPE} FMA peak, DRAM read bandwidth and their ratio, best of all samples, on the day of the record: "
    "CPUs' release dates aren't known here"
)


@dataclass(frozen=True)
class Host:
    """One machine on the day of its record: peak in FLOP/s, bandwidth in bytes/s, ridge in FLOP/byte, RAM in bytes."""

    label: str
    day: date
    threads: int
    isa: str
    peak: Interval
    bandwidth: Interval
    ridge: Interval
    memory: int | None
    trust: str

    def as_dict(self) -> dict[str, Any]:
        roofs = {name: getattr(self, name).as_dict() for name in ("peak", "bandwidth", "ridge")}
        return {**vars(self), **roofs, "day": self.day.isoformat(), "dtype": DTYPE}


def has_roofs(metrics: Metrics) -> bool:
    """Whether a record has what host() needs."""
    isa = metrics.record["session"]["isa"]
    return any(roofs.peak(DTYPE, isa) and "DRAM" in roofs.bandwidths for roofs in metrics.roofs.values())


def host(metrics: Metrics, source: str) -> Host:
    """The host of a record, at the most threads whose roofs it has. Raises BadInput, naming `source`, without any."""
    record = metrics.record
    for threads, roofs in sorted(metrics.roofs.items(), reverse=True):
        found = roofs.peak(DTYPE, record["session"]["isa"])
        if found and "DRAM" in roofs.bandwidths:
            isa, peak = found
            return Host(
                record["machine"]["cpu"]["model"] or record["machine"]["id"],
                date.fromisoformat(record["ended"][:10]),
                threads,
                isa,
                peak,
                roofs.bandwidths["DRAM"],
                roofs.ridges[DTYPE, isa],
                record["machine"].get("memory_bytes"),
                metrics.trust["grade"] or "none",
            )
    raise BadInput(f"{source}: no thread count has both an {DTYPE} peak and a DRAM read roof")
