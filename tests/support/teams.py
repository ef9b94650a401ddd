"""One product on teams of every size."""

import numpy as np

from kernels import DTYPES, Kernel
from kernels.backends import c
from kernels.verify import error_bound, reference
from support.cases import arguments, blocks, make_inputs, output_for

MOST = 64
TEAMS = (*range(1, 14), 16, 17, 23, 29, 32, 37, 47, 61, MOST)
"""Every size up to more threads than CPUs and than the tiles of a small block; then primes, and powers of two."""
FIXED = [(337, 40, 1024), (169, 8, 409), (133, 8, 1024), (41, 4, 3072), (37, 4, 4096)]
"""(m, n, k) that some CPU's caches cut into blocks of rows whose last has fewer tiles than some team has threads."""


def uneven(kernel: Kernel) -> tuple[int, int, int]:
    """Such a shape for this CPU's caches: two blocks of rows, the second one of fewer tiles."""
    mr, _, lanes, kc = blocks(kernel)
    most = c.lib.cache_bytes(2) // 2 // (kc * DTYPES[kernel.dtype].itemsize) // mr * mr
    m = next(m for m in range(most + 1, 2 * most) if -(-(m - m // 2) // mr) > -(-(m // 2) // mr))
    return m, lanes, kc


def verify_teams(kernel: Kernel) -> None:
    """Each of TEAMS computes the same product right; raises AssertionError naming those that don't."""
    wrong = []
    for m, n, k in (uneven(kernel), *FIXED):
        inputs = make_inputs(kernel, {"m": m, "n": n, "k": k})
        expected = reference(kernel.operation, kernel.types, inputs)
        bound = error_bound(kernel.operation, kernel.types, inputs)
        _, out = output_for(kernel, inputs)
        given = arguments(kernel, inputs)
        for threads in TEAMS:
            out[...] = np.nan
            kernel.bind(*given, out=out, threads=threads)()
            if count := int((~(np.abs(out - expected) <= bound)).sum()):
                wrong.append(f"{m} x {n} x {k} on {threads} threads: {count} wrong elements")
    assert not wrong, "\n".join(wrong)
