"""What is measured on chip: the same product on larger and larger matrices, each again and again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.escape.chip.figures import SET
from bench.escape.names import ACTIVATIONS, activations
from bench.host.placement import isa_in_use
from bench.host.sysfs import cache_bytes
from bench.measure.groups import Group
from bench.measure.last_level import last_level
from bench.measure.session import Session
from bench.measure.suite import kernels_for, stored_kernels
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.operations import OPERATIONS

DTYPE = "f32"
K = 768
ROWS = 8  # that matrices are multiples of
BEYOND = 4  # times the last-level cache: the largest
SMALLEST = 1 << 15  # bytes of an L1 whose size isn't known


def sizes(threads: int) -> Iterator[int]:
    """Bytes of working sets: three quarters of the L1s, doubled again and again up to BEYOND last-level caches."""
    size, largest = (cache_bytes(1) or SMALLEST) * threads * 3 // 4, BEYOND * last_level().bytes
    while size < largest:
        yield size
        size *= 2
    yield largest


def groups(session: Session, options: Any, backends: Mapping[int, Sequence[str]]) -> list[Group]:
    """On each thread count and at each size, f32 and all types beside each other: of as many bytes, not elements."""
    found = []
    for threads, names in backends.items():
        chosen = contestants(isa_in_use(), options, names[:1])
        for size in sizes(threads):
            found.append(Group(tuple((_case(kernel, size), kernel) for kernel in chosen), DTYPE, threads))
    return found


def contestants(isa: str, options: Any, backends: Sequence[str]) -> list[Kernel]:
    """f32, and each type as it is fastest: with activations rounded to 8 bits where it has a kernel for that."""
    case = Case("gemv", 1, ROWS, K, False, (SET,))
    small = [
        kernel for kernel in stored_kernels(case, options.types, isa, (), backends, ACTIVATIONS) if _packed(kernel)
    ]
    best: dict[str, Kernel] = {}
    for kernel in small:
        if activations(kernel.operation) in options.activations:
            before = best.get(kernel.types["w"])
            best[kernel.types["w"]] = kernel if before is None or activations(kernel.operation) == "8" else before
    return [*kernels_for(case, DTYPE, isa, backends=backends), *best.values()]


def _packed(kernel: Kernel) -> bool:
    return OPERATIONS[kernel.operation].packed


def _case(kernel: Kernel, size: int) -> Case:
    op = OPERATIONS[kernel.operation]
    each = op.operand_bytes({"m": 1, "n": ROWS, "k": K}, kernel.types)[op.weights or ""]
    return Case("gemv", 1, ROWS * max(1, size // each), K, False, (SET,))
