"""What leaving zeros out gives: of each format the ceiling that its bytes set, what was measured, and where it ends."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.escape.names import weights_type
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.roofs import Series, over
from bench.record.row import Row, moved_bytes
from kernels.operations import OPERATIONS
from kernels.types import label

SWEEP, PRUNED = "density", "fewer neurons"
"""How the layers of rows that are measured for this begin: "density 20 %", "fewer neurons as n"."""
DENSITIES = (5, 10, 20, 30, 40, 50, 60, 80, 100)
"""Per cent of the weights that aren't zero."""


class Format(NamedTuple):
    """A way to store weights without their zeros; density: the only one that it can have, in %."""

    name: str
    operation: str
    element: str
    density: int | None = None

    @property
    def label(self) -> str:
        return label(OPERATIONS[self.operation].types_for(self.element))


FORMATS = (
    Format("bitmap f32", "gemv_bitmap", "f32"),
    Format("bitmap i8", "gemv_bitmap", "i8"),
    Format("CSR, 16-bit indices", "gemv_csr16", "f32"),
    Format("CSR, 32-bit indices", "gemv_csr", "f32"),
    Format("2:4", "gemv_2_4", "f32", 50),
)


@dataclass(frozen=True)
class Point:
    """A matrix in a format. density: share of the weights that aren't zero.

    ceiling     bytes of the dense f32 weights over those of the format: the speedup, were bytes all
    speedup     over the same backend's dense f32 (for SciPy, C's) in the same rounds, weights from memory
    of_ceiling  speedup over ceiling, in %
    """

    density: float
    n: int
    k: int
    bytes: int
    ceiling: float
    speedup: Interval

    @property
    def of_ceiling(self) -> Interval:
        return self.speedup.scaled(100 / self.ceiling)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "speedup": self.speedup.as_dict(), "of_ceiling": self.of_ceiling.as_dict()}


@dataclass(frozen=True)
class Curve:
    """A format's points, from the sparsest up.

    crossover   the density up to which it is faster than dense weights, with its 95 % interval; None: at all that were
                measured or at none
    at_ceiling  the density at which its bytes are those of dense weights; None: at none
    """

    format: str
    backend: str
    threads: int
    points: tuple[Point, ...]

    @property
    def crossover(self) -> Interval | None:
        curves = [[getattr(p.speedup, end) for p in self.points] for end in ("value", "low", "high")]
        value, low, high = (self._crossing(curve) for curve in curves)
        if value is None:
            return None
        first, last = self.points[0].density, self.points[-1].density
        return Interval(value, first if low is None else low, last if high is None else high)

    @property
    def at_ceiling(self) -> float | None:
        return self._crossing([p.ceiling for p in self.points])

    def _crossing(self, speedups: Sequence[float]) -> float | None:
        """Where it falls below 1, linear between densities; the last time, for the curve of a bound may waver."""
        above = [i for i, speedup in enumerate(speedups) if speedup >= 1]
        if not above or above[-1] + 1 == len(speedups):
            return None
        i = above[-1]
        share = (speedups[i] - 1) / (speedups[i] - speedups[i + 1])
        return self.points[i].density + share * (self.points[i + 1].density - self.points[i].density)

    def as_dict(self) -> dict[str, Any]:
        crossover = self.crossover
        return {
            "format": self.format,
            "backend": self.backend,
            "threads": self.threads,
            "points": [p.as_dict() for p in self.points],
            "crossover": crossover and crossover.as_dict(),
            "at_ceiling": self.at_ceiling,
        }


def entries(metrics: Metrics) -> list[Curve]:
    """Every format, backend and thread count of a record; a row without dense f32 beside it is left out."""
    cold = [row for row in metrics.rows if row["kind"] == "kernel" and row["cold"] and row["layers"]]
    sweep = [row for row in cold if row["layers"][0].startswith(SWEEP)]
    dense = {_place(row): row for row in sweep if row["operation"] == "gemv"}
    names = {(form.operation, form.element): form.name for form in FORMATS}
    points = defaultdict(list)
    for row in sweep:
        name = names.get((row["operation"], weights_type(row)))
        beside = dense.get(_place(row)) or dense.get((row["layers"][0], row["threads"], "c"))
        if name and beside:
            points[name, row["backend"], row["threads"]].append(_point(row, beside))
    pruned = [row for row in cold if row["layers"][0].startswith(PRUNED)]
    for row in pruned:
        d = row["dims"]
        whole = max((other for other in pruned if _place(other) == _place(row)), key=moved_bytes)
        if whole is not row:
            points[f"dense {d['n']} x {d['k']}", row["backend"], row["threads"]].append(_point(row, whole))
    return [Curve(*key, tuple(sorted(found, key=lambda p: p.density))) for key, found in points.items()]


def _place(row: Row) -> tuple[str, int, str]:
    return row["layers"][0], row["threads"], row["backend"]


def _point(row: Row, dense: Row) -> Point:
    whole, d = dense["dims"], row["dims"]
    return Point(
        d.get("nnz", d["n"] * d["k"]) / (whole["n"] * whole["k"]),
        d["n"],
        d["k"],
        moved_bytes(row),
        moved_bytes(dense) / moved_bytes(row),
        over(Series.of(row, 1), Series.of(dense, 1)),
    )
