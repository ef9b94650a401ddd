"""Kernels on weights that are only stored get their own cold copies, and are held against the decoded ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kernels
from bench.measure.arrays import dram_bytes
from bench.measure.groups import Group
from bench.measure.problem import Problem
from bench.measure.session import Session
from bench.measure.stored import ENCODED
from bench.measure.suite import kernels_for, stored_kernels
from bench.record.row import moved_bytes
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.arrays import aligned_empty
from kernels.operations import OPERATIONS
from kernels.types import TYPES
from kernels.verify import WrongResult

CASES = [
    Case("gemv_t", 1, 640, 128, True, ("a layer",)),
    Case("gemv", 1, 640, 128, True, ("a layer",)),
    Case("gemm", 3, 640, 128, True, ("a layer",)),
]


def numpy_kernel(operation: str, element: str, off: float = 0.0) -> Kernel:
    """An operation by its definition, whose packed weights are their bytes; off: what the last result is wrong by."""
    op = OPERATIONS[operation]
    types = op.types_for(element)

    def bind(ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], None]:
        x, w = ready
        stored = w.data.view(TYPES[element].storage).reshape(w.shape[0], -1) if op.packed else w

        def call() -> None:
            if op.packed:
                out[...] = op.define(x.astype(float), TYPES[element].decode(stored))
            else:
                out[...] = op.define(*(TYPES[types[n]].decode(a) for (n, _), a in zip(op.inputs, ready, strict=True)))
            out[..., -1] += off

        return call

    def pack(w: np.ndarray, threads: int) -> np.ndarray:
        data = aligned_empty(w.nbytes, np.uint8)
        data[...] = w.reshape(-1).view(np.uint8)
        return data

    return Kernel(operation, types, "numba", "none", None, 1, bind, pack if op.packed else None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("operation, element", [("linear_a8", "i4g32"), ("linear", "i8"), ("linear", "bf16")])
def test_every_case_has_its_weights_in_every_type(case: Case, operation: str, element: str) -> None:
    problem, kernel = Problem(), numpy_kernel(operation, element)
    calls = problem.prepare(case, "f32", 1, kernel, copies=3)
    assert isinstance(calls, list) and len(calls) == 3
    calls[-1]()
    problem.check_again(kernel, len(calls) - 1)
    with pytest.raises(WrongResult):
        problem.prepare(case, "f32", 1, numpy_kernel(operation, element, off=1.0), copies=1)


@pytest.mark.parametrize("has", [False, True])
def test_activations_in_bf16_take_part_where_products_of_them_do(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.backends.c.has_peak", lambda element, isa: has and element == "bf16")
    found = stored_kernels(CASES[2], ["bf16", "i8"], kernels.chosen_isa())
    assert {k.backend for k in found if k.operation == "linear_a16"} == ({"c"} if has else set())
    assert {k.operation for k in found} >= {"linear", "linear_a8"}
    with pytest.raises(KeyError, match=r"no kernel linear_a16_w\.bf16-f32 in numba"):
        kernels.find("linear_a16", {"w": "bf16"}, "numba")


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.label)
def test_both_orientations(case: Case) -> None:
    problem = Problem()
    problem.prepare(case, "f32", 1, numpy_kernel(case.operation, "bf16"), copies=2)
    with pytest.raises(WrongResult):
        problem.prepare(case, "f32", 1, numpy_kernel(case.operation, "bf16", off=1.0), copies=2)


def test_what_goes_wrong_later_is_caught() -> None:
    problem, kernel = Problem(), numpy_kernel("linear", "i4g32")
    problem.prepare(CASES[0], "f32", 1, kernel, copies=1)
    problem._outputs[kernel][0, -1] += 1
    with pytest.raises(WrongResult):
        problem.check_again(kernel, 0)


def test_a_tall_matrix_repeats_its_rows() -> None:
    """And all of it is checked."""
    n = ENCODED // 128 + 5
    case, problem = Case("gemv", 1, n, 128, False, ("head",)), Problem()
    kernel = numpy_kernel("linear", "i8g32")
    problem.prepare(case, "f32", 1, kernel, copies=1)
    out = problem._outputs[kernel]
    assert out.shape == (1, n) and np.array_equal(out[0, :5], out[0, -5:])
    with pytest.raises(WrongResult):
        problem.prepare(case, "f32", 1, numpy_kernel("linear", "i8g32", off=1.0), copies=1)


def test_copies_are_cold_by_their_own_bytes() -> None:
    case, kernel, problem = Case("gemv_t", 1, 2048, 1024, True, ()), numpy_kernel("linear", "i4g32"), Problem()
    calls = problem.prepare(case, "f32", 1, kernel)
    assert isinstance(calls, list)
    each = OPERATIONS["linear"].operand_bytes(case.sizes("linear"), kernel.types)["w"]
    assert (len(calls) - 1) * each < dram_bytes(problem.weights.arrays)[0] <= len(calls) * (each + 64)


def test_rows_of_one_group() -> None:
    """Each row has its own operation, types and bytes; all were measured in the same rounds."""
    case = Case("gemv_t", 1, 2048, 1024, True, ("a layer",))
    others = [numpy_kernel("linear_a8", "i4g32"), numpy_kernel("gemv_t", "bf16")]
    session = Session("test", [1], stored=len(others))
    chosen = [kernel for kernel in kernels_for(case, "f32", kernels.chosen_isa()) if kernel.backend == "c"]
    session.measure(Group.of(case, "f32", 1, [*chosen, *others]), 0.01)
    rows = {(row["operation"], row["types"]["w"]): row for row in session.rows if row["cold"]}
    assert {key: moved_bytes(row) for key, row in rows.items()} == {
        ("gemv_t", "f32"): 4 * 2048 * 1024,
        ("linear_a8", "i4g32"): 2048 * 1024 * 18 // 32,
        ("gemv_t", "bf16"): 2 * 2048 * 1024,
    }
    assert rows["linear_a8", "i4g32"]["dims"] == {"m": 1, "n": 2048, "k": 1024}
    assert set.intersection(*(set(row["rounds"]) for row in rows.values()))
    assert {row["level"] for row in rows.values()} == {"DRAM"}


def test_types_whose_groups_do_not_fit_are_left_out() -> None:
    odd = Case("gemv_t", 1, 64, 96, True, ())
    others = [numpy_kernel("linear", name) for name in ("i4g32", "i4g128", "bf16")]
    found = stored_kernels(odd, ["i4g32", "i4g128"], kernels.chosen_isa(), others)
    assert [kernel for kernel in found if kernel.isa == "none"] == others[:1]
    assert not any(TYPES[kernel.types["w"]].group == 128 for kernel in found)


def test_each_density_of_a_shape_has_its_own_weights() -> None:
    """What is packed for one isn't kept for the next: prepare() and check_again() compare with that density's own."""
    problem = Problem()
    for operation, percent in (("gemv_bitmap", 20), ("gemv_bitmap", 60), ("gemv_csr16", 60), ("gemv_csr16", 20)):
        case = Case("gemv", 1, 64, 96, True, (f"density {percent} %",), nnz=64 * 96 * percent // 100)
        kernel = kernels.find(operation, "f32", "c")
        problem.prepare(case, "f32", 1, kernel, copies=2)
        problem.check_again(kernel, 1)
