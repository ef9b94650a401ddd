"""Weights packed ahead, in one kernel's own order."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Packed:
    """Weights b[k,n] in one kernel's own order, made by Kernel.pack(). `layout` says whose: (backend, isa).

    data is an array, or whatever a library keeps its weights in; types is the label of the kernel's types.
    """

    data: Any
    k: int
    n: int
    types: str
    layout: tuple[str, str]

    @property
    def shape(self) -> tuple[int, int]:
        return self.k, self.n
