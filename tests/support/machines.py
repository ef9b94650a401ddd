"""Records of machines that differ in cores, ISA, roofs and names, as files: what a page is made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import store
from bench.record.format import digest
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.record.runs.run import Run
from support import records

PRODUCTS = ((1, 0.45), (8, 0.7), (16, 0.8), (128, 0.9))
"""Rows of x, and the share of the roof that the kernel reaches."""


def rows(peak: float = 100e9, read: float = 20e9, cores: int = 2, own: float = 1.0, isa: str = "avx2") -> list[Row]:
    """One thread and all cores: probes of the peak, of reads from L2 and from memory, and cold products.

    peak, read  FLOP/s and bytes/s of one thread; own: how many times as fast kernels are
    """
    found: list[Row] = []
    for threads in (1, cores) if cores > 1 else (1,):
        up, down = peak * threads, read * threads**0.5
        found.append(records.fma(threads, (up,) * 9))
        found.append(records.read(threads, (down,) * 9))
        near = [8e7 / (5 * down)] * 9
        dims = {"n": 10**4}
        found.append(
            records.sampled("probe", "read", "f64", threads, dims, near, records.STARTS, level="L2", calls=1000)
        )
        for m, share in PRODUCTS:
            roof = min(up, m / 2 * down)
            found.append(records.product(m, own * share * roof / 1e9, threads, layers=["ffn_up"]))
    return [{**row, "isa": isa} for row in found]


def machine(
    path: Path,
    model: str | None = "Made Up",
    name: str = "made-up-00000000",
    cores: int = 2,
    isa: str = "avx2",
    day: str = "2026-03-01",
    commit: str = "0000",
    runs: list[Run] | None = None,
    facts: Mapping[str, Any] | None = None,
    **roofs: float,
) -> Path:
    """A record of such a machine, written to the path; facts: what else is known of it."""
    document: Any = records.of(rows(cores=cores, isa=isa, **roofs), runs=runs or ()).record
    document["machine"] = {
        **document["machine"],
        "id": name,
        "cpu": {"model": model},
        "topology": {"cores": [[i] for i in range(cores)], "logical_cpus": list(range(cores))},
        "commit": commit,
        **(facts or {}),
    }
    document["session"]["isa"] = isa
    document["started"], document["ended"] = (f"{day}T{hour}:00:00.000+00:00" for hour in ("09", "10"))
    return written(document, path)


def written(document: Any, path: Path) -> Path:
    """With the figures and the digest that follow from it."""
    document["figures"] = Metrics(document).as_dict()
    document["digest"] = digest(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    store.save(document, path)
    return path


def four(folder: Path) -> list[Path]:
    """Really different ones: many cores and a wide ISA, another architecture, slow memory and a script for a name."""
    return [
        machine(folder / "a.json", "AMD EPYC", "amd-epyc-00000000"),
        machine(folder / "b.json", "Intel Xeon", "intel-xeon-00000000", 8, "avx512", peak=200e9, read=25e9),
        machine(folder / "c.json", "Neoverse-V2", "arm-neoverse-00000000", 4, "neon", peak=60e9, read=30e9),
        machine(folder / "d.json", EVIL, "amd-ryzen-00000000", peak=150e9, read=10e9, own=0.5),
    ]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> ${title} \\input{x}"
