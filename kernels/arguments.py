"""Checks of a kernel's arguments, the same for every backend: what reaches C or Numba is right."""

from typing import Any

import numpy as np

from kernels.operations import OPERATIONS
from kernels.packing import Packed
from kernels.types import TYPES, ElementType, Types, label


def _addressable(x: np.ndarray) -> bool:
    """Whether a kernel can use the array without a copy: aligned, unit inner stride, rows that don't overlap.

    The matrices of a batch may interleave: heads [batch,m,k] are often a view of tokens [m,batch,k].
    """
    if not x.flags.aligned or (x.shape[-1] > 1 and x.strides[-1] != x.itemsize):
        return False
    reach = x.shape[-1] * x.itemsize  # the bytes that one row takes, then one row of every matrix
    for size, stride in sorted(zip(x.shape[:-1], x.strides[:-1], strict=True), key=lambda axis: axis[1]):
        if size > 1:
            if stride < reach or stride % x.itemsize:
                return False
            reach += stride * (size - 1)
    return True


def _match(name: str, names: tuple[str, ...], shape: tuple[int, ...], dims: dict[str, int]) -> None:
    """Adds an operand's dimensions to `dims`; ValueError where they contradict it."""
    wanted = "[" + ",".join(names) + "]"
    if len(shape) != len(names):
        raise ValueError(f"{name} must be {name}{wanted}, not of shape {shape}")
    for dimension, size in zip(names, shape, strict=True):
        if size < 1:
            raise ValueError(f"{name} is empty: its shape is {shape}")
        expected = 1 if dimension == "1" else dims.setdefault(dimension, size)
        if size != expected:
            raise ValueError(f"{name} must be {name}{wanted} with {dimension} = {expected}, not of shape {shape}")


def _check_array(name: str, x: Any, element: ElementType) -> np.ndarray:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(x).__name__}")
    if x.dtype != element.storage:
        wanted = element.storage.name if element.native else f"{element.name}, stored as {element.storage}"
        raise TypeError(f"{name} must be {wanted}, not {x.dtype}")
    return x


def _ready(name: str, names: tuple[str, ...], x: Any, element: ElementType, dims: dict[str, int]) -> np.ndarray:
    array = _check_array(name, x, element)
    _match(name, names, element.shape(array.shape), dims)
    return array if _addressable(array) else np.ascontiguousarray(array)


def check_weights(operation: str, types: Types, x: Any) -> np.ndarray:
    """Weights that a kernel can address, copied where they have to be. Raises TypeError or ValueError naming them."""
    (found,) = ((name, names) for name, names in OPERATIONS[operation].inputs if name == OPERATIONS[operation].weights)
    return _ready(*found, x, TYPES[types[found[0]]], {})


def check_inputs(
    operation: str, types: Types, inputs: tuple[Any, ...], layout: tuple[str, str]
) -> tuple[list[Any], dict[str, int]]:
    """The inputs ready for a kernel, and the call's dimensions.

    Views that a kernel can't address (inner stride other than one element, overlapping or reversed rows) are copied.
    Raises TypeError or ValueError naming the argument.
    """
    op = OPERATIONS[operation]
    expected = op.inputs
    if len(inputs) != len(expected):
        raise TypeError(
            f"{operation} takes {', '.join(name for name, _ in expected)}: {len(expected)} inputs, not {len(inputs)}"
        )
    dims: dict[str, int] = {}
    ready: list[Any] = []
    for (name, names), x in zip(expected, inputs, strict=True):
        if op.packed and name == op.weights:
            if not isinstance(x, Packed):
                raise TypeError(f"{name} must be packed weights from this kernel's pack(), not a plain array")
            if (x.layout, x.types) != (layout, label(types)):
                raise ValueError(
                    f"{name} was packed by {'/'.join(x.layout)} in {x.types}; "
                    f"this kernel is {'/'.join(layout)} in {label(types)}"
                )
            _match(name, names, x.shape, dims)
            ready.append(x)
            continue
        ready.append(_ready(name, names, x, TYPES[types[name]], dims))
    return ready, dims


def check_output(operation: str, types: Types, out: Any, inputs: list[Any], dims: dict[str, int]) -> np.ndarray:
    """The output, which must be writable, addressable without a copy, and apart from the inputs.

    Raises TypeError or ValueError naming the argument.
    """
    op = OPERATIONS[operation]
    name, names = op.output
    element = TYPES[types[name]]
    array = _check_array("out", out, element)
    _match("out", names, element.shape(array.shape), dict(dims))
    if not array.flags.writeable:
        raise ValueError("out is read-only")
    if not _addressable(array):
        raise ValueError(
            f"out must have unit inner stride and rows that don't overlap; its strides are {array.strides}"
        )
    for i, ((name, _), x) in enumerate(zip(op.inputs, inputs, strict=True)):
        if op.in_place and i == 0:
            if (array.ctypes.data, array.strides) != (x.ctypes.data, x.strides):
                raise ValueError(f"out must be {name} itself: {operation} works in place")
            continue
        given = x.data if isinstance(x, Packed) else x
        if isinstance(given, np.ndarray) and _overlap(array, given):
            raise ValueError(f"out overlaps {name}")
    return array


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays share an element; where that is too hard to decide, yes."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def check_threads(threads: Any, most: int) -> int:
    """ValueError unless 1 <= threads <= most."""
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"threads must be an int, not {type(threads).__name__}")
    if not 1 <= threads <= most:
        raise ValueError(f"threads must be 1 to {most}, not {threads}")
    return threads
