"""What is measured of layers: one row of activations, from memory; and of each kernel its hot limit."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import BadInput
from bench.escape.layers.figures import HOT
from bench.escape.names import ACTIVATIONS, activations
from bench.host.placement import isa_in_use
from bench.host.sysfs import cache_bytes
from bench.measure.groups import Group
from bench.measure.session import Session
from bench.measure.suite import kernels_for, stored_kernels
from bench.workloads.shapes import Case
from bench.workloads.sweep import Sweep, layer_cases
from kernels import Kernel
from kernels.operations import OPERATIONS

MODELS = ("BERT-Base", "GPT-2")
DTYPE = "f32"
K = 768  # of the hot limit's matrix
ROWS = 64  # and what its rows are a multiple of: whole strips of the widest vectors


def cases(layer: str = "") -> list[Case]:
    """The weight matrices of BERT-Base and GPT-2 as one token meets them; those alone whose name has `layer`.

    Raises BadInput where none has.
    """
    found = [
        case
        for case in layer_cases(Sweep((1,), (), (128,), 0.0))
        if case.weight and any(name.startswith(MODELS) for name in case.layers)
    ]
    chosen = [case for case in found if any(layer.lower() in name.lower() for name in case.layers)]
    if not chosen:
        names = dict.fromkeys(name for case in found for name in case.layers)
        raise BadInput(f"--layer {layer}: there are {', '.join(names)}")
    return chosen


def small_kernels(case: Case, options: Any, isa: str, backends: Sequence[str]) -> list[Kernel]:
    """The kernels on stored weights that --types, --activations and --backends ask for."""
    found = stored_kernels(case, options.types, isa, backends=backends, linear=ACTIVATIONS)
    return [kernel for kernel in found if activations(kernel.operation) in options.activations]


def groups(session: Session, options: Any, backends: Mapping[int, Sequence[str]]) -> list[Group]:
    """Each layer on each thread count, f32 and all types beside each other; then all kernels in L2, on one thread."""
    isa, found, hot = isa_in_use(), [], dict[Kernel, Case]()
    for case in cases(options.layer):
        for threads, names in backends.items():
            plain = kernels_for(case, DTYPE, isa, backends=names)
            small = small_kernels(case, options, isa, names)
            found.append(Group.of(case, DTYPE, threads, [*plain, *small]))
            hot |= {kernel: small_case(kernel) for kernel in small}
    return [*found, Group(tuple((case, kernel) for kernel, case in hot.items()), DTYPE, 1)] if hot else found


def small_case(kernel: Kernel) -> Case:
    """A matrix of which the kernel's weights take half of a core's L2."""
    operation = kernel.operation if kernel.operation in ("gemv", "gemv_t") else "gemv"
    op = OPERATIONS[kernel.operation]
    each = op.operand_bytes({"m": 1, "n": ROWS, "k": K}, kernel.types)[op.weights or ""]
    n = ROWS * max(1, (cache_bytes(2) or 1 << 18) // 2 // each)
    return Case(operation, 1, n, K, False, (HOT,))
