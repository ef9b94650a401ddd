"""What the page's script draws, as one document: the figures of every machine, rounded, under short names.

Nothing is computed from it but places on a screen: figures and axes are made here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.comparison.families import role
from bench.comparison.page import Outcome
from bench.errors import plain
from bench.record.intervals import Interval
from bench.record.roofs import Roofs, Series, is_read, peak_unit
from bench.record.row import moved_bytes
from bench.report.classes import CLASSES
from bench.report.columns import sizes
from bench.report.page.columns import Machine, Report
from bench.report.page.history import History, as_document
from bench.report.page.looks import LOOKS
from bench.report.page.placed import ROWS, Placed, placed, short

LEVELS = ("DRAM", "L3", "L2", "L1")
REACH = (16, 64)  # of the axes below the lowest ridge and above the highest one
ROOFS = 9  # digits of roofs and ridges
ROOM = 1.1  # above the highest roof, which can't be seen on the frame
Figures = list[float]


def figure(of: Interval | Mapping[str, float], by: float = 1.0, kept: int = 4) -> Figures:
    """Value and ends of the interval, all equal where it tells nothing; kept: digits.

    Of roofs ROOFS, for words beside the chart round them from all they have: 97.55 of 97.5504 would become 97.5 there.
    """
    known = (of if isinstance(of, Interval) else Interval(**of)).shown.as_dict()
    return [short(by * known[name], kept) for name in ("value", "low", "high")]


class Words:
    """Texts, each kept once: a row has their numbers."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def __getitem__(self, word: Any) -> int:
        return self.numbers.setdefault(word, len(self.numbers))


def document(of: Report, history: Sequence[History], without: Sequence[str] = ()) -> dict[str, Any]:
    """without: classes of rows that are left out."""
    keys, remarks = Words(), Words()
    ends = axes(of.machines)
    rows: dict[str, list[Any]] = {machine.letter: [] for machine in of.machines}
    for one in placed(of, without):
        rows[one.machine.letter].append(_row(one, keys, remarks))
    machines = [_machine(machine, rows[machine.letter]) for machine in of.machines]
    return {
        "looks": [look._asdict() for look in LOOKS[: len(machines)]],
        "machines": machines,
        "keys": list(keys.numbers),
        "remarks": list(remarks.numbers),
        "units": {type_: peak_unit(type_) for type_ in dict.fromkeys(name.split(" ")[-2] for name in ends)},
        "headings": [column.heading for column in ROWS],
        "axes": ends,
        "history": as_document(history, {machine.session.machine: machine.letter for machine in of.machines}),
        "classes": [name for name in CLASSES if any(key[3] == name for key in keys.numbers)],
        "levels": [level for level in LEVELS if any(level in roof["reads"] for m in machines for roof in m["roofs"])],
    }


def _machine(machine: Machine, rows: list[Any]) -> dict[str, Any]:
    record, metrics = machine.record, machine.metrics
    return {
        "letter": machine.letter,
        "name": machine.name,
        "id": record["machine"]["id"],
        "file": plain(machine.path.name),
        "isa": record["session"]["isa"],
        "when": machine.session.started[:16].replace("T", " "),
        "grade": metrics.trust["grade"] or "none",
        "roofs": [_roofs(known, machine) for known in metrics.roofs.values()],
        "reads": list(_reads(machine)),
        "rows": rows,
    }


def peaks(known: Roofs, machine: Machine) -> dict[str, tuple[str, Interval]]:
    """By type the peak of the session's ISA, or the highest, and its ISA."""
    found = {}
    for type_ in dict.fromkeys(type_ for type_, _ in known.peaks):
        if peak := known.peak(type_, machine.record["session"]["isa"]):
            found[type_] = peak
    return found


def _roofs(known: Roofs, machine: Machine) -> dict[str, Any]:
    up = peaks(known, machine)
    return {
        "role": role(known.threads, machine.record["machine"]),
        "threads": known.threads,
        "peaks": {type_: figure(peak, 1e-9, ROOFS) for type_, (_, peak) in up.items()},
        "isas": {type_: isa for type_, (isa, _) in up.items()},
        "reads": {level: figure(rate, 1e-9, ROOFS) for level, rate in known.bandwidths.items()},
        "ridges": {
            type_: {level: figure(known.ridge((type_, isa), level), kept=ROOFS) for level in known.bandwidths}
            for type_, (isa, _) in up.items()
        },
    }


def _reads(machine: Machine) -> Iterable[list[Any]]:
    """Reading by working set: role, level, bytes, GB/s with its interval; of several patterns the fastest."""
    best: dict[tuple[str, str, int], Interval] = {}
    for row in machine.metrics.rows:
        if is_read(row):
            place = role(row["threads"], machine.record["machine"]), row["level"], moved_bytes(row)
            rate = Series.of(row).interval
            if place not in best or rate.value > best[place].value:
                best[place] = rate
    for (where, level, size), rate in sorted(best.items(), key=lambda item: (item[0][0], item[0][2])):
        yield [where, level, size, figure(rate, 1e-9, ROOFS)]


def _row(one: Placed, keys: Words, remarks: Words) -> list[Any]:
    row, found, key = one.row, one.figures, one.key
    said = (
        row["operation"],
        key.types,
        one.contestant,
        key.class_,
        key.role,
        sizes(row["dims"]),
        "; ".join(row["layers"]),
        int(key.cold),
    )
    percent, outcome = found.get("percent_of_roof"), one.outcome
    return [
        keys[said],
        row["level"],
        short(found["intensity"]),
        figure(found["gflops"]),
        short(found["gbps"]["value"]),
        short(found["seconds"]["value"]),
        figure(percent) if percent else 0,
        one.verdict,
        found.get("grade", "-"),
        remarks[one.remark] if one.remark else -1,
        [*_reach(outcome), outcome.word] if outcome else 0,
        one.roof,
    ]


def _reach(of: Outcome) -> list[float | None]:
    return [None if one is None else short(one) for one in (of.ratio, of.low, of.high)]


# --- axes


def axes(machines: Sequence[Machine]) -> dict[str, list[int]]:
    """By "role type level" the decades that all machines' roofs need: exponents of both ends of x, then of y.

    Set by roofs alone, so that pictures of different sessions can be laid side by side.
    """
    ends: dict[str, list[tuple[float, float, float]]] = {}
    for machine in machines:
        for known in machine.metrics.roofs.values():
            for type_, (isa, peak) in peaks(known, machine).items():
                for level, rate in known.bandwidths.items():
                    ridge = known.ridge((type_, isa), level).value
                    name = f"{role(known.threads, machine.record['machine'])} {type_} {level}"
                    ends.setdefault(name, []).append((ridge, peak.high / 1e9, rate.value / 1e9))
    found = {}
    for name, known_ends in ends.items():
        ridges, tops, slopes = zip(*known_ends, strict=True)
        left = math.floor(_exponent(min(ridges) / REACH[0]))
        right = math.ceil(_exponent(max(ridges) * REACH[1]))
        found[name] = [left, right, math.floor(_exponent(min(slopes)) + left), math.ceil(_exponent(max(tops) * ROOM))]
    return found


def _exponent(value: float) -> float:
    """Of 10, from -100 to 100."""
    return math.log10(min(max(value, 1e-100), 1e100))
