"""The roofs of a record: FMA peaks, read bandwidths, the ceilings' ridge, and how far they moved in the session."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.record.intervals import Interval, best_interval, ratio_interval
from bench.record.row import Row, call_seconds, flops, moved_bytes


@dataclass(frozen=True)
class Roofs:
    """The ceilings of one thread count: peak per (dtype, isa) in FLOP/s, read bandwidth per level in bytes/s."""

    threads: int
    peaks: Mapping[tuple[str, str], Interval]
    bandwidths: Mapping[str, Interval]
    ridges: Mapping[tuple[str, str], Interval]

    def peak(self, dtype: str, isa: str) -> tuple[str, Interval] | None:
        """The peak of an ISA, and its name; for a library, whose ISA isn't known, the highest of that dtype."""
        mine = {i: peak for (d, i), peak in self.peaks.items() if d == dtype}
        if not mine:
            return None
        name = isa if isa in mine else max(mine, key=lambda i: mine[i].value)
        return name, mine[name]


def _probe_rates(rows: Iterable[Row], amount: Any) -> tuple[list[float], list[int]]:
    rates, rounds = [], []
    for row in rows:
        rates += [amount(row) / s for s in call_seconds(row)]
        rounds += row["rounds"]
    return rates, rounds


def roofs(rows: Iterable[Row]) -> dict[int, Roofs]:
    """The ceilings by thread count. The DRAM roof takes every read pattern, at the largest sizes."""
    peaks, reads = defaultdict(list), defaultdict(list)
    for row in rows:
        if row["kind"] == "probe" and row["operation"] == "fma":
            peaks[row["threads"], row["dtype"], row["isa"]].append(row)
        elif row["kind"] == "probe" and row["operation"].startswith("read"):
            reads[row["threads"], row["level"]].append(row)
    found = {}
    for threads in sorted({key[0] for key in (*peaks, *reads)}):
        up = {(d, i): _probe_rates(r, flops) for (t, d, i), r in peaks.items() if t == threads}
        down = {level: _probe_rates(r, moved_bytes) for (t, level), r in reads.items() if t == threads}
        ridges = {key: ratio_interval(*rates, *down["DRAM"]) for key, rates in up.items()} if "DRAM" in down else {}
        found[threads] = Roofs(
            threads,
            {key: best_interval(*rates) for key, rates in up.items()},
            {level: best_interval(*rates) for level, rates in down.items()},
            ridges,
        )
    return found


def drift(rows: Iterable[Row]) -> dict[str, float]:
    """By probe, its best in the last fifth of the session's rounds over the first fifth's, minus one."""
    rows = [r for r in rows if r["kind"] == "probe" and r["operation"] in ("fma", "read", "read_2", "read_4", "read_8")]
    last = max((n for r in rows for n in r["rounds"]), default=0)
    names: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = f"peak {row['dtype']} {row['isa']}" if row["operation"] == "fma" else f"read {row['level']}"
        names[f"{name}, {row['threads']} threads"].append(row)
    moved = {}
    for name, group in names.items():
        rates, rounds = _probe_rates(group, flops if name.startswith("peak") else moved_bytes)
        head = [x for x, n in zip(rates, rounds, strict=True) if n <= last / 5]
        tail = [x for x, n in zip(rates, rounds, strict=True) if n >= last - last / 5]
        if last and head and tail:
            moved[name] = max(tail) / max(head) - 1
    return moved
