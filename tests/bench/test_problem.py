"""Kernels that work in place get ready and are checked as others are, though they work on their own results."""

import sys

import pytest

import kernels
from bench.measure.groups import Group
from bench.measure.probes import PIECE_BYTES, fma_probe, walking
from bench.measure.problem import Problem
from bench.measure.session import Session
from bench.measure.suite import kernels_for
from bench.record.row import make_row, moved_bytes
from bench.workloads.model import MODELS, Model, distinct_shapes
from bench.workloads.shapes import Case
from bench.workloads.sweep import SWEEPS, pointwise_cases
from kernels.operations import OPERATIONS
from kernels.verify import WrongResult

SMALL = Model("small", 2, 64, 4, 96, 50, 40)


def cases(*models: Model) -> list[Case]:
    return distinct_shapes(models, lengths=(24,), phases=("encode", "prefill"), of=Model.pointwise)


@pytest.mark.parametrize("case", cases(SMALL, MODELS[2]), ids=lambda case: case.label)
def test_again_and_again(case: Case) -> None:
    problem, chosen = Problem(), kernels_for(case, "f32", kernels.chosen_isa())
    assert [kernel.backend for kernel in chosen] == ["c", "numba"]
    for kernel in chosen:
        (call,) = problem.prepare(case, "f32", 1, kernel)
        for _ in range(50):
            call()
        problem.check_again(kernel, 0)


def test_wrong_results_are_caught() -> None:
    """Also where the operation is called once more to see one."""
    problem = Problem()
    for case in cases(SMALL):
        for kernel in kernels_for(case, "f32", kernels.chosen_isa()):
            problem.prepare(case, "f32", 1, kernel)
            if OPERATIONS[kernel.operation].in_place:
                problem._calls[kernel] = [lambda: None]
            else:
                problem._outputs[kernel][...] += 1
            with pytest.raises(WrongResult):
                problem.check_again(kernel, 0)


def test_rows_are_hot_and_count_what_the_operation_moves() -> None:
    case = next(c for c in pointwise_cases(SWEEPS["default"]) if c.operation == "residual_norm" and c.n == 768)
    chosen = kernels_for(case, "f32", kernels.chosen_isa())
    session = Session("test", [1])
    session.measure(Group.of(case, "f32", 1, chosen), 0.01)
    assert [(row["dims"], row["cold"], row["backend"]) for row in session.rows] == [
        ({"m": 128, "n": 768}, [], backend) for backend in ("c", "numba")
    ]
    assert case.bytes("f32") == 4 * (3 * 128 * 768 + 3 * 768 + 1)
    assert case.flops == 10 * 128 * 768


def test_what_is_changed_in_place_comes_once() -> None:
    """And it takes the room of one array, which decides on its level."""
    for case in cases(SMALL):
        row = make_row("kernel", case.operation, "f32", "c", "avx2", 1, dims=case.dims)
        back = 4 * case.batch * case.m * case.n * OPERATIONS[case.operation].in_place
        assert moved_bytes(row) == case.delivered("f32") == case.bytes("f32") - back
    update = make_row("probe", "update", "f64", "c", "avx2", 1, dims={"n": 10})
    assert moved_bytes(update) == 160


def test_what_is_cold_is_touched_right_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy of plain, packed and stored weights, and the roof's memory: nothing is prepared in between."""
    monkeypatch.setattr("bench.measure.arrays.dram_bytes", lambda arrays: (1 << 22, True))
    session, case = Session("test", [1]), Case("gemm", 8, 96, 64, True, ("small",))
    chosen = [kernels.find(name, "f32", "c") for name in ("gemm", "gemm_prepacked")]
    session.add_roofs(1, [walking("read", 1 << 26, 1), fma_probe(1, "f32", session.isa)])
    told: list[int] = []
    monkeypatch.setattr("bench.measure.session.touch", lambda arrays: told.extend(x.nbytes for x in arrays))
    monkeypatch.setattr("bench.measure.session.interleave", lambda *_, **__: told.append(-1) or sys.exit())
    with pytest.raises(SystemExit):
        session.measure(Group.of(case, "f32", 1, [*chosen, kernels.find("linear", "w.bf16-f32", "c")]), 0.01)
    assert (told[:2], told[-1]) == ([PIECE_BYTES] * 2, -1)
    assert sum(told[2:-1]) >= 3 << 22, "of each kernel as much as makes its weights cold"
