"""Weights without their zeros: packed right, multiplied right, counted by hand, and refused where they don't fit."""

import numpy as np
import pytest

import kernels
from kernels import KERNELS, OPERATIONS, TYPES, Kernel, sparse
from support.cases import noting, verify

SPARSE = [kernel for kernel in KERNELS.values() if OPERATIONS[kernel.operation].stored]
each_sparse = pytest.mark.parametrize("kernel", SPARSE, ids=str, indirect=True)


def matrix(kernel: Kernel, n: int, k: int, density: float) -> list[np.ndarray]:
    """w with so many of its elements, and x."""
    random = np.random.default_rng(n * k)
    w = sparse.prune(kernel.operation, random.standard_normal((n, k)), round(n * k * density), random)
    if density == 0:
        w[...] = 0
    return [TYPES[kernel.types["w"]].encode(w), random.standard_normal(k).astype(np.float32)]


@each_sparse
def test_every_density_and_awkward_shape(kernel: Kernel) -> None:
    for n, k in ((1, 1), (3, 2), (4, 8), (5, 17), (17, 31), (33, 64), (18, 200), (7, 1)):
        for density in (0, 0.05, 0.2, 0.5, 1):
            with noting(f"{n} x {k}, {density:.0%}"):
                verify(kernel, matrix(kernel, n, k, density), 1, 2)


@each_sparse
def test_rows_without_weights_beside_full_ones(kernel: Kernel) -> None:
    w, x = matrix(kernel, 23, 52, 1)
    for row in (0, 3, 4, 5, 6, 7, 22):
        w[row, : x.size] = 0
    verify(kernel, [w, x], 1, 2)


@pytest.mark.parametrize("over, most", [(0, 4), (1, 4), (9, 4), (60, 5)])
@each_sparse
def test_groups_with_more_weights_than_one_shuffle_expands(kernel: Kernel, over: int, most: int) -> None:
    """A few are listed apart; where they are many, or a group has 16, every one has its bit."""
    if kernel.operation != "gemv_bitmap":
        pytest.skip("it has no bitmap with groups of any number of weights")
    w = np.zeros((10, 168))
    w[:, ::2] = 1 + np.arange(84)
    w.ravel()[1 : 16 * over : 8] = -2.5
    w = TYPES[kernel.types["w"]].encode(w)
    verify(kernel, [w, np.random.default_rng(over).standard_normal(168).astype(np.float32)], 1, 2)
    if kernel.types["w"] == "f32" and kernel.isa in ("generic", "avx2"):
        packed = kernel.pack(w).data
        assert packed[:8].view(np.int64) == most


@each_sparse
def test_what_is_not_stored_is_not_multiplied(kernel: Kernel) -> None:
    """Infinities and NaN of x reach the rows that have a weight there, and no others; those of w their row alone."""
    w, x = matrix(kernel, 9, 19, 0.3)
    zeros = TYPES[kernel.types["w"]].decode(w) == 0
    for special in (np.inf, -np.inf, np.nan):
        for column in (0, 12, 18):
            of_x = x.copy()
            of_x[column] = special
            y = kernel(kernel.pack(w), of_x)
            np.testing.assert_array_equal(np.isfinite(y), zeros[:, column])
            with np.errstate(invalid="ignore"):
                verify(kernel, [w, of_x], 1)
    if kernel.types["w"] == "f32":
        w[2, 16] = np.inf
        finite = np.isfinite(kernel(kernel.pack(w), x))
        assert finite.sum() == 8 and not finite[2]


def test_bytes_follow_from_what_is_stored() -> None:
    """Counted by hand: a bit a weight in whole bytes per row; indices and row starts; two of every four."""
    d = {"n": 3, "k": 20, "nnz": 11}
    for operation, types, weights in (
        ("gemv_bitmap", "f32", 3 * 3 + 4 * 11),
        ("gemv_bitmap", {"w": "i8"}, 3 * 3 + 11 + 4 * 3),
        ("gemv_2_4", "f32", 3 * 3 + 3 * 4 * 10),
        ("gemv_csr", "f32", 4 * 4 + 8 * 11),
        ("gemv_csr16", "f32", 4 * 4 + 6 * 11),
    ):
        op = OPERATIONS[operation]
        assert op.operand_bytes(d, types) == {"w": weights, "x": 80, "y": 12}
        assert op.bytes(d, types) == weights + 92
        assert op.flops(d) == 22
        assert op.dimensions == ("n", "k", "nnz")


@pytest.mark.parametrize("kernel", [k for k in SPARSE if k.reason is None], ids=str)
def test_packed_weights_hold_no_zeros(kernel: Kernel) -> None:
    """Beside the bytes that are counted, a packed matrix has starts of strips and rows, and parts that are aligned."""
    w, _ = matrix(kernel, 64, 512, 0.3)
    nnz = int((TYPES[kernel.types["w"]].decode(w) != 0).sum())
    counted = OPERATIONS[kernel.operation].operand_bytes({"n": 64, "k": 512, "nnz": nnz}, kernel.types)["w"]
    packed = kernel.pack(w).data.nbytes
    columns = 4 * sparse.MOST_OVER * nnz if kernel.operation == "gemv_bitmap" else 0
    assert counted < packed <= counted + columns + 16 * (64 // sparse.STRIP + 1) + 6 * sparse.PART


def test_what_does_not_fit_is_refused() -> None:
    two_of_four, csr16 = (kernels.find(name, "f32", "c") for name in ("gemv_2_4", "gemv_csr16"))
    w = np.zeros((2, 8), np.float32)
    w[1, 4:7] = 1
    with pytest.raises(ValueError, match="w isn't 2:4: 3 of four neighbours in a row aren't zero"):
        two_of_four.pack(w)
    w = np.zeros((1, 1 << 16 | 1), np.float32)
    with pytest.raises(ValueError, match=r"w of shape \(1, 65537\) with 0 nonzeros is too large for indices of uint16"):
        csr16.pack(w)
    assert kernels.find("gemv_csr", "f32", "c").pack(w).shape == w.shape
