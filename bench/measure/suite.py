"""Which kernels take part in a session."""

from collections.abc import Iterable, Sequence

import kernels
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.operations import SCALAR_GEMMS


def kernels_for(
    case: Case, dtype: str, isa: str, rungs: Sequence[tuple[int, int, int]] = (), others: Iterable[Kernel] = ()
) -> list[Kernel]:
    """The kernels that can run a case, those of `others` too; prepacked weights and GEMM's lower rungs are variants of
    their own.
    """
    operations = [case.operation]
    if case.operation == "gemm" and case.weight:
        operations.append("gemm_prepacked")
        if (case.m, case.n, case.k) in rungs:
            operations += SCALAR_GEMMS
    existing = {(k.operation, k.label, k.backend) for k in kernels.KERNELS.values()}
    ours = [
        kernels.find(operation, dtype, backend, isa if backend == "c" else None)
        for operation in operations
        for backend in kernels.BACKENDS
        if (operation, dtype, backend) in existing
    ]
    return ours + [k for k in others if k.operation in operations and k.dtype == dtype and k.reason is None]
