"""What the samples of a session have to satisfy all at once: who makes up a time has to make up all the others, too.

Regions lie one after the other within the session, in the order of its rounds; they are long enough for the clock and
come in its ticks; all visits were made; and no core does more per cycle than its vector units and ports can.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from bench.quantities import plural
from bench.record.format import Record
from bench.record.probes import LOOPS, PROBES
from bench.record.row import Row, arithmetic, counted, flops, moved_bytes, multiplied, types_label
from kernels.operations import OPERATIONS
from kernels.types import TYPES, native_isa

TICKS = 20  # of the clock, that a region lasts at least
SHORTEST, USUAL = 1e-5, 2e-4  # seconds: of a row's regions the median, and that of half of the rows
SLACK = 1e-6  # seconds by which regions may overlap: what a start was rounded by
TOLERANCE = 2.0  # seconds between the two clocks of a session: the calendar's, and the one of the samples
TICK = 1e-9  # seconds: Linux' clocks count nanoseconds,
COARSE = 2.0**-34  # and a time since boot, as a double, is a multiple of this once it is coarser than that
PLANNED = 3  # visits; later ones are of what was disturbed
HERTZ = 7e9  # no clock is higher
MARGIN = 1.3  # the clock may rise between two looks at it

VECTOR_BYTES = {"generic": 16, "avx2": 32, "avx512": 64, "neon": 16}
PIPES = {"neon": 4}  # of multiply-adds, per core; two elsewhere
WIDEST = 64
MOVED = 4  # vectors per cycle and core that loads and stores move at most: two or three loads, one or two stores
LEAST_MOVED = 32  # bytes: cores with wider units move more than two narrow vectors


class Region(NamedTuple):
    """Of all timed regions of a session one, and whose it is."""

    start: float
    end: float
    round: int
    name: str


def name(i: int, row: Row) -> str:
    return f"row {i} ({row['operation']} {types_label(row)} {row['backend']})"


def unlikely(record: Record) -> Iterator[str]:
    """What of a record can't have been measured, in lines that name the row. Version 1 kept too little to tell."""
    if record["started"] is None:
        return
    ended = datetime.fromisoformat(record["ended"])
    lasted = (ended - datetime.fromisoformat(record["started"])).total_seconds()
    if lasted < 0:
        yield "it ended before it started"
    if ended > datetime.now(UTC) + timedelta(days=1):
        yield "it ends in the future"
    watched = sum(condition["wall_seconds"] for condition in record["session"]["conditions"])
    if watched > lasted + TOLERANCE:
        yield f"{watched:.1f} s of conditions in a session of {lasted:.1f} s"
    yield from _apart(record, lasted)
    yield from _planned(record)
    rows = list(enumerate(record["rows"]))
    lengths = [median(row["seconds"]) for _, row in rows if row["level"] != "link"]  # whose loops are OSU's
    if lengths and median(lengths) < USUAL:
        yield f"half of the rows have regions under {1e3 * USUAL} ms, of {1e3 * median(lengths):.3g} ms"
    if (clock := _hertz(record)) > HERTZ:
        yield f"a clock of {clock / 1e9:.1f} GHz"
    for i, row in rows:
        yield from (f"{name(i, row)}: {fault}" for fault in (*_of_row(row, record), *_physical(row, clock or HERTZ)))
    for i, run in enumerate(record.get("runs", [])):
        if not _ticks(run["seconds"]):
            yield f"run {i}: its seconds are no multiples of a nanosecond"


def _regions(record: Record) -> Iterator[Region]:
    each: list[tuple[str, Any]] = [(name(i, row), row) for i, row in enumerate(record["rows"])]
    each += [(f"run {i}", run) for i, run in enumerate(record.get("runs", []))]
    for whose, samples in each:
        for start, seconds, n in zip(samples["starts"] or (), samples["seconds"], samples["rounds"], strict=False):
            yield Region(start, start + seconds, n, whose)


def _apart(record: Record, lasted: float) -> Iterator[str]:
    """One region at a time, in the order of the rounds, and all within the session; one line for each of the rules."""
    regions = sorted(_regions(record))
    if regions and (last := max(regions, key=lambda one: one.end)).end > lasted + TOLERANCE:
        yield f"{last.name}: a region ends after {last.end:.1f} s of a session of {lasted:.1f} s"
    for a, b in pairwise(regions):
        if b.start < a.end - SLACK:
            yield f"{a.name} and {b.name}: two regions at {b.start:.6f} s, which overlap"
            break
    for a, b in pairwise(regions):
        if b.round < a.round or (b.round == a.round and b.name == a.name):
            yield f"{b.name}: a sample of round {b.round} at {b.start:.6f} s, after one of round {a.round}"
            break


