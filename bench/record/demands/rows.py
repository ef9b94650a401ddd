"""What a row that the schema accepts has to satisfy to be a measurement at all."""

from collections.abc import Iterator

from bench.record.probes import LOOPS
from bench.record.row import Row, faults, flops, moved_bytes
from kernels.operations import OPERATIONS


def unfit(row: Row) -> Iterator[str]:
    """Why nothing can be derived from a row: types, dims or samples that don't fit its operation."""
    if found := list(faults(row)):
        yield from found
        return
    name = row["operation"]
    if strange := set(row["dims"]) - _dimensions(name):
        yield f"{name} knows no dimension {', '.join(sorted(strange))}"
    elif lacking := _dimensions(name) - set(row["dims"]):
        yield f"{name} has no dimension {', '.join(sorted(lacking))}"
    elif row["kind"] == "kernel" and not (flops(row) and moved_bytes(row)):
        yield f"{name} is no kernel: it does no arithmetic, or moves nothing"
    for mark, at in row["marks"].items():
        if sorted(set(at)) != at:
            yield f"{mark} marks samples twice, or not in their order"


def _dimensions(operation: str) -> set[str]:
    """The names of what an operation's work depends on."""
    if operation in LOOPS:
        return set(LOOPS[operation].dims)
    return set(OPERATIONS[operation].dimensions)
