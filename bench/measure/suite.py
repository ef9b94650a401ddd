"""What pytest bench/ measures: the cases of each of its tests, and which kernels take part in a case."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import kernels
from bench.workloads.shapes import Case
from bench.workloads.sweep import SWEEPS, Sweep, layer_cases, pointwise_cases, walk_cases
from kernels import Kernel
from kernels.backends import c
from kernels.operations import LINEAR, OPERATIONS, SCALAR_GEMMS
from kernels.types import TYPES, label


def kernels_for(
    case: Case,
    dtype: str,
    isa: str,
    rungs: Sequence[tuple[int, int, int]] = (),
    others: Iterable[Kernel] = (),
    backends: Sequence[str] = kernels.BACKENDS,
) -> list[Kernel]:
    """The kernels of `backends` that can run a case, and those of `others`; prepacked weights and GEMM's lower rungs
    are variants of their own.
    """
    operations = [case.operation]
    if case.operation == "gemm" and case.weight:
        operations.append("gemm_prepacked")
        if (case.m, case.n, case.k) in rungs:
            operations += SCALAR_GEMMS
    existing = {(k.operation, k.label, k.backend) for k in kernels.KERNELS.values()}
    ours = [
        kernels.find(operation, dtype, backend, isa if backend == "c" else None)
        for operation in operations
        for backend in backends
        if (operation, dtype, backend) in existing
    ]
    return ours + [k for k in others if k.operation in operations and k.dtype == dtype and k.reason is None]


def stored_kernels(
    case: Case,
    types: Iterable[str],
    isa: str,
    others: Iterable[Kernel] = (),
    backends: Sequence[str] = kernels.BACKENDS,
    linear: Iterable[str] = LINEAR,
) -> list[Kernel]:
    """The kernels of `backends`, and those of `others`, that can run a case on weights of these types, which are only
    stored: of `linear`'s operations, and of one row of activations the case's own. `linear_a16` takes part where an ISA
    has its products: elsewhere it is `linear`, rounding on top.
    """
    operations = list(dict.fromkeys([case.operation, *linear]))
    labels = {
        (operation, label(OPERATIONS[operation].types_for(name))): name for operation in operations for name in types
    }
    usable = {key for key, name in labels.items() if case.k % TYPES[name].group == 0}
    existing = {(k.operation, k.label, k.backend) for k in kernels.KERNELS.values()}
    ours = [
        kernels.find(*key, backend, isa if backend == "c" else None)
        for key in labels
        if key in usable
        for backend in backends
        if (*key, backend) in existing
    ]
    ours = [k for k in ours if k.operation != "linear_a16" or c.has_peak("bf16", k.isa)]
    return ours + [k for k in others if (k.operation, k.label) in usable and k.reason is None]


CASES: Mapping[str, Callable[[Sweep], list[Case]]] = {
    "layer": layer_cases,
    "walk": walk_cases,
    "pointwise": pointwise_cases,
}
"""The cases of test_NAME in bench/test_session.py."""


def nothing_of(keyword: str, sweep: str) -> str:
    """Why a -k leaves nothing of a sweep: which layers it has, and which other sweeps have one of that name."""
    others = [
        name for name in SWEEPS if name != sweep and any(keyword.lower() in layer.lower() for layer in _layers(name))
    ]
    elsewhere = f"; --sweep {' and '.join(others)} {'have' if len(others) > 1 else 'has'} it" if others else ""
    return f"the sweep {sweep} has no such layer, only {', '.join(_layers(sweep))}{elsewhere}"


def _layers(sweep: str) -> list[str]:
    """Their names without the model's, as a -k takes them."""
    cases = (case for which in CASES.values() for case in which(SWEEPS[sweep]))
    return list(dict.fromkeys(layer.partition(" ")[2].replace(",", ".") for case in cases for layer in case.layers))


Entry = tuple[Case, str, int, Kernel]
"""A case, a dtype, a thread count, a kernel: one benchmark."""


def entries(
    which: str,
    sweep: Sweep,
    dtypes: Iterable[str],
    backends: Mapping[int, Sequence[str]],
    isa: str,
    others: Sequence[Kernel],
) -> Iterator[tuple[str, Entry]]:
    """The benchmarks of one of CASES, each with its id; backends: by thread count."""
    every = list(dict.fromkeys(name for names in backends.values() for name in names))
    for case in CASES[which](sweep):
        sizes = "-".join(f"{d}{getattr(case, d)}" for d in "mnk" if d == "m" or d in case.dims)
        layers = "+".join(name.replace(" ", ":").replace(",", ".") for name in case.layers)
        for dtype in dtypes:
            for kernel in kernels_for(case, dtype, isa, sweep.rungs, others, every):
                for count in backends:
                    if kernel.backend in every and kernel.backend not in backends[count]:
                        continue
                    yield f"{layers}-{sizes}-{kernel.name}-t{count}", (case, dtype, count, kernel)
