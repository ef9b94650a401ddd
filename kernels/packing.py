"""Weights packed ahead, in one kernel's own order."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Packed:
    """Weights in one kernel's own order, made by Kernel.pack(). `layout` says whose: (backend, isa).

    data   an array, or whatever a library keeps its weights in
    shape  that of the plain weights, in elements
    types  the label of the kernel's types
    """

    data: Any
    shape: tuple[int, ...]
    types: str
    layout: tuple[str, str]