def _planned(record: Record) -> Iterator[str]:
    """Of a complete session every kernel was measured in every visit."""
    kernels = [(i, row, {v for v in row["visits"] if v < PLANNED}) for i, row in enumerate(record["rows"])]
    kernels = [one for one in kernels if one[1]["kind"] == "kernel"]
    planned = set().union(*(visits for _, _, visits in kernels))
    for i, row, visits in kernels:
        if record["complete"] and (missing := planned - visits):
            yield f"{name(i, row)}: not measured in visit {', '.join(map(str, sorted(missing)))} of a complete session"


def _of_row(row: Row, record: Record) -> Iterator[str]:
    session, memory = record["session"], record["machine"]["memory_bytes"]
    if row["starts"] is None:
        yield "its samples have no starts"
    of_models = {
        n for run in record.get("runs", ()) for n in run["rounds"]
    }  # which last for seconds, and roofs a millisecond
    rounds = [n for n in row["rounds"] if row["kind"] == "kernel" or n not in of_models]
    if len(set(rounds)) < len(rounds):
        yield "two samples in one round"
    if sorted(row["visits"]) != row["visits"]:
        yield "visits out of order"
    if len(set(session["cpus"].get(str(row["threads"]), []))) != row["threads"]:
        yield f"{plural(row['threads'], 'thread')}, but the session pinned none to as many CPUs"
    if (length := median(row["seconds"])) < max(SHORTEST, TICKS * session["timer_resolution"]):
        yield f"regions of {1e6 * length:.3g} us are too short to be timed"
    if not _ticks(row["seconds"]):
        yield "its seconds are no multiples of a nanosecond"
    if row["operation"] not in LOOPS and memory and (size := _size(row)) > memory:
        yield f"operands of {size} bytes, in a memory of {memory}"


def _ticks(seconds: Sequence[float]) -> bool:
    """Whether a clock can have shown these times: differences of two doubles that count nanoseconds since boot."""
    near = (abs(s - TICK * round(s / TICK)) < TICK / 10 for s in seconds)
    return all(near) or all((s / COARSE).is_integer() for s in seconds)


def _size(row: Row) -> int:
    return sum(OPERATIONS[row["operation"]].operand_bytes(row["dims"], row["types"]).values())


def _product_bytes(row: Row) -> int:
    """Of the narrowest that an instruction multiplies: rounded activations are 8 bits, and bf16 may stay as it is."""
    if multiplied(row) not in (arithmetic(row), "bf16"):
        return 1
    widest = TYPES[arithmetic(row)].storage.itemsize
    return 2 if "bf16" in row["types"].values() else widest


def _physical(row: Row, clock: float) -> Iterator[str]:
    """No sample is faster than a core's units allow at this clock."""
    seconds = min(row["seconds"]) / row["calls"]
    cycles = MARGIN * clock * seconds * row["threads"]
    isa = native_isa(row["isa"])
    vector = VECTOR_BYTES.get(isa, WIDEST)
    lanes = vector / _product_bytes(row)
    most = 2 * PIPES.get(isa, 2) * lanes * cycles
    if (work := flops(row)) > most:
        yield f"{work / cycles * MARGIN:.0f} FLOP per cycle and core, where {most / cycles:.0f} can be done"
    most = MOVED * max(vector, LEAST_MOVED) * cycles
    if (moved := moved_bytes(row)) > most:
        yield f"{moved / cycles * MARGIN:.0f} bytes per cycle and core, where {most / cycles:.0f} can be moved"


def _hertz(record: Record) -> float:
    """The highest clock that the session saw, by its probes and around its blocks; 0 where it didn't look."""
    seen = [c["clock_hertz"] or 0.0 for c in record["session"]["conditions"]]
    for row in record["rows"]:
        kind = PROBES.get(row["operation"])
        if kind is not None and kind.roof == "clock" and row["kind"] == "probe":
            seen.append(counted(row) * row["calls"] / min(row["seconds"]))
    return max(seen, default=0.0)
