"""What stands for a type of weights, and for what a product does with its activations."""

from collections.abc import Mapping

from bench.record.row import Row
from kernels.operations import OPERATIONS

TYPES = ("bf16", "i8", "i4g32")
"""Those that are measured where no others are asked for."""
ACTIVATIONS: Mapping[str, str] = {"linear_a8": "8", "linear": "f32"}
"""Bits that activations are rounded to, or the type that they are kept in, by operation."""
BACKENDS: Mapping[str, str] = {"c": "C", "numba": "Numba"}
"""Those that have kernels for such types, and their names in print."""
PAPER: Mapping[str, str] = {"i4": "8x less to store and to wait for (INT4)"}
"""What "AI and Memory Wall" (Gholami et al. 2024) says of a type, by how its name begins."""


def weights_type(row: Row) -> str:
    """Of the operand that may be stored: "f32", "i4g32"."""
    return row["types"][OPERATIONS[row["operation"]].weights or ""]


def activations(operation: str) -> str:
    """ "8" where they are rounded to 8 bits, else "f32"."""
    return ACTIVATIONS.get(operation, "f32")


def claim(element: str) -> str:
    """What the paper says of weights in this type; "" where it says nothing."""
    return next((said for start, said in PAPER.items() if element.startswith(start)), "")
