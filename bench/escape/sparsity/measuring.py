"""What is measured of sparsity: a matrix at densities from 5 to 100 %, and the same with whole rows or columns gone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kernels
from bench.escape.sparsity.figures import DENSITIES, FORMATS, PRUNED, SWEEP
from bench.measure.groups import Group
from bench.measure.session import Session
from bench.measure.suite import kernels_for
from bench.workloads.model import find
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.backends.libraries import scipy_csr

DTYPE = "f32"
MODEL = find("GPT-2")
STRUCTURED = 30  # % of the FFN's neurons that are gone


def groups(session: Session, options: Any, backends: Mapping[int, Sequence[str]]) -> list[Group]:
    """At each density dense f32 and every format beside each other, in the same rounds; then fewer neurons."""
    found = []
    for threads, names in backends.items():
        for percent in DENSITIES:
            case = sparse_case(MODEL.ffn, MODEL.width, percent)
            chosen = [*kernels_for(case, DTYPE, session.isa, backends=names), *_sparse(percent, session.isa, names)]
            if threads == 1:
                chosen.append(scipy_csr.row())
            found.append(Group.of(case, DTYPE, threads, chosen))
        for cases in structured():
            members = [(case, k) for case in cases for k in kernels_for(case, DTYPE, session.isa, backends=names)]
            found.append(Group(tuple(members), DTYPE, threads))
    return found


def sparse_case(n: int, k: int, percent: int) -> Case:
    """A matrix of which so many percent aren't zero."""
    return Case("gemv", 1, n, k, True, (f"{SWEEP} {percent} %",), nnz=n * k * percent // 100)


def _sparse(percent: int, isa: str, names: Sequence[str]) -> Iterator[Kernel]:
    """The kernels of all formats; 2:4 is a density of its own."""
    have = {(k.operation, k.label, k.backend) for k in kernels.KERNELS.values()}
    for form in FORMATS:
        if form.density in (None, percent):
            for name in names:
                if (form.operation, form.label, name) in have:
                    yield kernels.find(form.operation, form.label, name, isa if name == "c" else None)


def structured() -> Iterator[tuple[Case, ...]]:
    """Both matrices of the FFN whole, with STRUCTURED % fewer neurons, and with those rounded up to whole vectors."""
    left = MODEL.ffn * (100 - STRUCTURED) // 100
    for turned in (False, True):
        sizes = [(size, MODEL.width) for size in (MODEL.ffn, left, -(-left // 16) * 16)]
        layers = (f"{PRUNED} as {'k' if turned else 'n'}",)
        yield tuple(Case("gemv", 1, *(pair[::-1] if turned else pair), True, layers) for pair in sizes)
