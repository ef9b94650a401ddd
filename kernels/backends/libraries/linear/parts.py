"""Stored weights taken apart, for libraries that keep integers, scales and zero points in arrays of their own."""

import numpy as np

from kernels.types import TYPES


def numbers(w: np.ndarray) -> np.ndarray:
    """The 4-bit numbers of i4g32 and its like, 0 to 15, in order: w[n,k] as u8."""
    halves = np.concatenate([w["q"] & 15, w["q"] >> 4], axis=-1)
    return halves.reshape(len(w), -1)


def bytes_of(element: str, w: np.ndarray) -> np.ndarray:
    """The 8-bit numbers of i8 and i8g32: w[n,k] as i8."""
    if element == "i8":
        return np.ascontiguousarray(w[:, : -TYPES[element].row_bytes])
    return np.ascontiguousarray(w["q"]).reshape(len(w), -1)


def scales(element: str, w: np.ndarray) -> np.ndarray:
    """By row, or by row and group: [n,1] or [n,k/group] as f32, which holds those of f16 exactly."""
    if element == "i8":
        return np.ascontiguousarray(w[:, -TYPES[element].row_bytes :]).view("<f4")
    return w["scale"].astype(np.float32)


def zeros(element: str, w: np.ndarray) -> np.ndarray:
    """What 4-bit numbers have too much: 8, or by row and group their zero points; [n,k/group] as u8."""
    return w["zero"].copy() if element.startswith("u4") else np.full(w.shape, 8, np.uint8)


def pairs(x: np.ndarray) -> np.ndarray:
    """4-bit numbers, two neighbours in a byte, the first in its low half; an odd row ends with 0."""
    rows = np.zeros((*x.shape[:-1], -(-x.shape[-1] // 2) * 2), np.uint8)
    rows[..., : x.shape[-1]] = x
    low, high = rows[..., ::2], rows[..., 1::2]
    both: np.ndarray = low | high << np.uint8(4)
    return both
