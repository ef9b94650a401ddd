"""What bench.ladder measures: every rung on one product, and the FMA peak in the same rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import kernels
from bench.errors import BadInput
from bench.host.placement import pinned
from bench.host.sysfs import available_memory_bytes, cache_bytes
from bench.ladder.steps import BACKENDS, RUNGS, climb
from bench.measure.groups import Group
from bench.measure.probes import fma_probe
from bench.measure.run import Kept, kept, left_out, measuring
from bench.measure.session import Session
from bench.workloads.model import find
from bench.workloads.shapes import Case
from kernels.types import DTYPES


def measure(session: Session, case: Case, dtype: str, seconds: float, backends: Mapping[int, Sequence[str]]) -> None:
    """Adds the rungs, beside the peak in the same rounds, to the session: all but the last on one thread.

    backends: by thread count. Ctrl-C leaves what was finished.
    """
    isa = {backend: session.isa if backend == "c" else None for backend in BACKENDS}
    groups = [
        Group.of(
            case,
            dtype,
            threads,
            [
                kernels.find(rung.operation, dtype, backend, isa[backend])
                for rung in RUNGS
                if rung.alone == (threads == 1)
                for backend in backends[threads]
            ],
        )
        for threads in session.threads
    ]
    for group in groups:  # a share of the peak is all that the climb needs: no bandwidth
        isas = dict.fromkeys(kernel.isa for _, kernel in group.members)
        with pinned(group.threads), session.watched():
            session.add_roofs(group.threads, [fma_probe(group.threads, dtype, name) for name in isas])
    session.run(groups, seconds)
    session.finish()


def product(model: str, layer: str, m: int, n: int | None, k: int | None, dtype: str) -> Case:
    """The product to climb on. Weights are cold, as in inference, unless they fit into one core's L2 anyway.

    Raises BadInput for an unknown model or layer, a length that the model doesn't take, n without k, and a product
    that is too large for memory.
    """
    if (n is None) != (k is None):
        raise BadInput("give both --n and --k, or neither to take a layer's")
    if min(m, n or 1, k or 1) < 1:
        raise BadInput("--m, --n and --k must be at least 1")
    layers: tuple[str, ...] = ()
    weight = True
    if n is None or k is None:
        found = find(model)
        try:
            products = {p.layer: p for p in found.products(m)}
        except ValueError as error:
            raise BadInput(f"--m {m}: {error}") from error
        if layer not in products or products[layer].operation != "gemm":
            names = ", ".join(name for name, p in products.items() if p.operation == "gemm")
            raise BadInput(f"--layer {layer}: {found.name} multiplies matrices in {names}")
        n, k, weight = products[layer].n, products[layer].k, products[layer].weight
        layers = (f"{found.name} {layer}",)
    whole = Case("gemm", m, n, k, weight, layers)
    free = available_memory_bytes()
    if free and 4 * whole.bytes("f64") > free:  # the float64 reference and its bounds lie beside the operands
        raise BadInput(f"a product of {m} x {n} x {k} takes more memory than there is")
    return replace(whole, weight=weight and n * k * DTYPES[dtype].itemsize > (cache_bytes(2) or 0))


def measured(options: Any) -> Kept:
    """The climb that the command's options ask for."""
    case = product(options.model, options.layer, options.m, options.n, options.k, options.dtype)
    backends = left_out(BACKENDS, sorted({1, options.threads}))
    with measuring("ladder", options, {1, options.threads}, [options.dtype], first="the climb") as session:
        measure(session, case, options.dtype, options.seconds, backends)
    return kept(session, options, "-ladder", climb)
