"""A row of a record: one kernel or probe on one shape, its samples, and the work that follows from its shape."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypedDict

from bench.quantities import plural
from bench.record.probes import LOOPS, PROBES
from kernels.operations import OPERATIONS
from kernels.types import TYPES, Types, accumulator, expand, label

Kind = Literal["probe", "kernel"]
Level = Literal["L1", "L2", "L3", "DRAM", "core", "link"]


class Row(TypedDict):
    """One kernel or probe on one shape; sample i took seconds[i] for `calls` calls. record.schema.json says more."""

    kind: Kind
    operation: str
    types: dict[str, str]
    backend: str
    isa: str
    threads: int
    dims: dict[str, int]
    layers: list[str]
    level: Level
    cold: list[str]
    calls: int
    seconds: list[float]
    rounds: list[int]
    visits: list[int]
    starts: list[float] | None
    marks: dict[str, list[int]]
    huge_pages: float | None


OURS = ("c", "numba")
"""Backends whose ISA is known; the others' is their library's version."""
PREEMPTED = "preempted"
"""The mark of samples in which a thread lost its CPU."""
ENOUGH = 0.25


def make_row(
    kind: Kind,
    operation: str,
    types: str | Types,
    backend: str,
    isa: str,
    threads: int,
    *,
    dims: Mapping[str, int],
    layers: Sequence[str] = (),
    level: Level = "DRAM",
    cold: Sequence[str] = (),
    calls: int = 1,
    seconds: Sequence[float] = (),
    rounds: Sequence[int] = (),
    starts: Sequence[float] | None = None,
    huge_pages: float | None = None,
) -> Row:
    """A row of one visit; add_samples() adds to it. types: one for all operands, or by operand. No starts: unknown.

    Raises ValueError where the types don't fit the operation, KeyError for an operation that isn't known.
    """
    loop = LOOPS.get(operation)
    of = OPERATIONS[operation].types(types) if loop is None else expand([loop.operand or ""], types)
    return {
        "kind": kind,
        "operation": operation,
        "types": of,
        "backend": backend,
        "isa": isa,
        "threads": threads,
        "dims": dict(dims),
        "layers": list(layers),
        "level": level,
        "cold": list(cold),
        "calls": calls,
        "seconds": list(seconds),
        "rounds": list(rounds),
        "visits": [0] * len(seconds),
        "starts": list(starts or ()) if starts is not None or not seconds else None,
        "marks": {},
        "huge_pages": huge_pages,
    }


def faults(row: Row) -> Iterator[str]:
    """What makes a row that the schema accepts no measurement: types, dims or samples that don't fit its operation."""
    name, types, loop = row["operation"], row["types"], LOOPS.get(row["operation"])
    operands = (loop.operand or "",) if loop else tuple(dict.fromkeys(n for n, _ in OPERATIONS[name].operands))
    if set(types) != set(operands):
        yield f"{name} has operands {', '.join(operands)}, but types of {', '.join(types) or 'none'}"
        return
    try:
        accumulator(types)
    except ValueError as error:
        yield str(error)
    sizes = set(row["dims"])
    if not loop and (lacking := {*OPERATIONS[name].dimensions} - sizes):
        yield f"{name} has no dimension {', '.join(sorted(lacking))}"
    if strange := set(row["cold"]) - set(operands):
        yield f"{name} has no operand {', '.join(sorted(strange))} to be cold"
    count = len(row["seconds"])
    parallel = {"rounds": row["rounds"], "visits": row["visits"], "starts": row["starts"]}
    yield from (
        f"{plural(count, 'sample')} but {len(x)} {n}" for n, x in parallel.items() if x is not None and len(x) != count
    )
    yield from (
        f"{plural(count, 'sample')}, but {mark} marks more" for mark, at in row["marks"].items() if max(at) >= count
    )


def add_samples(
    row: Row,
    seconds: Sequence[float],
    starts: Sequence[float],
    rounds: Sequence[int],
    visit: int,
    preempted: Iterable[int] = (),
) -> None:
    """Adds the samples of one visit; preempted: those among them in which a thread lost its CPU, by index."""
    assert row["starts"] is not None, "a row of a session has starts"
    before = len(row["seconds"])
    row["seconds"] += seconds
    row["starts"] += starts
    row["rounds"] += rounds
    row["visits"] += [visit] * len(seconds)
    if marked := [before + i for i in preempted]:
        row["marks"].setdefault(PREEMPTED, []).extend(marked)


def good(row: Row) -> list[int]:
    """The samples that estimates use: those not marked as PREEMPTED, where ENOUGH of them are left, else all.

    Marked and unmarked samples lie a factor of 3 to 10 apart: with another process busy half of the time on one of two
    CPUs, 30 % of the regions on two threads were marked, and the others repeated within 6 %.
    """
    count, marked = len(row["seconds"]), set(row["marks"].get(PREEMPTED, ()))
    left = [i for i in range(count) if i not in marked]
    return left if len(left) >= ENOUGH * count else list(range(count))


def per_second(row: Row, amount: float) -> list[float]:
    """amount per call, as a rate, of every sample."""
    work = amount * row["calls"]
    return [work / s for s in row["seconds"]]


def arithmetic(row: Row) -> str:
    """The type that the row's products are summed in: the accumulator of its output."""
    operation = row["operation"]
    output = LOOPS[operation].operand if operation in LOOPS else OPERATIONS[operation].output[0]
    return TYPES[row["types"][output or ""]].accumulator


def multiplied(row: Row) -> str:
    """The type whose peak a row is held against, or is: its accumulator, where it multiplies integers, theirs."""
    loop = LOOPS.get(row["operation"])
    return row["types"][loop.operand or ""] if loop else OPERATIONS[row["operation"]].multiplied(row["types"])


def types_label(row: Row) -> str:
    """The row's types in a word, as in a kernel's name: "f32", "w.bf16-f32"."""
    return label(row["types"])


def flops(row: Row) -> int:
    """FLOPs of one call, from the shape: never from padded work."""
    if row["operation"] in LOOPS:
        return counted(row) if LOOPS[row["operation"]].unit == "FLOP" else 0
    return OPERATIONS[row["operation"]].flops(row["dims"])


def moved_bytes(row: Row) -> int:
    """Bytes of one call that its level must deliver: of cold rows the cold operands, otherwise every operand once.

    Each by its own type, scales included. Probes count as STREAM does: what update writes back, too.
    """
    if row["operation"] in LOOPS:
        return 0
    op, dims, types = OPERATIONS[row["operation"]], row["dims"], row["types"]
    if row["cold"]:
        each = op.operand_bytes(dims, types)
        return sum(each[name] for name in row["cold"])
    return op.delivered(dims, types) if row["kind"] == "kernel" else op.bytes(dims, types)


def counted(row: Row) -> int:
    """Of a probe, what one call counts, in the probe's unit."""
    amount = PROBES[row["operation"]].amount
    return moved_bytes(row) if amount is None else amount(row["dims"], row["threads"])


def write_allocate_bytes(row: Row) -> int:
    """moved_bytes() and what regular stores read first because they miss."""
    if row["operation"] in LOOPS:
        return 0
    return moved_bytes(row) + OPERATIONS[row["operation"]].allocated(row["dims"], row["types"])


def call_seconds(row: Row) -> list[float]:
    """Seconds per call of each sample."""
    return [s / row["calls"] for s in row["seconds"]]


def family(row: Row) -> str:
    """The backend as it appears in tables: prepacked weights are another contestant."""
    return row["backend"] + (" prepacked" if row["operation"] == "gemm_prepacked" else "")
