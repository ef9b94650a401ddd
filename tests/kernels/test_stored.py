"""Weights that are only stored, at the edges of what their types hold, and activations that are hard to round."""

from collections.abc import Callable

import numpy as np
import pytest

import kernels
import kernels.verify
from kernels import Kernel
from kernels.operations import LINEAR
from kernels.types import TYPES, ElementType
from support.cases import noting, thread_counts, verify

K = 384  # three groups of 128
SHAPES = ((1, 37), (2, 8), (5, 17), (17, 65))  # m, n
F16 = np.finfo(np.float16)

ROWS = [
    kernel for kernel in kernels.KERNELS.values() if kernel.operation in LINEAR and not TYPES[kernel.types["w"]].native
]
each = pytest.mark.parametrize("kernel", ROWS, ids=str, indirect=True)
each_rounding = pytest.mark.parametrize(
    "kernel", [kernel for kernel in ROWS if kernel.operation == "linear_a8"], ids=str, indirect=True
)


def element_of(kernel: Kernel) -> ElementType:
    return TYPES[kernel.types["w"]]


def random_weights(element: ElementType, n: int, k: int = K, seed: int = 5) -> np.ndarray:
    return element.encode(np.random.default_rng(seed).standard_normal((n, k)))


def activations(m: int, k: int = K, seed: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((m, k)).astype(np.float32)


def bound_and_right(kernel: Kernel, x: np.ndarray, w: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        verify(kernel, [x, w], *thread_counts(kernel))


# --- weights


def _set_scale(w: np.ndarray, element: ElementType, scale: float) -> None:
    if w.dtype.names:
        w["scale"] = scale
    elif element.row_bytes:
        w[..., -element.row_bytes :] = np.array([scale], np.float32).view(np.int8)


def _set_numbers(w: np.ndarray, element: ElementType, byte: int) -> None:
    """Every q, as a byte: two nibbles, or a signed byte."""
    if w.dtype.names:
        w["q"] = np.array(byte, np.uint8).astype(w["q"].dtype)
    else:
        w[..., : w.shape[-1] - element.row_bytes] = np.array(byte, np.uint8).view(np.int8)


EDGES = {"least": (0x80, 0x00), "largest": (0x7F, 0xFF), "mixed": (0x80, 0x0F), "second least": (0x81, 0x11)}
"""What every byte of q is: of 8 bits, and two nibbles of 4."""


@each
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("edge", EDGES)
def test_the_largest_numbers_saturate_nothing(kernel: Kernel, edge: str, sign: int) -> None:
    """All of them at once, and with activations at 127 all: sums of pairs in 16 bits would overflow."""
    element = element_of(kernel)
    if element.name in ("bf16", "f16"):
        pytest.skip("no integers")
    for m, n in SHAPES:
        w = random_weights(element, n)
        _set_numbers(w, element, EDGES[edge][element.bits < 8])
        if w.dtype.names and "zero" in w.dtype.names:
            w["zero"][...] = np.arange(w["zero"].size).reshape(w["zero"].shape) % 16
        x = np.full((m, K), np.float32(sign * 1.5))
        with noting(f"m {m}, n {n}"):
            bound_and_right(kernel, x, w)


SCALES = {
    "the least subnormal": float(F16.smallest_subnormal),
    "a subnormal": 1000 * float(F16.smallest_subnormal),
    "the largest": float(F16.max),
    "negative": -0.37,
    "none": 0.0,
    "infinite": np.inf,
    "no number": np.nan,
}


@each
@pytest.mark.parametrize("which", SCALES)
def test_extreme_scales(kernel: Kernel, which: str) -> None:
    """Of every group, and of one group among others: nothing is flushed, and what isn't finite stays in its row."""
    element = element_of(kernel)
    if element.name in ("bf16", "f16"):
        pytest.skip("no scales")
    for m, n in SHAPES:
        w = random_weights(element, n)
        _set_scale(w, element, SCALES[which])
        one = random_weights(element, n)
        if w.dtype.names:
            one[-1, -1], one[0, 0] = w[-1, -1], w[0, 0]
        else:
            one[n // 2] = w[n // 2]
        for given in (w, one):
            with noting(f"m {m}, n {n}"):
                bound_and_right(kernel, activations(m), given)


HALVES = [6e-8, 1e-5, 65504.0, -65504.0, 1e-40, -3e38, np.inf, -np.inf, np.nan, 0.0, -0.0]


@each
@pytest.mark.parametrize("value", HALVES)
def test_halves_at_their_edges(kernel: Kernel, value: float) -> None:
    """Subnormal, largest, beyond f16, infinite: as the type decodes them, one of them and all of them."""
    element = element_of(kernel)
    if element.name not in ("bf16", "f16"):
        pytest.skip("no halves")
    for m, n in SHAPES:
        everywhere, one = element.encode(np.full((n, K), value)), random_weights(element, n)
        one[n // 2, K - 1] = everywhere[0, 0]
        for w in (everywhere, one):
            with noting(f"m {m}, n {n}"):
                bound_and_right(kernel, activations(m), w)


@each
def test_every_scale(kernel: Kernel) -> None:
    """Each finite f16, two of them in a row: whatever instruction converts them."""
    element = element_of(kernel)
    if element.group == 1:
        pytest.skip("no f16 scales")
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    scales = bits[np.isfinite(bits)].reshape(-1, 2)
    w = np.resize(random_weights(element, 64, 2 * element.group), scales.shape)
    w["scale"] = scales
    bound_and_right(kernel, activations(1, 2 * element.group), w)


# --- activations


def _massive(x: np.ndarray) -> None:
    """A few values thousands of times the others', as language models have them: they take their group's scale."""
    x[:, 7] *= 3000
    x[:, K - 1] *= -20000
    x[0, 200] = 1e6


def _ties(x: np.ndarray) -> None:
    """127 is the largest of each group, so that every other one lies in the middle of two multiples."""
    x[...] = np.random.default_rng(3).integers(-126, 126, x.shape) + np.float32(0.5)
    x[:, ::32] = 127


ACTIVATIONS: dict[str, Callable[[np.ndarray], None]] = {
    "massive": _massive,
    "ties": _ties,
    "none": lambda x: x.fill(0),
    "a group of none": lambda x: x[:, 32:64].fill(0),
    "tiny": lambda x: np.multiply(x, np.float32(2.0**-98), out=x),
    "below the least scale": lambda x: np.multiply(x, np.float32(2.0**-110), out=x),
    "subnormal": lambda x: np.multiply(x, np.float32(1e-41), out=x),
    "huge": lambda x: np.multiply(x, np.float32(1e36), out=x),
    "the largest": lambda x: x.fill(np.finfo(np.float32).max),
    "one sign": lambda x: np.abs(x, out=x),
    "one in each group": lambda x: np.copyto(x, np.where(np.arange(K) % 32 == 31, x, np.float32(0))),
}


@each
@pytest.mark.parametrize("which", ACTIVATIONS)
def test_activations_that_are_hard_to_round(kernel: Kernel, which: str) -> None:
    for m, n in SHAPES:
        x = activations(m)
        ACTIVATIONS[which](x)
        with noting(f"m {m}, n {n}"):
            bound_and_right(kernel, x, random_weights(element_of(kernel), n))


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_activations_that_are_no_numbers(kernel: Kernel, value: float) -> None:
    """In the first, a middle and the last group of a row: that row alone isn't finite."""
    for m, n in SHAPES:
        w = random_weights(element_of(kernel), n)
        for at in (0, 161, K - 1):
            x = activations(m)
            x[m // 2, at] = value
            with noting(f"m {m}, n {n}, element {at}"):
                bound_and_right(kernel, x, w)


@each_rounding
def test_massive_activations_change_what_is_rounded(kernel: Kernel) -> None:
    """What 8 bits cost there is in the definition, not in the bound: without it the same result would be wrong."""
    x, w = activations(1), random_weights(element_of(kernel), 33)
    _massive(x)
    x = x[:1]
    with pytest.raises(kernels.verify.WrongResult):
        kernels.verify.check("linear", kernel.types, [x, w], kernel(x, kernel.pack(w)))


@each
def test_one_packed_order_serves_every_number_of_rows(kernel: Kernel) -> None:
    """The same packed weights for one token and for a prompt; a row's result doesn't depend on how many enter."""
    w = random_weights(element_of(kernel), 40)
    packed, x = kernel.pack(w), activations(19)
    for m in (*range(1, 10), 16, 17, 19):
        kernels.verify.check(kernel.operation, kernel.types, [x[:m], w], kernel(x[:m], packed))
