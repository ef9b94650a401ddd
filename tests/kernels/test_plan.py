"""The planner, for caches and teams that this machine doesn't have: what kernels rely on holds for any of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product

import numpy as np
import pytest

import kernels
from kernels import DTYPES, Kernel
from kernels.backends.c import ISAS, ffi, lib, target
from kernels.verify import error_bound, reference
from support.cases import make_inputs, output_for

CACHES = {  # bytes of L1, L2, and of an L3
    "Zen 2": (32 << 10, 512 << 10, 16 << 20),
    "Zen 4": (32 << 10, 1 << 20, 32 << 20),
    "Sapphire Rapids": (48 << 10, 2 << 20, 105 << 20),
    "Haswell": (32 << 10, 256 << 10, 8 << 20),
    "Neoverse N1": (64 << 10, 1 << 20, 1 << 20),
    "small": (16 << 10, 128 << 10, 1 << 20),
}
ROWS = (1, 5, 15, 17, 37, 41, 133, 169, 337, 512, 4096)
SHAPES = [(m, n, k) for m in ROWS for n, k in ((4, 4096), (8, 409), (1000, 3072), (1, 1))]
TEAMS = (1, 2, 3, 5, 6, 8, 9, 14, 24, 45, 64)


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def tile_heights(rows: int, mr: int) -> list[int]:
    """Of the tiles that a block's rows are spread over."""
    tiles = up(rows, mr)
    starts = [lib.plan_tile_start(rows, tiles, i) for i in range(tiles + 1)]
    return [end - begin for begin, end in pairwise(starts)]


@pytest.mark.parametrize("caches", CACHES)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gemm_plans(dtype: str, isa: str, caches: str) -> None:
    of, sizes = target(isa, dtype), ffi.new("struct caches *", CACHES[caches])
    lanes = of.vector_bytes // of.element_bytes
    for (m, n, k), threads, packed in product(SHAPES, TEAMS, (0, 1)):
        z = lib.plan_gemm(of, sizes, threads, packed, m, n, k)
        where = f"{m} x {n} x {k} on {threads}, packed {packed}"
        blocks = [tile_heights(min(z.mc, m - ic), of.mr) for ic in range(0, m, z.mc)]
        assert 1 <= z.across * z.down <= threads, where
        working = {
            block: {row for row in range(z.down) if len(tiles) * row // z.down < len(tiles) * (row + 1) // z.down}
            for block, tiles in enumerate(blocks)
        }
        assert all(rows <= working[0] for rows in working.values()), f"a panel of B that nobody copied: {where}"
        heights = {h for block in blocks for h in block}
        assert min(heights) >= 1 and max(heights) <= of.mr, where
        assert z.width % lanes == 0 and z.width <= lib.plan_tile_vectors(of, max(heights)) * lanes, where
        assert z.unit % lanes == 0 and (packed or z.unit == z.width), where
        assert z.a_block >= z.mc * min(z.kc, k), where
        widest = up(up(min(n, z.nc), z.width), z.across)  # panels of the thread that has most
        assert packed or len(blocks) == 1 or z.panels > widest, where
        assert packed or z.b_thread == z.panels * z.kc * z.width, where
        assert z.blocks == len(blocks) * up(n, z.nc) * up(k, z.kc), where
        workspace = lib.plan_gemm_workspace(of, sizes, threads, packed, m, n, k)
        assert workspace >= (2 * z.a_block + threads * z.b_thread) * of.element_bytes, where


@pytest.mark.parametrize("caches", CACHES)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows_plans(dtype: str, isa: str, caches: str) -> None:
    """Few rows of A: B is read once, in whole rows where sums are short, and more rows of A never cost less."""
    of, sizes = target(isa, dtype), ffi.new("struct caches *", CACHES[caches])
    line = 64 // of.element_bytes
    shapes = ((768, 768), (3072, 768), (768, 3072), (2304, 768), (50257, 768), (5, 7), (1000, 64), (40, 4096))
    for (n, k), threads in product(shapes, (1, 2, 3, 4, 8, 14, 45, 64)):
        before = 0
        for m in range(1, of.skinny_rows + 1):
            z = lib.plan_gemm_skinny(of, sizes, threads, m, n, k)
            where = f"{m} x {n} x {k} on {threads}"
            assert 1 <= z.across * z.down <= threads and z.down <= k and z.across <= up(n, line), where
            share = up(up(n, line), z.across) * up(k, z.down)  # of B, of the thread that has most
            assert share >= before, f"less for each thread than with {m - 1} rows: {where}"
            before = share
            added = m * n * z.down if z.down > 1 else 0
            assert added <= k * n / 16, f"sums to add up are no small part of what is read: {where}"
            assert z.across == 1 or 16 * m * threads > k or z.across * z.down == threads, where
            widest = up(up(n, line), z.across) * line
            assert z.columns % line == 0 and z.apart >= (widest if z.down > 1 else min(widest, z.columns)), where
            assert z.sums_thread >= m * z.apart and z.a_packed >= m * k, where
            workspace = lib.plan_gemm_workspace(of, sizes, threads, 0, m, n, k)
            assert workspace >= (z.a_packed + threads * z.sums_thread) * of.element_bytes, where
    for (n, k), threads in product(shapes, (1, 2, 3, 4, 8, 14, 45, 64)):
        plans = [lib.plan_gemm(of, sizes, threads, 1, m, n, k) for m in range(1, of.mr + 1)]
        widest = [up(up(n, z.unit), z.across) * z.unit for z in plans]
        assert widest == sorted(widest) and {z.down for z in plans} == {1}, f"packed {n} x {k} on {threads}: {widest}"
    for m, threads in product(range(1, of.skinny_rows + 1), (1, 2)):
        assert lib.plan_gemm_skinny(of, sizes, threads, m, 768, 768).across == 1, "threads take whole rows of B"


@contextmanager
def caches_of(cpu: str) -> Iterator[None]:
    """C's kernels plan for another CPU's caches."""
    here = ffi.cast("struct caches *", lib.host_caches())
    before = here.l1, here.l2, here.l3
    here.l1, here.l2, here.l3 = CACHES[cpu]
    try:
        yield
    finally:
        here.l1, here.l2, here.l3 = before


@pytest.mark.parametrize(
    "kernel",
    [k for k in kernels.KERNELS.values() if k.operation == "gemm" and k.backend == "c"],
    ids=str,
    indirect=True,
)
def test_products_planned_for_other_caches(kernel: Kernel) -> None:
    for m, n, k in ((37, 4, 4096), (169, 8, 409), (133, 40, 1024), (3, 500, 409), (7, 40, 1024)):
        inputs = make_inputs(kernel, {"m": m, "n": n, "k": k})
        expected = reference(kernel.operation, kernel.types, inputs)
        bound = error_bound(kernel.operation, kernel.types, inputs)
        _, out = output_for(kernel, inputs)
        for cpu, threads in product(CACHES, (1, 2, 6, 9, 14, 45)):
            out[...] = np.nan
            with caches_of(cpu):
                kernel.bind(*inputs, out=out, threads=threads)()
            assert (np.abs(out - expected) <= bound).all(), f"{cpu}: {m} x {n} x {k} on {threads} threads"
