"""A row of a record: one kernel or probe on one shape, its samples, and the work that follows from its shape."""

from collections.abc import Mapping
from typing import Any

from kernels.operations import OPERATIONS

Row = Mapping[str, Any]


def flops(row: Row) -> int:
    """FLOPs of one call, from the shape: never from padded work."""
    dims = row["dims"]
    if row["operation"] == "fma":  # a multiply and an add per lane of each chain on each thread
        return 2 * dims["chains"] * dims["lanes"] * dims["iterations"] * row["threads"]
    return OPERATIONS[row["operation"]].flops(dims) if row["operation"] in OPERATIONS else 0


def moved_bytes(row: Row) -> int:
    """Bytes of one call that its level must deliver: of cold rows the cold operands, otherwise every operand once.

    Probes count as STREAM does: what update writes back, too.
    """
    if row["operation"] not in OPERATIONS:
        return 0
    op, dims, types = OPERATIONS[row["operation"]], row["dims"], row["dtype"]
    if row.get("cold"):
        each = op.operand_bytes(dims, types)
        return sum(each[name] for name in row["cold"])
    return op.delivered(dims, types) if row["kind"] == "kernel" else op.bytes(dims, types)


def write_allocate_bytes(row: Row) -> int:
    """moved_bytes() and what regular stores read first because they miss."""
    if row["operation"] not in OPERATIONS:
        return 0
    return moved_bytes(row) + OPERATIONS[row["operation"]].allocated(row["dims"], row["dtype"])


def call_seconds(row: Row) -> list[float]:
    """Seconds per call of each sample."""
    return [s / row["calls"] for s in row["seconds"]]


def family(row: Row) -> str:
    """The backend as it appears in tables: prepacked weights are another contestant."""
    return row["backend"] + (" prepacked" if row["operation"] == "gemm_prepacked" else "")


def make_row(
    kind: str, operation: str, dtype: str, backend: str, isa: str, threads: int, **rest: Any
) -> dict[str, Any]:
    defaults = {"dims": {}, "layers": [], "level": "DRAM", "cold": [], "calls": 1, "seconds": [], "rounds": []}
    named = {"kind": kind, "operation": operation, "dtype": dtype, "backend": backend, "isa": isa, "threads": threads}
    return {**named, **defaults, **rest}
