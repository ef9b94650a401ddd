"""Other libraries as rows, their processes, and the kernels beside them."""

import json
import os
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernels
from bench import cli
from bench.host.cpus import cpus_for
from bench.measure.process import Worker
from bench.measure.timing import Elsewhere, interleave, timed
from bench.peers.measuring import attention_cases, growth_cases, weight_cases
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.row import make_row
from bench.report.libraries import comparisons, growth, means
from bench.workloads.shapes import Case
from kernels import Kernel, UnavailableISA
from kernels.backends import libraries
from kernels.operations import OPERATIONS
from kernels.verify import WrongResult
from support import records
from support.process import Run

# --- rows


def test_rows_are_unlike_each_other_and_unlike_the_registrys() -> None:
    names = [row.name for row in libraries.rows()]
    assert len(names) == len(set(names))
    assert not set(libraries.BACKENDS) & set(kernels.BACKENDS)
    assert {row.backend for row in libraries.rows()} == set(libraries.BACKENDS)


def test_nothing_is_imported_unless_it_is_asked_for(python: Run) -> None:
    modules = "{'torch', 'onnxruntime', 'openvino', 'scipy_openblas32'}"
    ran = python(
        "-c",
        "import sys, bench.peers.measuring; from kernels.backends import libraries; libraries.rows(); "
        f"print({modules} & {{*sys.modules}})",
    )
    assert ran.stdout == "set()\n", ran.stderr


def test_missing_library_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: _raise_missing())
    monkeypatch.setattr("kernels.backends.libraries.find_library", lambda name: None)
    assert {line.split(":")[0] for line in libraries.missing()} == {*libraries.BACKENDS} - {"ggml"}
    assert {line.split(":")[0] for line in libraries.missing(stored=True)} == {*libraries.BACKENDS} - {
        "blis",
        "openblas",
    }
    assert "ggml: not installed (llama-cpp-python): pip install 'ridgeline[ggml]'" in libraries.missing(stored=True)
    assert "torch: not installed (torch): pip install 'ridgeline[peers]'" in libraries.missing()
    assert "blis: not installed (libblis): apt install libblis4-openmp" in libraries.missing()
    row = libraries.LIBRARIES[0].rows()[0]
    with pytest.raises(UnavailableISA, match=r"not installed \(torch\)"):
        row(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))


def _raise_missing() -> str:
    import importlib.metadata

    raise importlib.metadata.PackageNotFoundError


# --- a library's process, against the reference

CASES = [
    Case("gemm", 33, 129, 65, False, ()),
    Case("gemm", 1, 16, 300, False, ()),
    Case("gemv", 1, 129, 65, False, ()),
    Case("gemv_t", 1, 129, 65, False, ()),
    Case("gemm_batch", 33, 129, 65, False, (), batch=5),
    Case("gemm_batch_t", 33, 65, 129, False, (), batch=5),
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(one, id=one.backend, marks=pytest.mark.xdist_group(one.backend)) for one in libraries.LIBRARIES
    ],
)
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    library = request.param
    if library.version() is None:
        pytest.skip(f"{library.backend}: {library.rows()[0].reason}")
    one = Worker(library.backend, cpus_for(1), arrays=4)
    yield one
    one.close()


def of(backend: str) -> list[Kernel]:
    """Its rows of native types: there may be none."""
    return [row for row in libraries.rows_of(stored=False) if row.backend == backend]


def test_results_are_right(worker: Worker) -> None:
    """Before and after timed calls; each row of the library on each case that it can run."""
    ran = set()
    for case in CASES:
        for row in of(worker.backend):
            if row.operation == case.operation or (row.operation, case.operation) == ("gemm_prepacked", "gemm"):
                there = worker.prepare(case, row.dtype, 1, row)
                assert len(there) == 1
                assert timed(there, 0, 3, waken=True).seconds > 0
                worker.check_again(row, 0)
                ran.add(row)
    assert ran == set(of(worker.backend))


