"""The size of the last-level cache: sysfs's where it has the whole hierarchy, else measured, once per process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.host.cpus import all_threads
from bench.host.placement import pinned
from bench.host.sysfs import UNKNOWN_LEVEL, Host, available_memory_bytes, cache_bytes, llc_bytes
from bench.quantities import size as words
from kernels import registry
from kernels.arrays import aligned_empty
from kernels.backends.c import ffi, lib

FAR = 1 << 30  # bytes: twice the largest L3 that a core reaches on the market, so surely memory
FIRST = 1 << 18  # bytes for each thread: where the search begins if no cache is known
SAMPLE_BYTES = 1 << 24  # a sample reads this much: 1 to 2 ms
SMALL_SAMPLES = 8  # in a round, of a size below that
ROUNDS = 5
FASTEST = 20
FASTER = 1.25  # than memory: below the size of a cache, reads are; at twice its size 1.05 to 1.15 times
CLEAR = 2  # times the size found: what is that much larger has to be memory


@dataclass(frozen=True)
class LastLevel:
    """bytes: of all last-level caches that the threads' CPUs reach; found, doubt: how it was measured, and why not.

    beyond: it is farther than any cache that sysfs knows
    """

    bytes: int
    found: str | None = None
    doubt: str | None = None
    beyond: bool = False


_known: LastLevel | None = None


def last_level() -> LastLevel:
    """The last level in reach. Measuring takes a second, where sysfs doesn't tell."""
    global _known
    if _known is None:
        host = Host()
        size = llc_bytes(host)
        _known = LastLevel(size) if size else _measured(host, host.notes[-1].removeprefix(UNKNOWN_LEVEL))
    return _known


def inherit(known: LastLevel) -> None:
    """Takes what another process of this session has measured, on all of its CPUs."""
    global _known
    _known = known


def _measured(host: Host, reason: str) -> LastLevel:
    threads = all_threads(host)
    known = threads * (cache_bytes(2, host) or cache_bytes(1, host) or 0)
    room = (available_memory_bytes(host) or FAR) // 2
    first, top = max(known, FIRST * threads), min(FAR, room)
    sizes = [size for size in (first << i for i in range(20)) if size <= top // 2]
    with pinned(threads):
        size = largest_faster(sizes, read_rates([*sizes, top], threads))
    # it ends between the last size that is faster and the next, which is twice as large: at most there
    last = LastLevel(max(2 * size if size else first, known), beyond=size is not None)
    if top < FAR:
        return replace(last, doubt=f"{reason}, and there is no room for an array of {words(FAR)}, which would show it")
    if CLEAR * last.bytes > top:
        return replace(
            last, doubt=f"{reason}, and {words(size or 0)} are read faster than {words(top)}, the largest tried"
        )
    return replace(last, found=f"{reason}; reads of {words(first)} to {words(top)} show {words(last.bytes)} at most")


def largest_faster(sizes: Sequence[int], rates: Sequence[float]) -> int | None:
    """The largest size that is read FASTER than the last, which is memory's rate; sizes has one less."""
    return max((size for size, rate in zip(sizes, rates, strict=False) if rate >= FASTER * rates[-1]), default=None)


def read_rates(sizes: Sequence[int], threads: int) -> list[float]:
    """Bytes/s of reading the first bytes of one array again and again: of each size what the fastest samples reach.

    Every sample reads as much, so that what disturbs it disturbs all sizes alike: a small array several times, of a
    large one a piece, once all of its pieces were read. A sample takes less than a time slice: on a busy machine, too,
    one in FASTEST meets nobody.
    """
    pieces = [aligned_empty(SAMPLE_BYTES // 8, np.float64) for _ in range(-(-sizes[-1] // SAMPLE_BYTES))]
    for piece in pieces:
        lib.stream_fill(threads, piece.size, ffi.cast("double *", piece.ctypes.data), 1.0)
    kernel, out = registry.find("read", "f64", "c", registry.chosen_isa()), np.empty(1)
    walk = [kernel.bind(piece, out=out, threads=threads) for piece in pieces]
    rates: list[list[float]] = [[] for _ in sizes]
    for _ in range(ROUNDS):
        for size, found in zip(sizes, rates, strict=True):
            passes = max(1, SAMPLE_BYTES // size)
            calls = walk[: size // SAMPLE_BYTES]
            if not calls:
                calls = [kernel.bind(pieces[0][: size // 8], out=out, threads=threads, passes=passes)] * SMALL_SAMPLES
            for call in calls:
                call()
            found += [min(size, SAMPLE_BYTES) * passes / _seconds(call) for call in calls]
    return [sorted(found)[-1 - len(found) // FASTEST] for found in rates]


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
