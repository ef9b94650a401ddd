"""Libraries on weights that are only stored: weights taken apart, activations rounded, and what results have to be."""

import subprocess
import sys

import numpy as np
import pytest

from kernels.backends import libraries
from kernels.backends.libraries.activations import Activations
from kernels.backends.libraries.linear import parts
from kernels.definitions import rounded_to_8_bits
from kernels.types import TYPES
from kernels.verify import WrongResult, check
from support.needed import absent

RNG = np.random.default_rng(12)
TAKEN_APART = ("i8", "i8g32", "i4g32", "i4g128", "u4g32", "u4g128")
EIGHT_BITS = Activations(scale="f16")


@pytest.mark.parametrize("element", TAKEN_APART)
def test_parts_make_the_whole(element: str) -> None:
    """Numbers, less their zero points, times their scales are the weights, exactly."""
    w = TYPES[element].encode(RNG.standard_normal((7, 256)) + 0.3)
    scale = parts.scales(element, w).astype(np.float64)
    if element.startswith("i8"):
        q = parts.bytes_of(element, w).astype(np.float64)
    else:
        zero = parts.zeros(element, w)
        q = parts.numbers(w).astype(np.float64) - zero.repeat(256 // zero.shape[1], axis=1)
        assert set(np.unique(parts.numbers(w))) == set(range(16))
    np.testing.assert_array_equal(q * scale.repeat(256 // scale.shape[1], axis=1), TYPES[element].decode(w))


def test_pairs_begin_in_the_low_half() -> None:
    assert parts.pairs(np.array([[1, 2, 3, 4], [5, 6, 7, 15]], np.uint8)).tolist() == [[0x21, 0x43], [0x65, 0xF7]]
    assert parts.pairs(np.array([[1, 2, 3]], np.uint8)).tolist() == [[0x21, 0x03]]


def test_groups_are_rounded_as_linear_a8_defines() -> None:
    x = RNG.standard_normal((5, 96)).astype(np.float32)
    found, off = Activations().rounded(x)
    np.testing.assert_allclose(found[off == 0], rounded_to_8_bits(x)[off == 0], rtol=2**-22)
    assert (off == 0).mean() > 0.9


def test_scale_of_a_matrix_reaches_from_its_least_to_its_largest() -> None:
    x = np.array([[-1.0, 0.0, 0.4], [0.5, 1.55, 1.04]], np.float32)
    found, _ = Activations(group=-1, levels=255, affine=True).rounded(x)
    np.testing.assert_allclose(found, np.rint(x * 100) / 100, atol=1e-7)  # 2.55 in 255 steps
    positive, _ = Activations(group=0, levels=127, affine=True).rounded(
        np.array([[1.0, 12.7], [0.2, 1.27]], np.float32)
    )
    np.testing.assert_allclose(positive, [[1.0, 12.7], [0.2, 1.27]], rtol=1e-6)  # from 0, each row by itself


def test_activations_near_the_middle_may_be_a_step_off() -> None:
    x = np.array([[127.0, 3.5, 3.501, 3.6, -7.4999, 0.0]], np.float32)
    found, off = Activations(group=32).rounded(x)
    assert off.tolist() == [[0, 1, 1, 0, 1, 0]]
    assert found[0, 3] == 4
    zeros, never = Activations().rounded(np.zeros((2, 40), np.float32))
    assert not zeros.any() and not never.any()


def test_halves_are_rounded_to_nearest_even() -> None:
    found, off = Activations("bf16").rounded(np.array([[1 + 2**-8, 1 + 3 * 2**-8]], np.float32))
    assert found.tolist() == [[1.0, 1 + 2**-6]]
    assert not off.any()


@pytest.mark.parametrize("rounding", [EIGHT_BITS, Activations("bf16"), Activations(group=-1, levels=127, affine=True)])
def test_results_with_a_lost_term_are_wrong(rounding: Activations) -> None:
    types = {"x": "f32", "w": "i8g32", "y": "f32"}
    x, w = RNG.standard_normal((3, 768)).astype(np.float32), TYPES["i8g32"].encode(RNG.standard_normal((5, 768)))
    expected, bound = rounding.meaning(types, [x, w])
    near, _ = rounding.rounded(x)
    right = (near.astype(np.float32) @ TYPES["i8g32"].decode(w).astype(np.float32).T).astype(np.float32)
    check("linear", types, [x, w], right, expected, bound)
    with pytest.raises(WrongResult):
        check("linear", types, [x, w], (x @ TYPES["i8g32"].decode(w).T).astype(np.float32), expected, bound)
    lost = np.argsort(np.abs(near[0]))[384]  # an activation of average size
    near[0, lost] = 0
    with pytest.raises(WrongResult):
        check("linear", types, [x, w], (near @ TYPES["i8g32"].decode(w).T).astype(np.float32), expected, bound)


def test_output_in_bf16_widens_the_bound_by_its_roundoff() -> None:
    types = {"x": "f32", "w": "bf16", "y": "f32"}
    x, w = RNG.standard_normal((2, 64)).astype(np.float32), TYPES["bf16"].encode(RNG.standard_normal((3, 64)))
    expected, narrow = Activations("bf16").meaning(types, [x, w])
    _, wide = Activations("bf16", output="bf16").meaning(types, [x, w])
    np.testing.assert_allclose(wide - narrow, 2**-8 * np.abs(expected), rtol=0.01)


def test_rows_are_of_stored_types_alone() -> None:
    rows = libraries.rows_of(stored=True)
    assert {row.operation for row in rows} == {"linear", "linear_a8"}
    assert all(not TYPES[row.types["w"]].native and row.dtype == "f32" for row in rows)
    assert all(row.meaning for row in rows if row.operation == "linear_a8")  # none rounds as its definition says
    assert not set(rows) & set(libraries.rows_of(stored=False))
    assert {*rows, *libraries.rows_of(stored=False)} == set(libraries.rows())
    assert {row.backend for row in rows if row.types["w"] == "i4g32"} == {"onnxruntime", "openvino", "ggml"}


STORED = [library for library in libraries.LIBRARIES if library.stored]
MULTIPLY = """
import sys
import numpy as np
from kernels.backends import libraries
from kernels.types import TYPES
random = np.random.default_rng(3)
for row in libraries.rows_of(stored=True):
    if row.backend != sys.argv[1]:
        continue
    for m, n, k in ((1, 48, 256), (5, 129, 384), (40, 8, 128)):
        w = TYPES[row.types["w"]].encode(random.standard_normal((n, k)))
        x = random.standard_normal((m, k)).astype(np.float32)
        y = row(x, row.pack(w, 2), threads=2)
        row.check([x, w], y)
        row.check([2 * x, w], row(2 * x, row.pack(w, 2), threads=2))
    print(row.operation, row.types["w"])
"""


@pytest.mark.parametrize("library", STORED, ids=lambda library: library.backend)
def test_results_are_right(library: libraries.Library) -> None:
    """Each row on a few shapes, in a process of its own; a wrong result would end it."""
    if library.version() is None:
        absent(library.backend, f"{library.backend}: {library.rows()[0].reason}")
    ran = subprocess.run([sys.executable, "-c", MULTIPLY, library.backend], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [tuple(line.split()) for line in ran.stdout.splitlines()] == list(library.stored)
