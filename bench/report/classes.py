"""A session in few figures: its kernel rows by class, role of threads and contestant (see bench.comparison.families).

A contestant is a backend, with weights packed ahead or without. GEMM's lower rungs, which are slow on purpose, are in
no class.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from bench.comparison.families import Key, key_of
from bench.record.format import RowFigures
from bench.record.intervals import Interval, geometric_mean_interval
from bench.record.metrics import Metrics
from bench.record.row import Row, call_seconds, family, good
from kernels.operations import SCALAR_GEMMS

DECODE, FEW, MANY = "cold m = 1", "cold m 2-15", "cold m >= 16"
PRIMARY = "f32"
CLASSES = (DECODE, FEW, MANY, "hot", "pointwise")


class Member(NamedTuple):
    """A kernel row and what is derived of it; shares and seconds by visit, shares empty where the roof isn't known."""

    key: Key
    row: Row
    figures: RowFigures
    shares: Mapping[int, float]
    seconds: Mapping[int, float]

    @property
    def contestant(self) -> str:
        """ "c", "c prepacked", "blas"."""
        return family(self.row)

    @property
    def matrix(self) -> tuple[int, int]:
        """n and k: of weights, which matrix."""
        return self.row["dims"]["n"], self.row["dims"].get("k", 1)


def members(metrics: Metrics) -> list[Member]:
    """Every kernel row but GEMM's lower rungs."""
    found = []
    for (row, figures), share in zip(metrics.pairs, metrics.shares, strict=True):
        if row["kind"] == "kernel" and row["operation"] not in SCALAR_GEMMS:
            which, each = good(row), call_seconds(row)
            seconds = _medians([each[i] for i in which], [row["visits"][i] for i in which])
            shares = _medians(share.values, share.visits) if share else {}
            found.append(Member(key_of(row, metrics.record), row, figures, shares, seconds))
    return found


def _medians(values: Sequence[float], visits: Sequence[int]) -> dict[int, float]:
    groups: dict[int, list[float]] = defaultdict(list)
    for value, visit in zip(values, visits, strict=True):
        groups[visit].append(value)
    return {visit: median(group) for visit, group in groups.items()}


class Class(NamedTuple):
    """The rows of one class, one element type and one role of threads."""

    name: str
    types: str
    role: str
    rows: Sequence[Member]

    @property
    def contestants(self) -> list[str]:
        return list(dict.fromkeys(member.contestant for member in self.rows))

    def percent(self, contestant: str) -> Interval | None:
        """Geometric mean of its rows' % of roof; None where none has a roof."""
        mine = [m for m in self.rows if m.contestant == contestant and "percent_of_roof" in m.figures]
        return percent_of(mine) if mine else None

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many rows have each; those above their roof aside."""
        return Counter("above" if "error" in m.figures else m.figures.get("verdict", "undecided") for m in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; shares are those of contestants that have a roof."""
        return {
            "class": self.name,
            "types": self.types,
            "threads": self.role,
            "percent_of_roof": {name: share.as_dict() for name, share in shares_of(self.rows).items()},
            "verdicts": self.verdicts,
        }


def percent_of(rows: Sequence[Member]) -> Interval:
    """Geometric mean of % of roof of rows that have one."""
    values = [m.figures["percent_of_roof"]["value"] for m in rows]
    return geometric_mean_interval(values, [{v: 100 * s for v, s in m.shares.items()} for m in rows])


def shares_of(rows: Sequence[Member]) -> dict[str, Interval]:
    """Geometric mean of % of roof of every contestant; without those of which no row has a roof."""
    groups: dict[str, list[Member]] = defaultdict(list)
    for member in rows:
        if "percent_of_roof" in member.figures:
            groups[member.contestant].append(member)
    return {name: percent_of(mine) for name, mine in groups.items()}


class Headline(NamedTuple):
    """The roofs of most threads, and of the type and ISA of the session; FLOP/s, bytes/s, FLOP/byte, % by contestant.

    None, or no share, is what wasn't measured.
    """

    threads: int
    type: tuple[str, str] | None
    peak: Interval | None
    read: Interval | None
    ridge: Interval | None
    percent: Mapping[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, rates in GFLOP/s and GB/s."""
        rates = {
            "peak": self.peak and self.peak.scaled(1e-9),
            "read_bandwidth": self.read and self.read.scaled(1e-9),
            "ridge": self.ridge,
        }
        return {
            "threads": self.threads,
            "type": self.type and self.type[0],
            "isa": self.type and self.type[1],
            **{name: value and value.as_dict() for name, value in rates.items()},
            "percent_of_roof": {name: share.as_dict() for name, share in self.percent.items()},
        }


def headline(metrics: Metrics) -> Headline | None:
    """None where no roof was measured. Shares are geometric means over all kernel rows of these threads."""
    known = [roofs for roofs in metrics.roofs.values() if roofs.peaks or "DRAM" in roofs.bandwidths]
    if not known:
        return None
    best = max(known, key=lambda roofs: (len(roofs.peaks) > 0, "DRAM" in roofs.bandwidths, roofs.threads))
    isa = metrics.record["session"]["isa"]
    key = max(best.peaks, key=lambda k: (k == (PRIMARY, isa), best.peaks[k].value), default=None)
    return Headline(
        best.threads,
        key,
        best.peaks[key] if key else None,
        best.bandwidths.get("DRAM"),
        best.ridges.get(key) if key else None,
        shares_of([member for member in members(metrics) if member.row["threads"] == best.threads]),
    )


def classes(found: Sequence[Member]) -> list[Class]:
    """In the order of CLASSES, then by type and threads."""
    groups: dict[tuple[str, str, int, str], list[Member]] = defaultdict(list)
    for member in found:
        key = member.key
        groups[key.class_, key.types, member.row["threads"], key.role].append(member)
    ordered = sorted(groups, key=lambda group: (CLASSES.index(group[0]), *group[1:3]))
    return [Class(name, types, role, groups[name, types, threads, role]) for name, types, threads, role in ordered]


def speedup(pairs: Sequence[tuple[Member, Member]]) -> Interval | None:
    """How many times as fast the second of each pair is: the geometric mean; None where there is no pair."""
    if not pairs:
        return None
    values = [a.figures["seconds"]["value"] / b.figures["seconds"]["value"] for a, b in pairs]
    return geometric_mean_interval(
        values, [{v: a.seconds[v] / b.seconds[v] for v in a.seconds.keys() & b.seconds} for a, b in pairs]
    )


def partners(rows: Sequence[Member], others: Sequence[Member]) -> Iterator[tuple[Member, Member]]:
    """The same kernel on the same shape, whatever its types and threads."""
    known = {_identity(member.key): member for member in others}
    yield from ((member, known[_identity(member.key)]) for member in rows if _identity(member.key) in known)


def _identity(key: Key) -> tuple[object, ...]:
    return key.operation, key.backend, key.dims, key.cold
