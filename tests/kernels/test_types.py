"""Element types by operand: bytes counted by hand, toy types that are only stored, and their kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import KERNELS, OPERATIONS, TYPES, Kernel
from kernels.types import ElementType, Types, accumulator, expand, label
from kernels.verify import WrongResult, check, error_bound, reference
from support.cases import make_inputs, output_for, verify

U24 = np.dtype("V3")
I4 = np.dtype([("scale", np.float16), ("nibbles", np.uint8, 16)])


def encode_u24(x: np.ndarray) -> np.ndarray:
    """f32 without the last byte of its significand, rounded to nearest."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    nearest = np.where(np.isfinite(x), bits + 0x80, bits) >> 8
    return np.ascontiguousarray(nearest.astype("<u4")[..., None].view(np.uint8)[..., :3]).view(U24)[..., 0]


def decode_u24(x: np.ndarray) -> np.ndarray:
    bits = np.zeros((*x.shape, 4), np.uint8)
    bits[..., 1:] = np.ascontiguousarray(x)[..., None].view(np.uint8)
    return bits.view("<f4")[..., 0].astype(np.float64)


def encode_i4(x: np.ndarray) -> np.ndarray:
    """Groups of 32 in a row share a scale; nibbles are 8 more than the number."""
    groups = np.asarray(x, np.float64).reshape(*x.shape[:-1], -1, 32)
    items = np.zeros(groups.shape[:-1], I4)
    items["scale"] = np.abs(groups).max(-1) / 7
    numbers = np.rint(groups / items["scale"].astype(np.float64)[..., None]) + 8
    numbers = np.where(np.isfinite(numbers), numbers, 0).astype(np.uint8)
    items["nibbles"] = numbers[..., ::2] | numbers[..., 1::2] << 4
    return items


def decode_i4(x: np.ndarray) -> np.ndarray:
    numbers = np.stack([x["nibbles"] & 15, x["nibbles"] >> 4], -1).reshape(*x.shape, 32) - 8.0
    return (numbers * x["scale"].astype(np.float64)[..., None]).reshape(*x.shape[:-1], -1)


TOYS = (
    ElementType("u24", U24, "f32", 2**-16, decode_u24, encode_u24),
    ElementType("t4g32", I4, "f32", 2**-3, decode_i4, encode_i4, group=32),
)


@pytest.fixture(params=TOYS, ids=lambda toy: toy.name)
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ElementType:
    """A type that is only stored, as if it had a row in TYPES."""
    element: ElementType = request.param
    for each in TOYS:
        monkeypatch.setitem(TYPES, each.name, each)  # type: ignore[arg-type]
    return element


# --- the types themselves


@pytest.mark.parametrize("element", [*TYPES.values(), *TOYS], ids=lambda element: element.name)
def test_rounding(element: ElementType) -> None:
    """What is decoded is off by no more than the unit roundoff, of its group's largest, and not by far less either."""
    x = np.random.default_rng(3).uniform(-1000, 1000, (50, 384))
    x = np.rint(x) if element.storage.kind == "i" else x
    stored = element.encode(x)
    assert (stored.dtype, element.shape(stored.shape)) == (element.storage, x.shape)
    again = element.decode(stored)
    assert (again.dtype, again.shape) == (np.float64, x.shape)
    group = 384 if element.row_bytes else element.group
    largest = np.abs(x).reshape(50, -1, group).max(-1).repeat(group, -1).reshape(x.shape)
    error = np.max(np.abs(again - x) / np.maximum(largest, 1e-300))
    assert error <= element.unit_roundoff
    assert error >= element.unit_roundoff / 2.1 or element.storage.itemsize == 8  # then nothing of a float64 is lost
    if "zero" not in (element.storage.names or ()):  # its least and largest needn't be the ends of its scale
        np.testing.assert_array_equal(element.decode(element.encode(again)), again)


