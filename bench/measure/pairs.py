"""Which CPUs share a core or an L3: told by what two of them reach together, not by how far apart they seem."""

import time
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from bench.host.placement import isa_in_use, ping, pinned_to
from bench.host.sysfs import cache_bytes
from bench.measure.arrays import stream_arrays
from bench.record.format import Pair
from bench.record.placement import judged
from kernels import registry
from kernels.backends import c
from kernels.types import native_isa

ALL_PAIRS = 8  # CPUs; of more, each is paired with the first and with its neighbour only
REPEATS = 9
FMA_ITERATIONS = 100_000  # 0.2 to 1 ms
L3_SHARE = 0.6  # of one L3 for each CPU's array: two of them don't fit into one


def pairs_of(cpus: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs that are measured."""
    if len(cpus) <= ALL_PAIRS:
        return list(combinations(cpus, 2))
    return list(dict.fromkeys([(cpus[0], other) for other in cpus[1:]] + list(pairwise(cpus))))


def measure_pairs(cpus: Sequence[int], round_: int) -> list[Pair]:
    """What every pair of these CPUs shares: FMA chains and reads of data in L3, on both at once and on each alone.

    Two threads of one core reach together what one of them reaches alone. Two arrays of L3_SHARE of an L3 fit into two
    L3s but not into one.
    """
    if len(cpus) < 2:
        return []
    isa = native_isa(isa_in_use())
    elements = int(L3_SHARE * (cache_bytes(3) or 0)) // 8 // 512 * 512
    arrays = stream_arrays(1, 2 * elements, 2)[0] if elements else None

    def fastest(on: Sequence[int], call: Callable[[], Any]) -> float:
        with pinned_to(on):
            return min(_seconds(call) for _ in range(REPEATS))

    def fma(on: Sequence[int]) -> float:
        return len(on) / fastest(on, c.peak(isa, "f32", len(on), FMA_ITERATIONS))

    def read(on: Sequence[int]) -> float | None:
        if arrays is None:
            return None
        part = arrays[: len(on) * elements]
        call = registry.find("read", "f64", "c").bind(part, out=np.empty(1), threads=len(on))
        return len(on) / fastest(on, call)

    alone = {cpu: (fma([cpu]), read([cpu])) for cpu in cpus}
    found: list[Pair] = []
    for a, b in pairs_of(cpus):
        both = read([a, b])
        reads = [alone[a][1], alone[b][1]]
        pair: Pair = {
            "round": round_,
            "cpus": [a, b],
            "seconds": ping(a, b),
            "fma_together": fma([a, b]) / (alone[a][0] + alone[b][0]),
            "read_together": None if both is None else both / sum(r for r in reads if r),
            "found": "unknown",
        }
        found.append({**pair, "found": judged(pair)})
    return found


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
