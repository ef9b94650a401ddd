"""The probes of the ceilings: FMA peak, clock, and the STREAM operations, each ready to be sampled in any round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

import kernels
from bench.measure.timing import Variant
from bench.record.probes import PROBES
from bench.record.row import Level, Row, make_row
from kernels.backends import c
from kernels.backends.c import lib
from kernels.operations import OPERATIONS
from kernels.types import DTYPES
from kernels.verify import check

FMA_ITERATIONS = 100_000  # 0.2 to 1 ms
CLOCK_ADDS = 1_000_000
PASS_BYTES = 1 << 24  # a call on arrays that fit a cache passes over them until it has read this much


@dataclass
class Probe:
    """A ceiling's probe, ready to be sampled again in any round: its row in the record, and how it is called.

    calls: calls per sample, once it was timed; row["calls"] also counts the passes that one call makes.
    """

    row: Row
    variant: Variant
    calls: int = 1


def fma_probe(threads: int, dtype: str, isa: str) -> Probe:
    """The FMA peak of an ISA: as many independent chains as saturate it, nothing loaded."""
    lanes = c.vector_bytes(isa) // DTYPES[dtype].itemsize
    dims = {"chains": c.chains(isa, dtype), "lanes": lanes, "iterations": FMA_ITERATIONS}
    call = c.peak(isa, dtype, threads, FMA_ITERATIONS)
    return Probe(make_row("probe", "fma", dtype, "c", isa, threads, dims=dims, level="core"), [call])


def clock_probe(threads: int) -> Probe:
    """The clock of the first thread's core: a chain of dependent adds, one cycle each."""
    call = partial(lib.dependent_adds, CLOCK_ADDS)
    return Probe(
        make_row("probe", "adds", "i64", "c", "generic", threads, dims={"adds": CLOCK_ADDS}, level="core"), [call]
    )


def stream_probe(
    operation: str, backend: str, arrays: Sequence[np.ndarray], threads: int, level: Level = "DRAM"
) -> Probe:
    """One STREAM operation on the arrays a, b, c (as many as it needs), checked against its reference on the way."""
    kernel = kernels.find(operation, "f64", backend, kernels.chosen_isa() if backend == "c" else None)
    op = OPERATIONS[operation]
    at = {name: array for name, array in zip("abc", arrays, strict=False)}
    inputs = [at[name] for name, _ in op.inputs]
    out = at.get(op.output[0], np.empty(1))
    n = arrays[0].size
    passes = max(1, PASS_BYTES // (8 * n)) if backend == "c" else 1
    before = [x.copy() for x in inputs] if op.in_place else inputs
    kernel.bind(*inputs, out=out, threads=threads)()
    check(operation, "f64", before, out)
    call = kernel.bind(*inputs, out=out, threads=threads, **({"passes": passes} if backend == "c" else {}))
    row = make_row("probe", operation, "f64", backend, kernel.isa, threads, dims={"n": n}, level=level, calls=passes)
    return Probe(row, [call])


MAKE: Mapping[str, Callable[..., Probe]] = {
    "fma": fma_probe,
    "adds": clock_probe,
    **{name: partial(stream_probe, name) for name, kind in PROBES.items() if not kind.operand},
}
"""How each of PROBES is made. A peak's maker takes (threads, dtype, isa), a clock's (threads), and one that counts
bytes (backend, arrays, threads, level).
"""


def of_roof(roof: str) -> list[Callable[..., Probe]]:
    """The makers of the probes that make a roof of this kind."""
    return [MAKE[name] for name, kind in PROBES.items() if kind.roof == roof]
