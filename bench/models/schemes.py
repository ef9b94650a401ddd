"""How weights can be stored: names of types, and the operations that multiply them. Needs nothing that is compiled."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BadInput
from bench.workloads.model import Model
from kernels.operations import OPERATIONS
from kernels.types import TYPES

if TYPE_CHECKING:
    from kernels import Kernel

NAMES = {"int8": "i8g32", "int4": "i4g32"}
"""What people call a type, and the one that is meant: groups of 32, as in llama.cpp's Q8_0 and Q4_0."""
TYPES_STORED = tuple(name for name, element in TYPES.items() if not element.native)
HALVES = ("bf16", "f16")
"""Their activations are never rounded to 8 bits."""
ACTIVATIONS = {"i8": "linear_a8", "f32": "linear"}
"""How activations of integer weights are multiplied: the operation."""


@dataclass(frozen=True)
class Scheme:
    """The type that weights are stored in, and the operation that multiplies them: linear or linear_a8."""

    element: str
    operation: str

    @property
    def label(self) -> str:
        """In tables: "i4g32", or with activations in f32, where integers are usual, "i4g32, x f32"."""
        kept = self.operation == "linear" and self.element not in HALVES
        return f"{self.element}, x f32" if kept else self.element

    def kernel(self, backend: str) -> "Kernel":
        """Raises KeyError where the backend has no such kernel, UnavailableISA where none can run."""
        import kernels
        from bench.host.placement import isa_in_use

        isa = isa_in_use() if backend == "c" else None
        return kernels.find(self.operation, self.types, backend, isa)

    @property
    def types(self) -> dict[str, str]:
        return OPERATIONS[self.operation].types_for(self.element)

    def check(self, model: Model) -> None:
        """Raises BadInput where a row of a matrix isn't made of whole groups."""
        group = TYPES[self.element].group
        for name, size in (("width", model.width), ("ffn", model.ffn)):
            if size % group:
                raise BadInput(
                    f"{model.name}: its {name}, {size}, is no multiple of {group}, the group of {self.element}"
                )


def scheme_of(name: str, activations: str = "i8") -> Scheme:
    """By a type's name or one of NAMES; activations: one of ACTIVATIONS. Raises BadInput for another name."""
    element = NAMES.get(name, name)
    if element not in TYPES_STORED:
        raise BadInput(f"--weights-as {name:.40}: one or several of {', '.join((*NAMES, *TYPES_STORED))}")
    return Scheme(element, "linear" if element in HALVES else ACTIVATIONS[activations])
