"""Weights that are only stored, at the edges of what their types hold, and activations that are hard to round."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import kernels
from kernels import Kernel
from kernels.operations import LINEAR
from kernels.types import TYPES, ElementType
from kernels.verify import WrongResult, check, reference
from support.cases import noting, thread_counts, verify

K = 384  # three groups of 128
SHAPES = ((1, 37), (5, 17))  # m, n
F16 = np.finfo(np.float16)


def _rows(which: Callable[[ElementType], bool], *operations: str) -> pytest.MarkDecorator:
    found = [k for k in kernels.KERNELS.values() if k.operation in operations and which(TYPES[k.types["w"]])]
    return pytest.mark.parametrize("kernel", found, ids=str, indirect=True)


each = _rows(lambda element: not element.native, *LINEAR)
each_rounding = _rows(lambda element: True, "linear_a8", "linear_a16")
each_integer = _rows(lambda element: not element.native and element.bits < 16, *LINEAR)
each_grouped = _rows(lambda element: element.group > 1, *LINEAR)
each_half = _rows(lambda element: not element.native and element.bits == 16, *LINEAR)


def element_of(kernel: Kernel) -> ElementType:
    return TYPES[kernel.types["w"]]


def random_weights(element: ElementType, n: int, k: int = K) -> np.ndarray:
    return element.encode(np.random.default_rng(5).standard_normal((n, k)))


def activations(m: int, k: int = K) -> np.ndarray:
    return np.random.default_rng(6).standard_normal((m, k)).astype(np.float32)


def right(kernel: Kernel, x: np.ndarray, w: np.ndarray, *teams: int) -> None:
    with np.errstate(all="ignore"):
        verify(kernel, [x, w], *(teams or (1,)))


# --- weights


def _set_scale(w: np.ndarray, element: ElementType, scale: float) -> None:
    if w.dtype.names:
        w["scale"] = scale
    else:
        w[..., -element.row_bytes :] = np.array([scale], np.float32).view(np.int8)


def _set_numbers(w: np.ndarray, element: ElementType, byte: int) -> None:
    """Every q, as a byte: two nibbles, or a signed byte."""
    if w.dtype.names:
        w["q"] = np.array(byte, np.uint8).astype(w["q"].dtype)
    else:
        w[..., : -element.row_bytes] = np.array(byte, np.uint8).view(np.int8)


EDGES = {"least": (0x80, 0x00), "largest": (0x7F, 0xFF), "both": (0x80, 0x0F), "second least": (0x81, 0x11)}
"""What every byte of q is: of 8 bits, and two nibbles of 4."""


@each_integer
def test_the_largest_numbers_saturate_nothing(kernel: Kernel) -> None:
    """All of them at once, and with activations at 127 all: sums of pairs in 16 bits would overflow."""
    element = element_of(kernel)
    for (m, n), (edge, bytes_), sign in product(SHAPES, EDGES.items(), (1, -1)):
        w = random_weights(element, n)
        _set_numbers(w, element, bytes_[element.bits < 8])
        if w.dtype.names and "zero" in w.dtype.names:
            w["zero"] = np.arange(w["zero"].size).reshape(w["zero"].shape) % 16
        with noting(f"{edge}, activations {sign}, m {m}, n {n}"):
            right(kernel, np.full((m, K), np.float32(sign * 1.5)), w)


SCALES = (float(F16.smallest_subnormal), 1000 * float(F16.smallest_subnormal), float(F16.max), -0.37, 0.0)


@each_integer
def test_extreme_scales(kernel: Kernel) -> None:
    """Of every group, and of one group among others: subnormal ones aren't flushed, the largest doesn't overflow."""
    element = element_of(kernel)
    for (m, n), scale in product(SHAPES, SCALES):
        everywhere, one = random_weights(element, n), random_weights(element, n)
        _set_scale(everywhere, element, scale)
        at = (-1, -1) if one.dtype.names else n // 2
        one[at] = everywhere[at]
        for w in (everywhere, one):
            with noting(f"scale {scale}, m {m}, n {n}"):
                right(kernel, activations(m), w)


@each_integer
def test_scales_that_are_no_numbers(kernel: Kernel) -> None:
    """Infinite ones, too, whatever is multiplied by them: nothing of their rows is finite, and other rows are right."""
    element = element_of(kernel)
    for (m, n), scale in product(SHAPES, (np.inf, -np.inf, np.nan)):
        x, w = activations(m), random_weights(element, n)
        broken = w.copy()
        _set_scale(broken[n // 2 : n // 2 + 1], element, scale)
        with np.errstate(invalid="ignore"):
            result = kernel(x, kernel.pack(broken))
        assert not np.isfinite(result[:, n // 2]).any()
        result[:, n // 2] = reference(kernel.operation, kernel.types, [x, w])[:, n // 2]
        with noting(f"scale {scale}, m {m}, n {n}"):
            check(kernel.operation, kernel.types, [x, w], result)


@each_grouped
def test_scales_of_all_sizes(kernel: Kernel) -> None:
    """Every eleventh finite f16, two of them in a row: whatever instruction converts them."""
    element, bits = element_of(kernel), np.arange(0, 1 << 16, 11, dtype=np.uint16).view(np.float16)
    scales = bits[np.isfinite(bits)]
    scales = scales[: len(scales) // 2 * 2].reshape(-1, 2)
    w = np.resize(random_weights(element, 64, 2 * element.group), scales.shape)
    w["scale"] = scales
    right(kernel, activations(1, 2 * element.group), w, *thread_counts(kernel))


HALVES = (6e-8, 1e-5, 65504.0, -65504.0, 1e-40, -1e37, np.inf, -np.inf, np.nan, 0.0, -0.0)


@each_half
def test_halves_at_their_edges(kernel: Kernel) -> None:
    """Subnormal, largest, beyond f16, infinite: as the type decodes them, one of them and all of them."""
    element = element_of(kernel)
    for (m, n), value in product(SHAPES, HALVES):
        everywhere, one = element.encode(np.full((n, K), value)), random_weights(element, n)
        one[n // 2, K - 1] = everywhere[0, 0]
        for w in (everywhere, one):
            with noting(f"{value}, m {m}, n {n}"):
                right(kernel, activations(m), w)


# --- activations


def _massive(x: np.ndarray) -> None:
    """A few values thousands of times the others', as language models have them: they take their group's scale."""
    x[:, 7] *= 3000
    x[:, K - 1] *= -20000
    x[0, 200] = 1e6


def _ties(x: np.ndarray) -> None:
    """127 is the largest of each group, and every other one lies in the middle of two multiples."""
    x[...] = np.random.default_rng(3).integers(-126, 126, x.shape) + np.float32(0.5)
    x[:, ::32] = 127


def _times(factor: float) -> Callable[[np.ndarray], None]:
    return lambda x: np.multiply(x, np.float32(factor), out=x)


ACTIVATIONS: dict[str, Callable[[np.ndarray], None]] = {
    "massive": _massive,
    "ties": _ties,
    "none": lambda x: x.fill(0),
    "a group of none": lambda x: x[:, 32:64].fill(0),
    "tiny": _times(2.0**-98),
    "about the least that isn't 0": _times(2.0**-101),
    "subnormal": _times(1e-41),
    "huge": _times(1e30),
    "one sign": lambda x: np.abs(x, out=x),
    "one in each group": lambda x: np.copyto(x, np.where(np.arange(K) % 32 == 31, x, np.float32(0))),
}


@each
def test_activations_that_are_hard_to_round(kernel: Kernel) -> None:
    for (m, n), (which, change) in product(SHAPES, ACTIVATIONS.items()):
        x = activations(m)
        change(x)
        with noting(f"{which}, m {m}, n {n}"):
            right(kernel, x, random_weights(element_of(kernel), n))


@each
def test_activations_that_are_no_numbers(kernel: Kernel) -> None:
    """In the first, a middle and the last group of a row: that row alone isn't finite."""
    for (m, n), value, at in product(SHAPES, (np.nan, np.inf, -np.inf), (0, 161, K - 1)):
        x = activations(m)
        x[m // 2, at] = value
        with noting(f"{value} at {at}, m {m}, n {n}"):
            right(kernel, x, random_weights(element_of(kernel), n))


@each_rounding
def test_what_rounding_costs_is_in_the_definition(kernel: Kernel) -> None:
    """With massive activations, that is: the bound is one of rounding in f32, and wouldn't let it pass."""
    x, w = activations(1), random_weights(element_of(kernel), 33)
    _massive(x)
    with pytest.raises(WrongResult):
        check("linear", kernel.types, [x, w], kernel(x, kernel.pack(w)))


@each
def test_one_packed_order_serves_every_number_of_rows(kernel: Kernel) -> None:
    """The same packed weights for one token and for a prompt, on any team."""
    w = random_weights(element_of(kernel), 40)
    packed, x = kernel.pack(w), activations(19)
    for m in (*range(1, 10), 16, 17, 19):
        for threads in thread_counts(kernel):
            check(kernel.operation, kernel.types, [x[:m], w], kernel(x[:m], packed, threads=threads))
