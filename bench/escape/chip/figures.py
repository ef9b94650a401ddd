"""The same product over working sets from L1 to memory: what a type gains where its weights fit on chip."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.escape.names import activations, weights_type
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.roofs import Series, over
from bench.record.row import Row
from kernels.operations import OPERATIONS

SET = "working set"
"""The layer of rows that are measured for this."""
LEVELS = ("L1", "L2", "L3", "DRAM")


@dataclass(frozen=True)
class Point:
    """One working set: its weights are read again and again.

    level     the nearest that holds it, or L3 for what is up to twice as large, of which it keeps a part
    bytes     of stored weights, scales included
    weights   a second, in 1e9: what a product is worth whatever its type
    gbps      of stored weights
    gain      weights a second over those of the same contestant's largest working set: the quotient of the two medians,
              its interval that of their ratios by visits
    """

    type: str
    activations: str
    backend: str
    threads: int
    n: int
    k: int
    level: str
    bytes: int
    weights: Interval
    gbps: Interval
    gain: Interval

    @property
    def contestant(self) -> tuple[int, str, str, str]:
        return self.threads, self.type, self.activations, self.backend

    def as_dict(self) -> dict[str, Any]:
        intervals = {name: getattr(self, name).as_dict() for name in ("weights", "gbps", "gain")}
        return {**vars(self), **intervals}


def entries(metrics: Metrics) -> list[Point]:
    """Each contestant's curve, from the smallest working set up."""
    curves = defaultdict(list)
    for row in metrics.rows:
        if row["kind"] == "kernel" and row["layers"] == [SET]:
            curves[row["threads"], row["operation"], weights_type(row), row["backend"]].append(row)
    found = []
    for rows in curves.values():
        rows.sort(key=_bytes)
        largest = Series.of(rows[-1], _weights(rows[-1]))
        found += [_point(row, largest) for row in rows]
    return found


def _bytes(row: Row) -> int:
    op = OPERATIONS[row["operation"]]
    return op.operand_bytes(row["dims"], row["types"])[op.weights or ""]


def _weights(row: Row) -> int:
    return row["dims"]["n"] * row["dims"]["k"]


def _point(row: Row, largest: Series) -> Point:
    rates = Series.of(row, _weights(row))
    value, ratio = rates.interval.value / largest.interval.value, over(rates, largest)
    return Point(
        weights_type(row),
        activations(row["operation"]),
        row["backend"],
        row["threads"],
        row["dims"]["n"],
        row["dims"]["k"],
        row["level"],
        _bytes(row),
        weights=rates.interval.scaled(1e-9),
        gbps=rates.interval.scaled(_bytes(row) / _weights(row) / 1e9),
        gain=Interval(value, min(value, ratio.low), max(value, ratio.high)),
    )


@dataclass(frozen=True)
class Curve:
    """A contestant's fastest working set of each cache; of memory the largest, over which gains are told."""

    one: Point
    best: Mapping[str, Point]


def curves(points: Iterable[Point]) -> list[Curve]:
    """Of each contestant."""
    groups: dict[Any, list[Point]] = defaultdict(list)
    for point in points:
        groups[point.contestant].append(point)
    return [Curve(group[0], _best(group)) for group in groups.values()]


def _best(group: Sequence[Point]) -> dict[str, Point]:
    found: dict[str, Point] = {}
    for point in group:
        memory, best = point.level == "DRAM", found.get(point.level)
        if best is None or (point.bytes > best.bytes if memory else point.weights.value > best.weights.value):
            found[point.level] = point
    return found
