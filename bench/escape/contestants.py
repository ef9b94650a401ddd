"""Which kernels for stored weights there are, and which of those asked for there are not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kernels
from bench.escape.names import ACTIVATIONS, activations
from bench.host.placement import isa_in_use
from bench.models.schemes import HALVES
from kernels import UnavailableISA
from kernels.operations import OPERATIONS

Known = Mapping[tuple[str, str, str], str | None]
"""(backend, operation, type) of what --types, --activations and --backends ask for, and why it isn't there."""


def asked(options: Any, backends: Sequence[str]) -> Known:
    """Activations of halves are never rounded to 8 bits."""
    isa = isa_in_use()
    found = dict[tuple[str, str, str], str | None]()
    for element, backend, operation in _every(options, backends):
        try:
            types = OPERATIONS[operation].types_for(element)
            kernels.find(operation, types, backend, isa if backend == "c" else None)
            found[backend, operation, element] = None
        except (KeyError, UnavailableISA) as error:
            found[backend, operation, element] = str(error.args[0])
    return found


def _every(options: Any, backends: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for element in options.types:
        for operation in ACTIVATIONS:
            kept = activations(operation) in options.activations
            if (operation == "linear") if element in HALVES else kept:
                yield from ((element, backend, operation) for backend in backends)
