"""Memory to measure in: how large it has to be, cold copies of weights, arrays for the bandwidth probe."""

import errno
import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from bench.errors import BadInput
from bench.host.sysfs import available_memory_bytes, scarcest_memory
from bench.measure.last_level import last_level
from bench.quantities import plural
from kernels.arrays import aligned_empty
from kernels.backends.c import FORKED, ffi, lib

RULE = 8
"""A DRAM array is at least this many times the last-level caches in reach. Of 4 times they were seen to keep a
twentieth, and a fifth where two L3s looked like one."""
LEAST = 2  # below this many times, a result is never called DRAM
SMALL_PAGE = 4096  # bytes: what the host may have behind the guest's huge pages
APART = (4096 + 7 * 64) // 8  # doubles: arrays that start alike would meet in the same sets and banks


def dram_bytes(arrays: int = 3) -> tuple[int, bool]:
    """(bytes of one DRAM array by the rule, whether it can be trusted), with `arrays` such arrays in memory at once.

    Capped at half of the memory that is available now; under LEAST times the caches the figure is not to be trusted.
    """
    cache = last_level().bytes
    free = available_memory_bytes()
    most = (free or 1 << 30) // 2 // arrays
    size = min(RULE * cache, most)
    return size // 4096 * 4096, size >= LEAST * cache


def huge_page_share(array: np.ndarray) -> float | None:
    """The share of an array's memory that is on transparent huge pages; None where smaps can't be read.

    Of what is resident of its whole mapping: Linux makes one mapping of neighbours that are alike.
    """
    address = array.ctypes.data + array.nbytes // 2
    try:
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as smaps:
            inside, resident = False, 0
            for line in smaps:
                head, figure = line.split()[:2]
                if not head.endswith(":"):
                    begin, end = (int(x, 16) for x in head.split("-"))
                    inside = begin <= address < end
                elif inside and head == "Rss:":
                    resident = int(figure)
                elif inside and head == "AnonHugePages:":
                    return int(figure) / resident if resident else 0.0
    except OSError:
        return None
    return None


def touch(arrays: Iterable[np.ndarray]) -> None:
    """Reads a byte of every page of memory that is about to be timed cold.

    On a virtual machine the first access to a page takes 0.3 us longer after some GB of other memory were allocated:
    a read that makes 25 GB/s then makes 9 on its first way through an array, and half of the samples are of that one.
    """
    for array in arrays:
        array.reshape(-1).view(np.uint8)[::SMALL_PAGE].max(initial=0)


def stream_arrays(count: int, n: int, threads: int) -> list[np.ndarray]:
    """`count` arrays of n doubles, first touched by the threads that will use them, with data that isn't constant.

    Raises BadInput where they don't fit into memory.
    """
    try:
        arrays = [aligned_empty(n + i * APART, np.float64)[i * APART :] for i in range(count)]
    except MemoryError as error:
        what = f"no room for {count} x {n * 8 / 2**20:.0f} MiB"
        raise BadInput(f"{what}: {scarcest_memory()[1]} doesn't leave that much") from error
    for base, array in zip((1.0, 2.0, 0.5), arrays, strict=False):
        if failed := lib.stream_fill(threads, n, ffi.cast("double *", array.ctypes.data), base):
            raise BadInput(
                FORKED if failed == errno.EDEADLK else f"can't start {plural(threads, 'thread')}: {os.strerror(failed)}"
            )
    return arrays


class Weights:
    """Cold weights: so many matrices that walking through them takes RULE times the last-level caches.

    All shapes share one block of random numbers; a matrix is a view of it that starts on a cache line. It is sized as
    if there were `arrays` of them.
    """

    def __init__(self, seed: int = 2403, arrays: int = 4) -> None:
        self.arrays = arrays  # by default for the packed copies of two backends beside them
        self._random = np.random.default_rng(seed)
        self._blocks: dict[Any, np.ndarray] = {}

    def values(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Random activations: standard normal numbers."""
        array = aligned_empty(shape, dtype)
        array[...] = self._random.standard_normal(shape, dtype=dtype)
        return array

    def count(self, each: int) -> int:
        """Of copies of so many bytes, each from a cache line on, that are cold; at least one.

        Raises BadInput where memory has no room for LEAST times the caches.
        """
        total, trusted = dram_bytes(self.arrays)
        if not trusted:
            raise BadInput(
                f"cold weights need {LEAST} times the last-level cache {self.arrays} times over; "
                f"{scarcest_memory()[1]} doesn't leave that much"
            )
        return max(1, -(-total // (-(-each // 64) * 64)))

    def copies(self, shape: tuple[int, ...], dtype: np.dtype) -> list[np.ndarray]:
        """Distinct matrices of that shape, enough to be cold; one where a single matrix is large enough.

        Raises BadInput as count() does.
        """
        size, each = dtype.itemsize, math.prod(shape) * dtype.itemsize
        stride, count = -(-each // 64) * 64, self.count(each)
        block = self._blocks.get(dtype)
        if block is None or block.nbytes < count * stride:
            block = self._blocks[dtype] = aligned_empty(count * stride // size, dtype)
            for start in range(0, block.size, 1 << 20):
                part = block[start : start + (1 << 20)]
                part[...] = self._random.standard_normal(part.size, dtype=dtype)
        starts = (i * stride // size for i in range(count))
        return [block[s : s + math.prod(shape)].reshape(shape) for s in starts]