def test_bits_and_bytes() -> None:
    u24, i4 = TOYS
    assert [TYPES[name].bytes(5) for name in ("f32", "f64", "i64")] == [20, 40, 40]
    assert (u24.bits, u24.bytes(5)) == (24, 15)
    assert i4.bits == 4.5  # 16 bytes of nibbles and an f16 scale for 32
    assert [i4.bytes(count) for count in (1, 32, 33, 96)] == [18, 18, 36, 54]


def test_bytes_are_summed_operand_by_operand(toy: ElementType) -> None:
    gemv, gemm = OPERATIONS["gemv"], OPERATIONS["gemm"]
    n, k, m = 7, 96, 5
    weights = {"u24": 3 * n * k, "t4g32": 18 * n * k // 32}[toy.name]
    assert gemv.operand_bytes({"n": n, "k": k}, {"w": toy.name}) == {"w": weights, "x": 4 * k, "y": 4 * n}
    assert gemv.bytes({"n": n, "k": k}, {"w": toy.name}) == weights + 4 * (k + n)
    assert gemv.intensity({"n": n, "k": k}, {"w": toy.name}) == 2 * n * k / (weights + 4 * (k + n))
    rows = {"u24": 3 * k * 40, "t4g32": k * 2 * 18}[toy.name]  # a row of 40 fills two groups of 32
    assert gemm.bytes({"m": m, "n": 40, "k": k}, {"b": toy.name}) == 4 * m * k + rows + 4 * m * 40
    assert gemm.flops({"m": m, "n": 40, "k": k}) == 2 * m * 40 * k


@pytest.mark.parametrize(
    ("operation", "words", "in_place", "allocated"),
    [
        ("gemm", 3 * 5 + 5 * 7 + 3 * 7, 0, 0),
        ("gemm_batch_t", 2 * (3 * 5 + 5 * 7 + 3 * 7), 0, 0),
        ("gemv", 7 * 5 + 5 + 7, 0, 0),
        ("softmax", 2 * 2 * 3 * 7 + 1, 2 * 3 * 7, 0),
        ("residual_norm", 3 * 3 * 7 + 3 * 7 + 1, 0, 0),
        ("triad", 3 * 7, 0, 7),
        ("triad_nt", 3 * 7, 0, 0),
        ("update", 2 * 7, 7, 0),
        ("read", 7, 0, 0),
    ],
)
def test_bytes_of_one_type(operation: str, words: int, in_place: int, allocated: int) -> None:
    op, dims = OPERATIONS[operation], {"batch": 2, "m": 3, "n": 7, "k": 5}
    for name, size in (("f32", 4), ("f64", 8)):
        assert op.bytes(dims, name) == words * size
        assert op.delivered(dims, name) == (words - in_place) * size
        assert op.allocated(dims, name) == allocated * size


# --- types of all operands, and their names


def test_operands_left_unnamed_have_the_accumulator(toy: ElementType) -> None:
    assert expand("wxy", "f64") == {"w": "f64", "x": "f64", "y": "f64"}
    mixed = expand("wxy", {"w": toy.name})
    assert mixed == {"w": toy.name, "x": "f32", "y": "f32"} == OPERATIONS["gemv"].types_for(toy.name)
    assert (accumulator(mixed), label(mixed), label(expand("wxy", "f64"))) == ("f32", f"w.{toy.name}-f32", "f64")
    assert label(expand("abc", {"b": toy.name, "c": "f32"})) == f"b.{toy.name}-f32"
    assert OPERATIONS["gemv"].types_for("f64") == expand("wxy", "f64")


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ("f128", "no element type f128: there are f32, f64"),
        ({"w": "f128"}, "no element type f128"),
        ({"b": "f32"}, "no operand b: there are w, x, y"),
        ({"w": "f32", "x": "f64"}, "summed in different types: f32, f64"),
        ({}, "types names no element type"),
    ],
)
def test_types_that_make_no_sense(types: str | Types, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand("wxy", types)


@pytest.mark.parametrize("types", [None, np.float32, ["f32"], {"w": ["f32"]}])
def test_types_that_are_no_names(types: object) -> None:
    with pytest.raises(TypeError, match="types must be a name, or names by operand, not "):
        kernels.find("gemv", types, "c")  # type: ignore[arg-type]


def test_only_weights_are_only_stored(toy: ElementType) -> None:
    with pytest.raises(ValueError, match=f"softmax has no weights that could be {toy.name}"):
        OPERATIONS["softmax"].types_for(toy.name)
    for op in OPERATIONS.values():
        assert op.weights in (None, *(name for name, _ in op.inputs))


# --- kernels


def test_find_takes_types_by_operand(toy: ElementType) -> None:
    row = kernels.find("gemm", "f32", "c")
    assert kernels.find("gemm", {"a": "f32"}, "c") is kernels.find("gemm", {"b": "f32", "c": "f32"}, "c") is row
    assert (row.label, row.dtype, row.types) == ("f32", "f32", {"a": "f32", "b": "f32", "c": "f32"})
    assert KERNELS["gemm", "f32", "c", row.isa] is row
    with pytest.raises(KeyError, match=rf"no kernel softmax_s.{toy.name}-f32 in c"):
        kernels.find("softmax", {"s": toy.name, "scale": "f32"}, "c")
    with pytest.raises(ValueError, match="no operand x"):
        kernels.find("gemm", {"x": "f32"}, "c")


def toy_kernel(element: ElementType) -> Kernel:
    """gemv of f32 on weights that are only stored."""

    def bind(ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        w, x = ready

        def call() -> None:
            out[...] = element.decode(w).astype(np.float32) @ x

        return call

    return Kernel("gemv", OPERATIONS["gemv"].types_for(element.name), "toy", "any", None, 4, bind)


@pytest.mark.parametrize("dims", [{"n": 7, "k": 96}, {"n": 1, "k": 3}, {"n": 50, "k": 1000}], ids=str)
def test_stored_weights_are_decoded_exactly(toy: ElementType, dims: dict[str, int]) -> None:
    """The error bound is that of f32: rounding the weights isn't an error of the kernel."""
    kernel = toy_kernel(toy)
    assert kernel.name == f"gemv_w.{toy.name}-f32-toy-any"
    inputs = make_inputs(kernel, dims)
    verify(kernel, inputs, 1)
    wide = [toy.decode(inputs[0]), inputs[1].astype(np.float64)]
    np.testing.assert_array_equal(reference("gemv", kernel.types, inputs), wide[0] @ wide[1])
    plain = [x.astype(np.float32) for x in wide]
    np.testing.assert_array_equal(error_bound("gemv", kernel.types, inputs), error_bound("gemv", "f32", plain))
    out = kernel(*inputs)
    assert (out.dtype, out.shape) == (np.float32, (dims["n"],))
    positive = [toy.encode(abs(wide[0])), abs(plain[1])]
    check("gemv", kernel.types, positive, kernel(*positive))
    with pytest.raises(WrongResult, match="gemv"):  # all weights down by four of their roundoffs
        check("gemv", kernel.types, positive, kernel(*positive) * np.float32(1 - 4 * toy.unit_roundoff))


def test_operands_of_another_type_are_named(toy: ElementType) -> None:
    kernel = toy_kernel(toy)
    w, x = make_inputs(kernel, {"n": 7, "k": 64})
    _, out = output_for(kernel, [w, x])
    for inputs, given, message in (
        ([x.repeat(7).reshape(7, 64), x], out, f"w must be {toy.name}, stored as .*, not float32"),
        ([w, x.astype(np.float64)], out, "x must be float32, not float64"),
        ([w, x], out.astype(np.float64), "out must be float32, not float64"),
    ):
        with pytest.raises(TypeError, match=message):
            kernel.bind(*inputs, out=given)
    with pytest.raises(ValueError, match=r"x must be x\[k\] with k = 64, not of shape \(32,\)"):
        kernel(w, x[:32])
    with pytest.raises(ValueError, match=r"w must be w\[n,k\]"):
        kernel(w[0], x)
