"""How types that are only stored encode numbers, in NumPy: halves, and integers with a scale per row or per group.

A group of i8g32 is a block of llama.cpp's Q8_0, a group of i4g32 one of its Q4_0, byte for byte: arrays of either are
views of the other.
"""

from collections.abc import Callable

import numpy as np

ROW_SCALE = 4
"""Bytes of the f32 scale behind each row of i8."""


def encode_bf16(x: np.ndarray) -> np.ndarray:
    """The upper halves of f32, rounded to nearest even; through f32 rounded to odd, so that rounding twice is once."""
    given = np.asarray(x)
    bits = given.view(np.uint32) if given.dtype == np.float32 else _rounded_to_odd(given.astype(np.float64))
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    halves: np.ndarray = np.where(np.isnan(given), bits >> 16 | 0x40, rounded).astype(np.uint16)
    return halves


def _rounded_to_odd(wide: np.ndarray) -> np.ndarray:
    """The bits of f32, the last one set where it isn't exact."""
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = wide.astype(np.float32)
        toward_zero = np.where(np.abs(nearest) > np.abs(wide), np.nextafter(nearest, np.float32(0)), nearest)
    bits: np.ndarray = toward_zero.view(np.uint32) | (np.isfinite(wide) & (toward_zero != wide))
    return bits


def decode_bf16(x: np.ndarray) -> np.ndarray:
    return (np.asarray(x).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def encode_f16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float16)


def decode_f16(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64)


def encode_i8(x: np.ndarray) -> np.ndarray:
    """The largest of a row becomes 127 or -127."""
    wide = np.asarray(x, np.float64)
    scale = (np.abs(wide).max(-1, keepdims=True) / 127).astype("<f4")
    items = np.empty((*wide.shape[:-1], wide.shape[-1] + ROW_SCALE), np.int8)
    items[..., :-ROW_SCALE] = _multiples(wide, scale, 127)
    items[..., -ROW_SCALE:] = scale.view(np.int8)
    return items


def decode_i8(x: np.ndarray) -> np.ndarray:
    scale = np.ascontiguousarray(x[..., -ROW_SCALE:]).view("<f4")
    decoded: np.ndarray = x[..., :-ROW_SCALE].astype(np.float64) * scale
    return decoded


def _multiples(x: np.ndarray, scale: np.ndarray, most: int) -> np.ndarray:
    """The nearest multiples of the scale, -most at least, `most` at most; 0 where they are no numbers."""
    with np.errstate(all="ignore"):
        nearest = np.rint(x / scale.astype(np.float64))
    multiples: np.ndarray = np.clip(np.where(np.isfinite(nearest), nearest, 0), -most, most)
    return multiples


def _groups(x: np.ndarray, group: int) -> np.ndarray:
    wide = np.asarray(x, np.float64)
    return wide.reshape(*wide.shape[:-1], -1, group)


def _f16(scale: np.ndarray) -> np.ndarray:
    """A scale as it is stored; one that is too large for f16 is infinite, and its group no numbers."""
    with np.errstate(over="ignore"):
        return scale.astype(np.float16)


I8_GROUP = np.dtype([("scale", "<f2"), ("q", "i1", 32)])


def encode_i8_group(x: np.ndarray) -> np.ndarray:
    """The largest of a group becomes 127 or -127."""
    groups = _groups(x, 32)
    items = np.empty(groups.shape[:-1], I8_GROUP)
    items["scale"] = _f16(np.abs(groups).max(-1) / 127)
    items["q"] = _multiples(groups, items["scale"][..., None], 127)
    return items


def decode_i8_group(x: np.ndarray) -> np.ndarray:
    return (x["q"] * x["scale"].astype(np.float64)[..., None]).reshape(*x.shape[:-1], -1)


def i4_group(group: int) -> np.dtype:
    """Byte j has element j in its low half, j + group / 2 in its high one, each 8 more than the multiple it means."""
    return np.dtype([("scale", "<f2"), ("q", "u1", group // 2)])


def u4_group(group: int) -> np.dtype:
    """As i4_group(), but each is `zero` more than the multiple it means."""
    return np.dtype([("scale", "<f2"), ("zero", "u1"), ("q", "u1", group // 2)])


def _halves(numbers: np.ndarray) -> np.ndarray:
    low, high = np.split(numbers.astype(np.uint8), 2, axis=-1)
    return low | high << 4


def _numbers(items: np.ndarray) -> np.ndarray:
    return np.concatenate([items["q"] & 15, items["q"] >> 4], axis=-1).astype(np.float64)


def _decoder(zero: Callable[[np.ndarray], np.ndarray | int]) -> Callable[[np.ndarray], np.ndarray]:
    def decode(x: np.ndarray) -> np.ndarray:
        return ((_numbers(x) - zero(x)) * x["scale"].astype(np.float64)[..., None]).reshape(*x.shape[:-1], -1)

    return decode


decode_i4 = _decoder(lambda items: 8)
decode_u4 = _decoder(lambda items: items["zero"].astype(np.float64)[..., None])


def encode_i4(group: int) -> Callable[[np.ndarray], np.ndarray]:
    """The largest of a group becomes -8, whatever its sign: one more step than from -7 to 7."""

    def encode(x: np.ndarray) -> np.ndarray:
        groups = _groups(x, group)
        items = np.empty(groups.shape[:-1], i4_group(group))
        largest = np.take_along_axis(groups, np.abs(groups).argmax(-1)[..., None], -1)
        items["scale"] = _f16(largest / -8)[..., 0]
        items["q"] = _halves(np.clip(_multiples(groups, items["scale"][..., None], 8), -8, 7) + 8)
        return items

    return encode


def encode_u4(group: int) -> Callable[[np.ndarray], np.ndarray]:
    """From the least of a group, or 0, to the largest, or 0, in 15 steps."""

    def encode(x: np.ndarray) -> np.ndarray:
        groups = _groups(x, group)
        items = np.empty(groups.shape[:-1], u4_group(group))
        least, largest = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
        items["scale"] = scale = _f16((largest - least) / 15)
        items["zero"] = zero = np.clip(_multiples(-least, scale, 15), 0, 15)
        items["q"] = _halves(np.clip(_multiples(groups, scale[..., None], 15) + zero[..., None], 0, 15))
        return items

    return encode
