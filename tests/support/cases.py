"""Shapes and arrays that kernels stumble over, and how a result is examined."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

import kernels
from kernels import DTYPES, OPERATIONS, TYPES, Kernel, sparse
from kernels.arrays import aligned_empty
from kernels.backends import c as native
from kernels.operations import SCALAR_GEMMS
from kernels.types import ElementType
from kernels.verify import check, error_bound, reference

Dims = Mapping[str, int]
BATCH = 3  # matrices of a batched product
ROOM = 8  # elements around an array: a cache line of doubles, so that non-temporal stores find it aligned
FRAME = -77.0


def blocks(kernel: Kernel) -> tuple[int, int, int, int]:
    """(mr, nr, lanes, kc) of a kernel; of a library, whose blocks aren't known, those of the C kernels."""
    size = DTYPES[kernel.dtype].itemsize
    isa = kernel.isa if kernel.isa in native.ISAS else kernels.chosen_isa()
    mr, nr = native.tile(isa, kernel.dtype)
    kc = max(64, native.lib.cache_bytes(1) * 3 // ((mr + nr) * size))  # as csrc/plan.c has it
    return mr, nr, native.vector_bytes(isa) // size, kc


def size_of(dims: Dims, dimension: str) -> int:
    """A dimension's size; "1" is one, and a batch of unsaid size BATCH."""
    return {"batch": BATCH, "1": 1, **dims}[dimension]


def dimensions(kernel: Kernel) -> set[str]:
    """The names of an operation's dimensions."""
    return {d for _, dims in OPERATIONS[kernel.operation].operands for d in dims} - {"1"}


def shapes(kernel: Kernel) -> Iterator[Dims]:
    """Awkward dimensions: one, primes, around vectors, register tiles and cache blocks."""
    mr, nr, lanes, kc = blocks(kernel)
    names = dimensions(kernel)
    if names == {"n"}:
        sizes: Iterable[tuple[int, int, int]] = [(1, n, 1) for n in (1, 3, lanes - 1, 8, 9, 64, 509, 4096, 65_537)]
    elif kernel.operation.startswith("linear"):
        sizes = [
            *((m, n, 33) for m in (1, 2, mr, mr + 1) for n in (1, lanes - 1, 2 * lanes + 1)),
            *((m, 7 * lanes + 3, k) for m in (1, 3, 2 * mr + 1) for k in (1, 8, 129, 384)),
            (67, 137, 2085),  # more rows of x than half of L2 holds
        ]
    elif "m" not in names:
        edges = (1, lanes - 1, lanes + 1, 4 * lanes - 1, 4 * lanes + 1, 137)
        sizes = [(1, *nk) for nk in (*product(edges, edges), (3, kc + 1), (kc + 1, 3), (307, 509))]
    else:
        half_l2 = native.lib.cache_bytes(2) // 2 // DTYPES[kernel.dtype].itemsize
        sizes = [
            *product((1, mr - 1, mr, mr + 1), (1, lanes - 1, nr - 1, nr, nr + 1), (1, 17)),
            *((mr + 1, nr + 1, k) for k in (63, 64, 65, kc - 1, kc, kc + 1, 2 * kc + 1)),
            (2 * mr + 1, 4 * nr + 1, 31),
            (307, 5, 3),
            (5, 1031, 3),
            (mr + 1, 40 * nr + 1, kc),
        ]
        if "k" in names and "batch" not in names and kernel.operation not in SCALAR_GEMMS:  # A in blocks
            sizes += [
                (half_l2 // kc + mr + 1, 5 * nr + 1, kc),  # more rows of A than half of L2 holds, B kept between blocks
                (half_l2 // kc * 2 + 1, nr + 1, kc + 1),
            ]
    for size in sizes:
        if all(size):  # a lane less than one vector may be none
            yield {name: value for name, value in zip("mnk", size, strict=True) if name in names}


def framed(values: np.ndarray, element: ElementType, around: float) -> tuple[np.ndarray, np.ndarray]:
    """(frame, view): the values, encoded, in the middle of a larger array: rows don't follow each other."""
    encoded = element.encode(values)
    frame = aligned_empty(tuple(size + 2 * ROOM for size in encoded.shape), element.storage)
    put(frame, ..., around, element)
    view = frame[tuple(slice(ROOM, ROOM + size) for size in encoded.shape)]
    view[...] = encoded
    return frame, view


def put(array: np.ndarray, where: Any, value: float, element: ElementType) -> None:
    """Sets items of an array, elements or their groups, to one value."""
    array[where] = element.encode(np.full(element.group, value))[0]


def operand_types(kernel: Kernel) -> list[ElementType]:
    """The element types of its inputs."""
    return [TYPES[kernel.types[name]] for name, _ in OPERATIONS[kernel.operation].inputs]


def whole(kernel: Kernel, dims: Dims) -> Dims:
    """The dimensions, of grouped elements up to the next whole group."""
    rounded = {**dims}
    for (_, names), element in zip(OPERATIONS[kernel.operation].inputs, operand_types(kernel), strict=True):
        if element.group > 1:
            rounded[names[-1]] = -(-size_of(dims, names[-1]) // element.group) * element.group
    return rounded


def make_inputs(kernel: Kernel, dims: Dims, seed: int = 11) -> list[np.ndarray]:
    """Random inputs, each surrounded by NaN: what is read beyond an edge shows in the result."""
    random = np.random.default_rng(seed)
    inputs, dims = [], whole(kernel, dims)
    for (_, names), element in zip(OPERATIONS[kernel.operation].inputs, operand_types(kernel), strict=True):
        values = random.standard_normal([size_of(dims, d) for d in names])
        if names == ("1",):  # a scale, or what keeps a variance from being 0: positive
            values = abs(values)
        if OPERATIONS[kernel.operation].stored and len(names) == 2:
            values = sparse.prune(kernel.operation, values, 2 * values.size // 5, random)
        inputs.append(framed(values, element, np.nan)[1])
    return inputs


def arguments(
    kernel: Kernel, inputs: Sequence[np.ndarray], threads: int = 1, out: np.ndarray | None = None
) -> list[Any]:
    """The inputs as the kernel takes them; where it works in place, the first is `out`, which holds it already."""
    if out is not None and OPERATIONS[kernel.operation].in_place:
        return [out, *inputs[1:]]
    op = OPERATIONS[kernel.operation]
    packed = op.weights if op.packed else None
    named = zip(op.inputs, inputs, strict=True)
    return [kernel.pack(x, threads) if name == packed else x for (name, _), x in named]


def output_for(kernel: Kernel, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(frame, out): an output full of NaN, or of an in-place operation's input, in a frame of FRAME."""
    op = OPERATIONS[kernel.operation]
    dims = op.dims(element.shape(x.shape) for element, x in zip(operand_types(kernel), inputs, strict=True)) | {"1": 1}
    frame, out = framed(np.full([dims[d] for d in op.output[1]], np.nan), TYPES[kernel.dtype], FRAME)
    if op.in_place:
        out[...] = inputs[0]
    return frame, out


@contextmanager
def noting(text: str) -> Iterator[None]:
    """Adds to a failure which case it was."""
    try:
        yield
    except Exception as error:
        error.add_note(text)
        raise


def verify(kernel: Kernel, inputs: Sequence[np.ndarray], *teams: int) -> None:
    """The result is right on teams of each size, also the second time; inputs and what surrounds the output stay."""
    before = [x.copy() for x in inputs]
    known = [of(kernel.operation, kernel.types, before) for of in (reference, error_bound)]
    for threads in teams:
        frame, out = output_for(kernel, inputs)
        given = arguments(kernel, inputs, threads, out)
        call = kernel.bind(*given, out=out, threads=threads)
        kernels.set_threads(threads)
        for _ in range(1 if OPERATIONS[kernel.operation].in_place else 2):
            call()
            with noting(f"{threads} threads"):
                check(kernel.operation, kernel.types, before, out, *known)
        for x, old in zip(inputs, before, strict=True):
            assert x.tobytes() == old.tobytes(), "wrote into an input"
        out[...] = FRAME
        assert (frame == FRAME).all(), "wrote beside the output"


def thread_counts(kernel: Kernel) -> range:
    return range(1, min(3, kernel.most_threads) + 1)
