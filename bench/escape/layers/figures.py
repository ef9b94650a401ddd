"""What fewer bytes per weight gave each layer of a record, and what stopped the rest."""

from dataclasses import dataclass
from typing import Any

from bench.escape.layers.errors import relative_error
from bench.escape.layers.limits import Limit, limited_by
from bench.escape.names import activations, claim, weights_type
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.roofs import Series, over
from bench.record.row import Row, arithmetic, flops, moved_bytes
from kernels.operations import LINEAR, OPERATIONS

HOT = "hot limit"
"""The layer of rows that are measured in L2, on one thread."""
GEMVS = ("gemv", "gemv_t")


@dataclass(frozen=True)
class Way:
    """One layer's product on one row of activations, its weights in a type that is only stored, from memory.

    activations    "8" where they are rounded to 8 bits on the way, else "f32"
    packed         whether the weights are in the kernel's own order
    byte_ratio     bytes of the weights in f32 over those that are stored, scales included
    speedup        over the same backend's f32 in the same rounds
    gbps           of stored weights
    hot_gbps       of stored weights, the same kernel on one thread where they are in L2; None: not measured
    of_peak        its share of the peak of its products there; None: not measured, that of another type included
    saturating     cores at which it would read as fast as memory lets the most threads of the record read
    error          RMS of the result's error over its own, on normal random numbers
    """

    type: str
    activations: str
    packed: bool
    backend: str
    isa: str
    threads: int
    layer: str
    n: int
    k: int
    byte_ratio: float
    speedup: Interval
    by_visit: dict[int, float]
    gbps: float
    percent_of_read_roof: Interval | None
    hot_gbps: float | None
    of_peak: float | None
    saturating: float | None
    limited_by: Limit | None
    error: float
    claim: str

    @property
    def achieved(self) -> float:
        """The share of the byte ratio that became speed."""
        return self.speedup.value / self.byte_ratio

    @property
    def contestant(self) -> tuple[str, str, bool, str, int]:
        """What is the same in all layers."""
        return self.type, self.activations, self.packed, self.backend, self.threads

    def as_dict(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self).items() if name != "by_visit"}
        roof = self.percent_of_read_roof
        return found | {
            "speedup": self.speedup.as_dict(),
            "percent_of_read_roof": roof and roof.as_dict(),
            "achieved": self.achieved,
        }


def entries(metrics: Metrics) -> list[Way]:
    """Those of a record, layer by layer; a kernel without f32's of the same backend beside it is left out."""
    cold = [row for row in metrics.rows if row["kind"] == "kernel" and row["cold"] and _one_row(row)]
    baselines = {_place(row): row for row in cold if weights_type(row) == "f32"}
    return [
        _way(metrics, row, baselines[_place(row)])
        for row in cold
        if weights_type(row) != arithmetic(row) and _place(row) in baselines
    ]


def _one_row(row: Row) -> bool:
    return row["operation"] in GEMVS or (row["operation"] in LINEAR and row["dims"]["m"] == 1)


def _place(row: Row) -> tuple[Any, ...]:
    return row["backend"], row["threads"], tuple(row["layers"]), row["dims"]["n"], row["dims"]["k"]


def _way(metrics: Metrics, row: Row, baseline: Row) -> Way:
    size, most = moved_bytes(row), max(metrics.roofs, default=0)
    rates = Series.of(row, size)
    speedup = over(Series.of(row, 1), Series.of(baseline, 1))
    roofs = metrics.roofs.get(row["threads"])
    read = roofs.read_series.get("DRAM") if roofs else None
    reach = metrics.roofs[most].read_series.get("DRAM") if most else None
    hot, of_peak = hot_limit(metrics, row["operation"], weights_type(row), row["backend"])
    limit = None
    if hot and read:
        limit = limited_by(rates.interval.value, read.interval.value, hot * row["threads"], of_peak)
    base = Series.of(baseline, 1).by_visit
    return Way(
        weights_type(row),
        activations(row["operation"]),
        OPERATIONS[row["operation"]].packed,
        row["backend"],
        row["isa"],
        row["threads"],
        "; ".join(row["layers"]),
        row["dims"]["n"],
        row["dims"]["k"],
        byte_ratio=moved_bytes(baseline) / size,
        speedup=speedup,
        by_visit={visit: rate / base[visit] for visit, rate in Series.of(row, 1).by_visit.items() if visit in base},
        gbps=rates.interval.value / 1e9,
        percent_of_read_roof=over(rates, read).scaled(100) if read else None,
        hot_gbps=hot / 1e9 if hot else None,
        of_peak=of_peak,
        saturating=reach.interval.value / hot if hot and reach else None,
        limited_by=limit,
        error=relative_error(row["operation"], weights_type(row), row["dims"]["k"]),
        claim=claim(weights_type(row)),
    )


def hot_limit(metrics: Metrics, operation: str, element: str, backend: str) -> tuple[float | None, float | None]:
    """Bytes/s of stored weights of a kernel in L2 on one thread, and its share of its own peak; None: not measured."""
    for row in metrics.rows:
        hot = row["kind"] == "kernel" and row["layers"] == [HOT] and row["threads"] == 1
        if hot and (row["operation"], weights_type(row), row["backend"]) == (operation, element, backend):
            op = OPERATIONS[operation]
            size = op.operand_bytes(row["dims"], row["types"])[op.weights or ""]
            held = metrics.roofs[1].peak_of(row) if 1 in metrics.roofs else None
            if held is None or held.stands_in:
                return Series.of(row, size).interval.value, None
            share = Series.of(row, flops(row)).interval.value / metrics.roofs[1].peaks[held.peak].value
            return Series.of(row, size).interval.value, share
    return None, None