def test_cold_weights_are_walked_through(worker: Worker) -> None:
    case = Case("gemm", 3, 1024, 1024, True, ())
    for row in of(worker.backend):
        if row.dtype == "f32" and row.operation in ("gemm", "gemm_prepacked"):
            there = worker.prepare(case, "f32", 1, row)
            (samples,) = interleave([there], 0.001, least=2, most=2, warm_up=0, pools=[row.backend])
            assert len(there) > samples.copy >= 0
            worker.check_again(row, samples.copy)


def test_stored_weights_are_right_over_there(worker: Worker) -> None:
    """Before and after timed calls, of one row of activations and of several."""
    for case in (Case("gemv", 1, 136, 256, False, ()), Case("gemm", 3, 136, 256, False, ())):
        for row in libraries.rows_of(stored=True):
            if row.backend == worker.backend:
                there = worker.prepare(case, "f32", 1, row)
                assert timed(there, 0, 3, waken=True).seconds > 0
                worker.check_again(row, 0)


# --- a process, with a kernel of the project's own


@pytest.fixture
def own() -> Iterator[tuple[Worker, Kernel, Elsewhere]]:
    """C's GEMM in another process."""
    one = Worker("c", cpus_for(1), arrays=4)
    row = kernels.find("gemm", "f32", "c")
    yield one, row, one.prepare(CASES[0], "f32", 1, row)
    one.close()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_process_stands_still_between_requests(own: tuple[Worker, Kernel, Elsewhere]) -> None:
    worker, row, there = own
    pid = worker._process.pid
    assert pid is not None
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert state(pid) == "T"
    used = worker.cpu_seconds
    assert timed(there, 0, 10).seconds > 0
    worker.check_again(row, 0)
    assert worker.cpu_seconds > used
    worker.close()
    assert not Path(f"/proc/{pid}").exists()


def test_what_goes_wrong_there_is_raised_here(own: tuple[Worker, Kernel, Elsewhere]) -> None:
    worker, _, there = own
    with pytest.raises(RuntimeError, match="IndexError"):
        worker._ask("check_again", ("gemm", "f32"), 5)
    with pytest.raises(RuntimeError, match="KeyError"):
        worker._ask("time", ("gemm_batch", "f32"), 0, 1, False)
    assert timed(there, 0, 1).seconds > 0
    assert worker._process.pid is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    with pytest.raises(cli.BadInput, match="the process of c ended with status -9"):
        timed(there, 0, 1)


def test_wrong_results_cross_the_pipe() -> None:
    import pickle

    again = pickle.loads(pickle.dumps(WrongResult("gemm: 1 of 2 elements")))
    assert (type(again), str(again)) == (WrongResult, "gemm: 1 of 2 elements")


# --- what is measured


def test_cases() -> None:
    few, all_ = weight_cases(full=False), weight_cases(full=True)
    assert {c.m for c in few} == {c.m for c in all_ if c.n < 30_000} == {1, 8, 32, 128, 512}
    assert {c.shape for c in few} < {c.shape for c in all_}
    assert {(1024, 4096), (4096, 1024), (768, 2304)} <= {(c.k, c.n) for c in all_}
    assert all(c.weight for c in all_)
    for case in attention_cases():
        assert case.flops == OPERATIONS[case.operation].flops(case.dims) == 2 * 12 * case.dims["m"] ** 2 * 64
        assert case.bytes("f32") == OPERATIONS[case.operation].bytes(case.dims, "f32")
    assert [c.m for c in growth_cases()] == [128, 256, 512, 1024, 2048]


# --- comparisons, from made-up seconds


def entrant(backend: str, operation: str, gflops: float, number: int, **dims: int) -> dict[str, Any]:
    flops = OPERATIONS[operation].flops(dims)
    return make_row(
        "kernel",
        operation,
        "f32",
        backend,
        "avx2" if backend == "c" else "1.0",
        1,
        dims=dims,
        cold=[] if "batch" in operation else ["w" if operation == "gemv" else "b"],
        seconds=[flops / (gflops * 1e9)] * 5,
        rounds=[number] * 5,
    )


