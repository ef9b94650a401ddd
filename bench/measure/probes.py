"""The probes of the ceilings: peaks, clock, and the STREAM operations, each ready to be sampled in any round."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import numpy as np

import kernels
from bench.measure.arrays import huge_page_share, stream_arrays
from bench.measure.timing import Variant
from bench.record.probes import PROBES
from bench.record.row import Level, Row, make_row
from kernels.backends import c
from kernels.backends.c import lib
from kernels.operations import OPERATIONS
from kernels.types import DTYPES, TYPES
from kernels.verify import check

FMA_ITERATIONS = 100_000  # 0.2 to 1 ms
DOT_PRODUCTS = 400_000  # of a lane of each chain: about as long
SUM_BYTES = 4  # of integers, and of bf16
CLOCK_ADDS = 1_000_000
PIECE_BYTES = 1 << 25  # of memory, in one sample of the roof beside a kernel: 1 to 2 ms
PASS_BYTES = 1 << 24  # a call on arrays that fit a cache passes over them until it has read this much


@dataclass
class Probe:
    """A ceiling's probe, ready to be sampled again in any round: its row in the record, and how it is called.

    calls   calls per sample, 0 until it was timed; row["calls"] also counts the passes that one call makes
    memory  what its samples walk through in turn, to be touched before them
    """

    row: Row
    variant: Variant
    calls: int = 0
    memory: Sequence[np.ndarray] = ()


def fma_probe(threads: int, dtype: str, isa: str) -> Probe:
    """The FMA peak of an ISA: as many independent chains as saturate it, nothing loaded."""
    lanes = c.vector_bytes(isa) // DTYPES[dtype].itemsize
    dims = {"chains": c.chains(isa, dtype), "lanes": lanes, "iterations": FMA_ITERATIONS}
    call = c.peak(isa, dtype, threads, FMA_ITERATIONS)
    return Probe(make_row("probe", "fma", dtype, "c", isa, threads, dims=dims, level="core"), [call])


def dot_probe(threads: int, element: str, isa: str) -> Probe:
    """The peak of products with rounded activations, as linear_a8 and linear_a16 make them of weights in `element`: see
    csrc/per_isa/peak.h.
    """
    lanes, products = c.vector_bytes(isa) // SUM_BYTES, c.products(isa, element)
    iterations = DOT_PRODUCTS // products
    dims = {"chains": c.chains(isa, element), "lanes": lanes, "iterations": iterations, "products": products}
    call = c.peak(isa, element, threads, iterations)
    return Probe(make_row("probe", "dot", element, "c", isa, threads, dims=dims, level="core"), [call])


def peak_probe(threads: int, type_: str, isa: str) -> Probe:
    """The peak of a type that is native, or of what linear_a8 and linear_a16 multiply."""
    return (fma_probe if TYPES[type_].native else dot_probe)(threads, type_, isa)


def peak_types(dtype: str, stored: Iterable[str]) -> list[str]:
    """The types whose peaks products in `dtype`, and with weights that are `stored`, are held against."""
    found = {element: [OPERATIONS[name] for name, of in c.OPERATIONS if of == element] for element in stored}
    own = [op.multiplied(op.types_for(element)) for element, every in found.items() for op in every]
    return list(dict.fromkeys([dtype, *own]))


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
    row = make_row(
        "probe",
        operation,
        "f64",
        backend,
        kernel.isa,
        threads,
        dims={"n": n},
        level=level,
        calls=passes,
        huge_pages=huge_page_share(arrays[0]),
    )
    return Probe(row, [call])


def walking(operation: str, size: int, threads: int) -> Probe:
    """A read pattern on pieces of `size` bytes of memory in turn: short enough to be sampled beside every kernel.

    A piece comes round again once all of the others were read, so it is cold each time.
    """
    pieces = max(1, size // PIECE_BYTES)
    parts = [stream_arrays(1, PIECE_BYTES // 8, threads) for _ in range(pieces)]
    row = stream_probe(operation, "c", parts[0], threads).row
    kernel = kernels.find(operation, "f64", "c", row["isa"])
    calls = cycle([kernel.bind(*part, out=np.empty(1), threads=threads) for part in parts])
    memory = [array for part in parts for array in part]
    return Probe({**row, "cold": [OPERATIONS[operation].inputs[0][0]]}, [lambda: next(calls)()], memory=memory)


MAKE: Mapping[str, Callable[..., Probe]] = {
    "fma": fma_probe,
    "dot": dot_probe,
    "adds": clock_probe,
    **{name: partial(stream_probe, name) for name, kind in PROBES.items() if not kind.operand},
}
"""How each of PROBES is made. A peak's maker takes (threads, dtype, isa), a clock's (threads), and one that counts
bytes (backend, arrays, threads, level).
"""


def of_roof(roof: str) -> list[Callable[..., Probe]]:
    """The makers of the probes that make a roof of this kind."""
    return [MAKE[name] for name, kind in PROBES.items() if kind.roof == roof]
