"""The rungs of GEMM, from three plain loops to all cores, and the climb that a record holds; bench.ladder shows it."""

from dataclasses import dataclass
from typing import Any

from bench.quantities import plural
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.roofs import Series, over
from bench.record.row import Row, arithmetic, flops, types_label
from kernels.operations import SCALAR_GEMMS
from kernels.types import DTYPES

BACKENDS = {"c": "C", "numba": "Numba"}
"""Those that climb, and their names in print."""


@dataclass(frozen=True)
class Rung:
    """One step of the climb: `change` says in one line what it does to bytes and instructions.

    alone: on one thread. In `change`, {size} is an element's bytes, {lanes} a vector's elements.
    """

    name: str
    operation: str
    alone: bool
    change: str


RUNGS = (
    Rung(
        "naive", "gemm_naive", True, "down B's columns: {size} of a line's 64 bytes used; each FMA waits for the last"
    ),
    Rung("tiled", "gemm_tiled", True, "along B's rows, in L2-sized blocks: whole lines; 2 loads and a store per FMA"),
    Rung("packed", "gemm_packed", True, "panels in reading order, sums in registers: under one load per FMA, no store"),
    Rung("vector", "gemm", True, "{lanes} multiply-adds per instruction, sums in most of the vector registers"),
    Rung("threads", "gemm", False, "{cores}, each with its own FMA units, L1, L2 and part of C"),
)


@dataclass(frozen=True)
class Step:
    """A rung as one backend climbed it. Rates in GFLOP/s.

    percent: the median over rounds of its rate over the FMA peak's of the same round and thread count. gain: over the
    rung below in the same round; where the thread count differs, in the same visit; None on the lowest.
    """

    rung: str
    backend: str
    isa: str
    threads: int
    gflops: Interval
    peak: float
    percent: Interval
    gain: Interval | None
    change: str

    def as_dict(self) -> dict[str, Any]:
        gain = self.gain and self.gain.as_dict()
        return {**vars(self), "gflops": self.gflops.as_dict(), "percent": self.percent.as_dict(), "gain": gain}


def _lowest(metrics: Metrics) -> Row:
    """The first product of a lower rung on one thread. Raises ValueError where there is none."""
    for row in metrics.rows:
        if row["operation"] in SCALAR_GEMMS and row["threads"] == 1:
            return row
    raise ValueError("it holds no climb: no naive, tiled or packed product was measured on one thread")


def climb(metrics: Metrics) -> list[Step]:
    """The steps of a record, C's from the lowest rung up, then Numba's; a rung that wasn't measured is left out.

    Of several shapes, the first that has a lower rung. Raises ValueError where there is none, or no FMA peak for it.
    """
    lowest = _lowest(metrics)
    dims, dtype = lowest["dims"], arithmetic(lowest)
    found = {
        (row["operation"], row["backend"], row["threads"]): (row, f)
        for row, f in metrics.pairs
        if (row["kind"], row["dims"], arithmetic(row)) == ("kernel", dims, dtype)
    }
    most = max(threads for _, _, threads in found)
    steps: list[Step] = []
    for backend in BACKENDS:
        below: Series | None = None
        for rung in RUNGS:
            threads = 1 if rung.alone else most
            if (rung.operation, backend, threads) not in found or (most == 1 and not rung.alone):
                continue
            row, f = found[rung.operation, backend, threads]
            roofs = metrics.roofs.get(threads)
            if roofs is None or (dtype, row["isa"]) not in roofs.peaks:
                raise ValueError(f"it has no FMA peak of {row['isa']} in {dtype} on {plural(threads, 'thread')}")
            rates, peak = Series.of(row, flops(row)), roofs.peak_series[dtype, row["isa"]]
            words = {
                "size": DTYPES[dtype].itemsize,
                "lanes": peak.row["dims"]["lanes"],
                "cores": plural(threads, "core"),
            }
            steps.append(
                Step(
                    rung.name,
                    backend,
                    row["isa"],
                    threads,
                    gflops=Interval(**f["gflops"]),
                    peak=peak.interval.value / 1e9,
                    percent=over(rates, peak).scaled(100),
                    gain=over(rates, below) if below else None,
                    change=rung.change.format(**words),
                )
            )
            below = rates
    return steps


def headline(metrics: Metrics) -> str:
    """What was multiplied: "C = A B in f32, m = 128, n = 3072, k = 768 (BERT-Base ffn_up); B cold, from memory"."""
    row = _lowest(metrics)
    sizes = ", ".join(f"{d} = {row['dims'][d]}" for d in "mnk")
    layers = f" ({'; '.join(row['layers'])})" if row["layers"] else ""
    where = "B cold, from memory" if row["cold"] else f"operands hot, in {row['level']}"
    return f"C = A B in {types_label(row)}, {sizes}{layers}; {where}"
