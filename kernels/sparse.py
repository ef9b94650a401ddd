"""Weights most of which are zero, stored without their zeros: the formats, their bytes, and packing.

Every format is one flat array of bytes, whose parts begin at multiples of PART, so that a copy of it is all there is:

    bitmap  header i64[1 + 2 (strips + 1)], scales f32[rows], bits, values, overs
    2:4     scales, bits, and four values for every eight weights
    CSR     starts i32[n + 1], columns i32 or u16 [nnz], values

A bitmap has one bit per weight, 1: it is stored. A strip is STRIP rows; along k it has groups of 8 weights (16 with
vectors of 64 bytes), and of each group first the bits of row 0, then of row 1, ...; values lie in the order of bits, a
strip's from its start on. Rows and groups beyond n and k have no bits. Scales, one per row, are there for types that
have some. 2:4 keeps at most two of every four neighbours, as a bitmap: its two indices of 2 bits take as
much. In a group, its four values (eight of sixteen) are padded with zeros that no bit stands for.

Sixteen bytes of values serve a group of 8: expanded by one shuffle. So of f32 a group has FEW bits at most, and what
is over stands in a list: {u32 column * STRIP + row of the strip, f32 value}. At 20 % density 0.7 % of the weights are
over; where more than MOST_OVER would be, groups have all their bits, and there is no list. The header has the most bits
of a group, the strips' starts in values, and their starts in that list.

What isn't stored isn't multiplied: infinities and NaN of x don't meet zeros.
"""

from collections.abc import Callable, Mapping

import numpy as np

from kernels.arrays import Arena
from kernels.types import ElementType

STRIP = 4
"""Rows of a strip; in csrc/per_isa/sparse.h, too."""
PART = 64
"""Bytes to which parts are aligned, and that may be read behind the last one."""
FEW = 16
"""Bytes of a group's values that one shuffle of AVX2 expands."""
MOST_OVER = 0.05
"""Share of the weights for which the list is quicker than expanding groups with all their bits: 36 % density."""
OVER = np.dtype([("place", "<u4"), ("value", "<f4")])


