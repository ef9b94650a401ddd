"""The element types of operands: what holds an element, its bytes, and the type in which its products are summed.

An API that takes types takes a name for all operands, or names by operand: "f32", {"w": "bf16"}. A type that is only
stored is one row of TYPES with its decode and encode.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kernels import formats

Types = Mapping[str, str]
"""Names of element types by operand."""

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ElementType:
    """One element type. It is native, or only stored: then kernels widen its elements to those of its accumulator.

    storage        dtype of the arrays that hold it; an item is one element, or a group of them with their scale
    accumulator    the type in which its products are summed, and of the operands beside it; a native type's is itself
    unit_roundoff  the largest error of rounding to it, relative to the element, or to the largest of its group or row
    decode         an array of `storage` to float64, exactly; the last axis is `group` times as long
    encode         float64 to an array of `storage`, rounded to nearest; the last axis holds whole groups
    group          neighbours in a row that one item holds, and that share its scale and zero point; 1: none do
    row_bytes      what is stored behind the elements of each row: its scale
    """

    name: str
    storage: np.dtype
    accumulator: str
    unit_roundoff: float
    decode: Convert
    encode: Convert
    group: int = 1
    row_bytes: int = 0

    @property
    def native(self) -> bool:
        """Whether it has arithmetic of its own."""
        return self.accumulator == self.name

    @property
    def bits(self) -> float:
        """Of one element, its part of a group's scale included: 4.5 for 4 bits with an f16 scale per 32."""
        return 8 * self.storage.itemsize / self.group

    @property
    def products(self) -> str:
        """The type whose peak is that of its products with rounded activations: of bf16 its own, and with integers of
        8 bits one for all of more than 4 bits, one for the rest.
        """
        return self.name if self.bits > 9 else "i8" if self.bits >= 8 else "i4g32"

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Of the elements in an array of `storage` with that shape."""
        return (*stored[:-1], (stored[-1] - self.row_bytes // self.storage.itemsize) * self.group) if stored else stored

    def bytes(self, count: int) -> int:
        """Of a row of `count` elements with their scales: whole groups."""
        return -(-count // self.group) * self.storage.itemsize + self.row_bytes


def _native(name: str, dtype: type[np.number], unit_roundoff: float) -> ElementType:
    def decode(x: np.ndarray) -> np.ndarray:
        return np.asarray(x, np.float64)

    def encode(x: np.ndarray) -> np.ndarray:
        return np.asarray(x, dtype)

    return ElementType(name, np.dtype(dtype), name, unit_roundoff, decode, encode)


TYPES: Mapping[str, ElementType] = {
    element.name: element
    for element in (
        _native("f32", np.float32, 2**-24),
        _native("f64", np.float64, 2**-53),
        _native("i64", np.int64, 0.0),  # of the chain of adds that shows the clock
        ElementType("bf16", np.dtype(np.uint16), "f32", 2**-8, formats.decode_bf16, formats.encode_bf16),
        ElementType("f16", np.dtype(np.float16), "f32", 2**-11, formats.decode_f16, formats.encode_f16),
        ElementType(
            "i8", np.dtype(np.int8), "f32", 1 / 253, formats.decode_i8, formats.encode_i8, 1, formats.ROW_SCALE
        ),
        ElementType("i8g32", formats.I8_GROUP, "f32", 1 / 253, formats.decode_i8_group, formats.encode_i8_group, 32),
        *(
            ElementType(f"{name}g{group}", storage(group), "f32", error, decode, encode(group), group)
            for name, storage, error, decode, encode in (
                ("i4", formats.i4_group, 1 / 7.9, formats.decode_i4, formats.encode_i4),  # 8 where 7 is the largest
                ("u4", formats.u4_group, 1 / 14.8, formats.decode_u4, formats.encode_u4),
            )
            for group in (32, 128)
        ),
    )
}

DTYPES: Mapping[str, np.dtype] = {e.name: e.storage for e in TYPES.values() if e.native and e.storage.kind == "f"}
"""The NumPy dtypes of the native floating-point types."""


def native_isa(isa: str) -> str:
    """The ISA that has kernels of the native types where this one is in use: the one that it extends, or itself.

    How its name begins, which is known where no kernel was compiled.
    """
    return isa.split("_")[0]


def accumulator(types: Types) -> str:
    """The type in which operands of these types are multiplied and summed. ValueError where they disagree."""
    names = {TYPES[name].accumulator for name in types.values()}
    if len(names) != 1:
        raise ValueError(f"types {dict(types)} are summed in different types: {', '.join(sorted(names))}")
    return names.pop()


def expand(operands: Iterable[str], types: str | Types) -> dict[str, str]:
    """The type of every operand. Those that `types` doesn't name have the accumulator of those it does.

    Raises ValueError for a type that isn't in TYPES, an operand that isn't among `operands`, or no type at all, and
    TypeError where `types` is neither a name nor a mapping of names.
    """
    if not isinstance(types, str | Mapping) or (not isinstance(types, str) and set(map(type, types.values())) - {str}):
        raise TypeError(f"types must be a name, or names by operand, not {types!r}")
    if not types:
        raise ValueError("types names no element type")
    names = list(dict.fromkeys(operands))
    given = dict.fromkeys(names, types) if isinstance(types, str) else dict(types)
    for operand, name in given.items():
        if operand not in names:
            raise ValueError(f"no operand {operand}: there are {', '.join(names)}")
        if name not in TYPES:
            raise ValueError(f"no element type {name}: there are {', '.join(TYPES)}")
    return {operand: given[operand] if operand in given else accumulator(given) for operand in names}


def label(types: Types) -> str:
    """Types of all operands in a word: "f32" where all are the same, else those that are only stored: "w.bf16-f32"."""
    if len(set(types.values())) == 1:
        return next(iter(types.values()))
    common = accumulator(types)
    return "-".join([*(f"{operand}.{name}" for operand, name in types.items() if name != common), common])
