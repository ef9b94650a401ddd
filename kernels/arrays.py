"""Arrays that kernels work on: aligned, on huge pages where they are large."""

import contextlib
import mmap
from typing import Any

import numpy as np

_HUGE = 2 << 20  # bytes of a huge page, on x86-64 and on most of Arm


def aligned_empty(shape: int | tuple[int, ...], dtype: Any, align: int = 64) -> np.ndarray:
    """An uninitialised C-contiguous array whose first element is `align`-byte aligned.

    One that fills a huge page is made of nothing else, where Linux has them: streaming weights through small ones takes
    a tenth longer, which is what NumPy's own arrays do at their ends. Raises MemoryError.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _HUGE:
        raw = np.empty(size + align, np.uint8)
    else:
        align = max(align, _HUGE)
        try:
            pages = mmap.mmap(-1, -(-size // _HUGE) * _HUGE + align, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no room for {size} bytes") from error
        with contextlib.suppress(OSError):  # Linux without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
        raw = np.frombuffer(pages, np.uint8)
    start = -raw.ctypes.data % align
    array: np.ndarray = raw[start : start + size].view(dtype).reshape(shape)
    return array


def leading_dimension(x: np.ndarray) -> int:
    """Elements from one row of a row-major matrix, or of each matrix of a batch, to the next."""
    return x.strides[-2] // x.itemsize if x.shape[-2] > 1 else x.shape[-1]