def bitmap_bytes(d: Mapping[str, int], element: ElementType) -> int:
    """A bit for each weight, in whole bytes, and what isn't zero; scales."""
    return d["n"] * (-(-d["k"] // 8) + element.row_bytes) + d["nnz"] * element.storage.itemsize


def two_of_four_bytes(d: Mapping[str, int], element: ElementType) -> int:
    """A bit for each weight, in whole bytes, and two values of every four, whatever they are; scales."""
    values = -(-d["k"] // 4) * 2 * element.storage.itemsize
    return d["n"] * (-(-d["k"] // 8) + values + element.row_bytes)


def csr_bytes(index: int) -> Callable[[Mapping[str, int], ElementType], int]:
    """What isn't zero, each with an index of so many bytes, and where each row starts."""
    return lambda d, element: 4 * (d["n"] + 1) + d["nnz"] * (element.storage.itemsize + index)


def product(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """w x in float64, of those terms whose weight isn't zero."""
    y: np.ndarray
    if np.isfinite(x).all():
        y = w @ x
        return y
    with np.errstate(invalid="ignore"):
        y = np.multiply(w, x, where=w != 0, out=np.zeros(w.shape)).sum(axis=1)
    return y


def prune(operation: str, w: np.ndarray, nnz: int, random: np.random.Generator) -> np.ndarray:
    """A copy of w[n,k] in which nnz elements are left, anywhere; of 2:4 the first and the last of every four."""
    left = w.copy()
    if operation == "gemv_2_4":
        left[:, np.isin(np.arange(w.shape[1]) % 4, (1, 2))] = 0
        return left
    left.ravel()[random.permutation(w.size)[nnz:]] = 0
    return left


def pack(operation: str, element: ElementType, group: int, w: np.ndarray, threads: int = 1) -> np.ndarray:
    """w[n,k] in plain storage as the operation's kernels read it, bits in groups of so many weights.

    Raises ValueError where w doesn't fit the format: more than two of four, or more than its indices can count.
    """
    rows = np.ascontiguousarray(w)
    scales = np.empty((len(rows), 0), np.float32)
    if element.row_bytes:
        cut = rows.shape[1] - element.row_bytes // element.storage.itemsize
        rows, scales = np.ascontiguousarray(rows[:, :cut]), np.ascontiguousarray(rows[:, cut:]).view("<f4")
    if operation.startswith("gemv_csr"):
        return _pack_csr(rows, np.dtype(np.uint16 if operation.endswith("16") else np.int32))
    n, k = (-(-size // whole) * whole for size, whole in zip(rows.shape, (STRIP, group), strict=True))
    padded = np.zeros((n, k), rows.dtype)
    padded[: rows.shape[0], : rows.shape[1]] = rows
    ordered = padded.reshape(n // STRIP, STRIP, k // group, group).swapaxes(1, 2)
    stored = ordered != 0
    of_rows = np.zeros((n, scales.shape[1]), np.float32)
    of_rows[: len(scales)] = scales
    if operation == "gemv_2_4":
        return _joined(of_rows, _bits(stored), _two_of_four(ordered, stored, group))
    over = _over(stored, FEW // rows.itemsize)
    stored &= ~over
    starts = [np.concatenate([[0], np.cumsum(some.sum((1, 2, 3)))]) for some in (stored, over)]
    most = stored.sum(-1).max(initial=0)
    return _joined(
        np.array([most, *starts[0], *starts[1]]), of_rows, _bits(stored), ordered[stored], _list(ordered, over)
    )


def _bits(stored: np.ndarray) -> np.ndarray:
    return np.packbits(stored.ravel(), bitorder="little")


def _over(stored: np.ndarray, few: int) -> np.ndarray:
    """What of each group comes behind its first few weights; nothing where groups don't have 8, or it were too much."""
    over: np.ndarray = stored & (np.cumsum(stored, -1, dtype=np.uint8) > few)
    if stored.shape[-1] != 8 or over.sum() > MOST_OVER * stored.sum():
        over[...] = False
    return over


def _list(ordered: np.ndarray, over: np.ndarray) -> np.ndarray:
    _, groups, rows, lanes = np.nonzero(over)
    listed = np.empty(rows.size, OVER)
    listed["place"] = (groups * 8 + lanes) * STRIP + rows
    listed["value"] = ordered[over]
    return listed


def _two_of_four(ordered: np.ndarray, stored: np.ndarray, group: int) -> np.ndarray:
    """The values of 2:4: of every group those that are stored, then zeros up to half of it."""
    fours = stored.reshape(-1, 4).sum(-1)
    if (fours > 2).any():
        raise ValueError(f"w isn't 2:4: {fours.max()} of four neighbours in a row aren't zero")
    first = np.argsort(~stored.reshape(-1, group), axis=-1, kind="stable")[:, : group // 2]
    return np.take_along_axis(np.where(stored, ordered, 0).reshape(-1, group), first, -1)


def _pack_csr(rows: np.ndarray, index: np.dtype) -> np.ndarray:
    row, column = np.nonzero(rows)
    if rows.shape[1] - 1 > np.iinfo(index).max or row.size > np.iinfo(np.int32).max:
        raise ValueError(f"w of shape {rows.shape} with {row.size} nonzeros is too large for indices of {index}")
    starts = np.searchsorted(row, np.arange(len(rows) + 1)).astype(np.int32)
    return _joined(starts, column.astype(index), rows[row, column])


def _joined(*parts: np.ndarray) -> np.ndarray:
    """One array, in which each part begins at a multiple of PART, and PART bytes behind the last one."""
    packed = Arena.take(sum(-(-part.nbytes // PART) * PART for part in parts) + PART, np.uint8)
    packed[:] = 0
    at = 0
    for part in parts:
        packed[at : at + part.nbytes] = np.ascontiguousarray(part).ravel().view(np.uint8)
        at += -(-part.nbytes // PART) * PART
    return packed
