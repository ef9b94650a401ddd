"""The roofs of a record: FMA peaks, read bandwidths, the ceilings' ridge, and how far they moved in the session.

Ridge: the arithmetic intensity, in FLOP/byte, at which peak FLOP/s and bandwidth bind equally (Williams et al. 2009).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.record.intervals import Interval, best_interval, ratio_interval
from bench.record.probes import PROBES
from bench.record.row import Row, arithmetic, counted, rates


@dataclass(frozen=True)
class Roofs:
    """The ceilings of one thread count: peak per (type, isa) in FLOP/s, read bandwidth per level in bytes/s.

    ridges: the ceilings' ridge per (type, isa), FMA peak over DRAM's read bandwidth, in FLOP/byte
    """

    threads: int
    peaks: Mapping[tuple[str, str], Interval]
    bandwidths: Mapping[str, Interval]
    ridges: Mapping[tuple[str, str], Interval]

    def peak(self, type_: str, isa: str) -> tuple[str, Interval] | None:
        """The peak of an ISA, and its name; for a library, whose ISA isn't known, the highest of that type."""
        mine = {i: peak for (t, i), peak in self.peaks.items() if t == type_}
        if not mine:
            return None
        name = isa if isa in mine else max(mine, key=lambda i: mine[i].value)
        return name, mine[name]


def makes(row: Row, roof: str) -> bool:
    """Whether the row is a probe that makes a roof of this kind."""
    kind = PROBES.get(row["operation"])
    return row["kind"] == "probe" and kind is not None and kind.roof == roof


def is_peak(row: Row) -> bool:
    return makes(row, "peak")


def is_read(row: Row) -> bool:
    """Whether the row is a read probe, of any access pattern."""
    return makes(row, "bandwidth")


def roofs(rows: Iterable[Row]) -> dict[int, Roofs]:
    """The ceilings by thread count. The DRAM roof takes every read pattern, at the largest sizes."""
    peaks: dict[tuple[int, str, str], list[Row]] = defaultdict(list)
    reads: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        if is_peak(row):
            peaks[row["threads"], arithmetic(row), row["isa"]].append(row)
        elif is_read(row):
            reads[row["threads"], row["level"]].append(row)
    found = {}
    for threads in sorted({row["threads"] for group in (*peaks.values(), *reads.values()) for row in group}):
        up = {(name, isa): rates(r, counted) for (t, name, isa), r in peaks.items() if t == threads}
        down = {level: rates(r, counted) for (t, level), r in reads.items() if t == threads}
        ridges = {key: ratio_interval(*of, *down["DRAM"]) for key, of in up.items()} if "DRAM" in down else {}
        found[threads] = Roofs(
            threads,
            {key: best_interval(*of) for key, of in up.items()},
            {level: best_interval(*of) for level, of in down.items()},
            ridges,
        )
    return found


def drift(rows: Iterable[Row]) -> dict[str, float]:
    """By probe, its best in the last fifth of the session's rounds over the first fifth's, minus one."""
    rows = [row for row in rows if is_peak(row) or is_read(row)]
    last = max((n for row in rows for n in row["rounds"]), default=0)
    names: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = f"peak {arithmetic(row)} {row['isa']}" if is_peak(row) else f"read {row['level']}"
        names[f"{name}, {row['threads']} threads"].append(row)
    moved = {}
    for name, group in names.items():
        of, rounds = rates(group, counted)
        head = [x for x, n in zip(of, rounds, strict=True) if n <= last / 5]
        tail = [x for x, n in zip(of, rounds, strict=True) if n >= last - last / 5]
        if last and head and tail:
            moved[name] = max(tail) / max(head) - 1
    return moved
