"""Arrays that kernels work on: aligned, on huge pages where they are large, unless RIDGELINE_PAGES says small."""

import contextlib
import mmap
import os
from typing import Any

import numpy as np

_HUGE = 2 << 20  # bytes of a huge page, on x86-64 and on most of Arm

PAGES_VARIABLE = "RIDGELINE_PAGES"
PAGES = ("huge", "small")


def pages() -> str:
    """One of PAGES: what RIDGELINE_PAGES asks for, or huge. Raises ValueError, naming what it says, for other words."""
    asked = os.environ.get(PAGES_VARIABLE) or PAGES[0]
    if asked not in PAGES:
        raise ValueError(f"{PAGES_VARIABLE}={asked}: {' or '.join(PAGES)}")
    return asked


def aligned_empty(shape: int | tuple[int, ...], dtype: Any, align: int = 64) -> np.ndarray:
    """An uninitialised C-contiguous array whose first element is `align`-byte aligned.

    One that fills a huge page is made of nothing else, where Linux has them, or of none at all: see pages(), whose
    ValueError it raises. On small pages reads take 1.05 to 1.9 times as long. Raises MemoryError.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _HUGE:
        raw = np.empty(size + align, np.uint8)
    else:
        align = max(align, _HUGE)
        advice = mmap.MADV_HUGEPAGE if pages() == "huge" else mmap.MADV_NOHUGEPAGE
        try:
            mapped = mmap.mmap(-1, -(-size // _HUGE) * _HUGE + align, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no room for {size} bytes") from error
        with contextlib.suppress(OSError):  # Linux without huge pages
            mapped.madvise(advice)
        raw = np.frombuffer(mapped, np.uint8)
    start = -raw.ctypes.data % align
    array: np.ndarray = raw[start : start + size].view(dtype).reshape(shape)
    return array


class Scratch:
    """Working memory that all calls share which are bound inside `with scratch:`; only one of them may run at a time.

    Otherwise each call has its own: a kernel bound to a hundred copies of its weights would touch a hundred.
    """

    _now: "Scratch | None" = None

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._before: Scratch | None = None

    def __enter__(self) -> None:
        self._before, Scratch._now = Scratch._now, self

    def __exit__(self, *_: object) -> None:
        Scratch._now = self._before

    @staticmethod
    def take(size: int) -> np.ndarray:
        """`size` bytes, aligned and touched: the first touch belongs to the preparation, not to the first call."""
        shared = Scratch._now
        if shared is not None and shared._memory.size >= size:
            return shared._memory[:size]
        memory = aligned_empty(size, np.uint8)
        memory[:] = 0
        if shared is not None:
            shared._memory = memory
        return memory


class Arena:
    """Memory for packed weights that are made inside `with arena:`; after reset() the next ones take their place.

    Mapping and clearing new pages takes as long as packing, and a session packs the same copies again and again.
    """

    CHUNK = 64 << 20  # bytes
    _now: "Arena | None" = None

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []
        self._before: Arena | None = None
        self.reset()

    def reset(self) -> None:
        """What was taken may be written over from now on."""
        self._chunk, self._used = 0, 0

    def __enter__(self) -> None:
        self._before, Arena._now = Arena._now, self

    def __exit__(self, *_: object) -> None:
        Arena._now = self._before

    @staticmethod
    def take(count: int, dtype: Any) -> np.ndarray:
        """An uninitialised flat array, aligned to a cache line; outside an arena one of its own."""
        arena, size = Arena._now, count * np.dtype(dtype).itemsize
        if arena is None or size > Arena.CHUNK:
            return aligned_empty(count, dtype)
        if arena._used + size > Arena.CHUNK:
            arena._chunk, arena._used = arena._chunk + 1, 0
        if arena._chunk == len(arena._chunks):
            arena._chunks.append(aligned_empty(Arena.CHUNK, np.uint8))
        start = arena._used
        arena._used += -(-size // 64) * 64
        return arena._chunks[arena._chunk][start : start + size].view(dtype)


def leading_dimension(x: np.ndarray) -> int:
    """Elements from one row of a row-major matrix, or of each matrix of a batch, to the next."""
    return x.strides[-2] // x.itemsize if x.shape[-2] > 1 else x.shape[-1]
