"""What can be run. KERNELS has one row per (operation, types, backend, isa).

    kernel = kernels.find("gemm", "f32", "c")        # the best ISA of this CPU, or the one RIDGELINE_ISA names
    c = kernel(a, b, threads=2)                      # checked call, allocates c
    call = kernel.bind(a, b, out=c, threads=2)       # checked once; call() then only computes

Operations and what they mean: kernels.operations.OPERATIONS; element types: kernels.types.TYPES. Other libraries, as
rows of the same kind: kernels.backends.libraries. Importing this package imports none of them: a name is looked up in
its module when it is first used, so that operations, types and verify need neither the compiled module nor Numba.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kernels import cpus as cpus  # now: what is loaded later may bind this thread

PROJECT = "ridgeline"

if TYPE_CHECKING:
    from kernels.operations import OPERATIONS as OPERATIONS
    from kernels.packing import Packed as Packed
    from kernels.registry import BACKENDS as BACKENDS
    from kernels.registry import ISA_VARIABLE as ISA_VARIABLE
    from kernels.registry import KERNELS as KERNELS
    from kernels.registry import Kernel as Kernel
    from kernels.registry import UnavailableISA as UnavailableISA
    from kernels.registry import available as available
    from kernels.registry import chosen_isa as chosen_isa
    from kernels.registry import find as find
    from kernels.registry import set_threads as set_threads
    from kernels.types import DTYPES as DTYPES
    from kernels.types import TYPES as TYPES

_HOMES = {
    **dict.fromkeys(("DTYPES", "TYPES"), "kernels.types"),
    "OPERATIONS": "kernels.operations",
    "Packed": "kernels.packing",
    **dict.fromkeys(("BACKENDS", "ISA_VARIABLE", "KERNELS", "Kernel", "UnavailableISA"), "kernels.registry"),
    **dict.fromkeys(("available", "chosen_isa", "find", "set_threads"), "kernels.registry"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is None and (theirs := _hidden()):
        raise ImportError(f"{name} isn't in Ridgeline's {__file__}, which hides Hugging Face's {theirs}: {_APART}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_APART = "run outside of Ridgeline's folder, or give each an environment of its own"


def _hidden() -> str | None:
    """Where Hugging Face's package of this name is, which transformers imports; None where it isn't installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return os.path.abspath(str(distribution("kernels").locate_file("kernels/__init__.py")))
    except PackageNotFoundError:
        return None


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