def met(number: int, operation: str, rates: dict[str, float], **dims: int) -> list[dict[str, Any]]:
    return [entrant(backend, operation, rate, number, **dims) for backend, rate in rates.items()]


@pytest.fixture
def measured_beside() -> Metrics:
    size = {"n": 1000, "k": 1000}
    return records.make(
        [
            *met(1, "gemv", {"c": 9, "numba": 8, "torch": 6}, **size),
            *met(2, "gemm", {"c": 80, "numba": 40, "blas": 60, "torch": 40}, m=32, **size),
            *met(2, "gemm_prepacked", {"c": 60, "numba": 60, "openvino": 80, "torch": 70}, m=32, **size),
            *met(3, "gemm", {"c": 45, "blis": 90}, m=128, **size),
            *met(4, "gemm_batch", {"c": 50, "torch": 40}, batch=12, m=32, n=64, k=32),
            *met(5, "gemm_batch_t", {"torch": 40}, batch=12, m=32, n=32, k=64),
            *met(6, "gemm_prepacked", {"c": 80}, m=128, **size),
            *met(6, "gemm_prepacked", {"c": 40}, m=256, **size),
        ]
    )


def test_comparisons_are_like_against_like(measured_beside: Metrics) -> None:
    found = comparisons(measured_beside)
    assert [(e["operation"], e["dims"].get("m"), e["best_library"]) for e in found] == [
        ("gemv", None, "torch"),
        ("gemm", 32, "blas"),
        ("gemm_prepacked", 32, "openvino"),
        ("gemm", 128, "blis"),
        ("gemm_batch", 32, "torch"),
        ("gemm_batch_t", 32, "torch"),
    ]
    assert [e["over_best"] for e in found[:5]] == pytest.approx([9 / 6, 80 / 60, 60 / 80, 45 / 90, 50 / 40])
    assert [e["numba_over_c"] for e in found] == [pytest.approx(8 / 9), 0.5, 1.0, None, None, None]
    assert found[5]["over_best"] is None
    assert found[1]["bound_gflops"] == pytest.approx(100)  # 16 FLOP/byte is right of the ridge: the peak
    assert found[0]["bound_gflops"] == pytest.approx(10)  # 0.5 FLOP/byte times 20 GB/s
    assert found[2]["percent"]["openvino"] == pytest.approx(80)


def test_means_are_geometric(measured_beside: Metrics) -> None:
    found = {(e["class"], e["ratio"]): e for e in means(comparisons(measured_beside))}
    plain = found["plain", "over_best"]
    assert plain["by_m"] == pytest.approx({"1": 1.5, "32": 4 / 3, "128": 0.5})
    assert plain["all"] == pytest.approx((1.5 * 4 / 3 * 0.5) ** (1 / 3))
    assert found["plain", "numba_over_c"]["all"] == pytest.approx((8 / 9 * 0.5) ** 0.5)
    assert found["attention", "over_best"]["all"] == pytest.approx(1.25)
    assert ("attention", "numba_over_c") not in found


def test_growth_is_of_rows_measured_together(measured_beside: Metrics) -> None:
    (found,) = growth(measured_beside)
    assert (found["n"], found["k"]) == (1000, 1000)
    assert found["relative"] == pytest.approx({"128": 1.0, "256": 2.0})


def test_command_shows_a_record(measured_beside: Metrics, tmp_path: Path, capsys: Any) -> None:
    main = import_module("bench.peers.__main__").main
    store.save(measured_beside.record, tmp_path / "r.json")
    assert main([str(tmp_path / "r.json")]) == 0
    text = capsys.readouterr().out
    assert "C / best" in text
    assert "openvino" in text
    assert main([str(tmp_path / "r.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][1]["over_best"] == pytest.approx(4 / 3)
