"""bench.peers --types: what is measured, and what follows from made-up seconds."""

import json
import re
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.measure.run import Kept
from bench.options import stored_types
from bench.peers import measuring
from bench.peers.measuring import LINEAR_LENGTHS, stored_cases
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.row import Row, make_row
from bench.report import stored
from kernels.types import TYPES
from kernels.verify import WrongResult
from support import records

main = import_module("bench.peers.__main__").main


def test_types_are_those_that_are_only_stored() -> None:
    assert stored_types("i4g32,bf16,i4g32") == ["i4g32", "bf16"]
    for wrong in ("f32", "i4g32,i5", "", "i4g32,"):
        with pytest.raises(BadInput, match="one or several of bf16, f16, i8"):
            stored_types(wrong)


def test_sums_of_doubles_are_refused_before_anything_is_measured(capsys: Any) -> None:
    with pytest.raises(BadInput, match="--dtype f64: products of --types are summed in f32"):
        main(["--types", "i8", "--dtype", "f64"])


@pytest.mark.parametrize("wrong", ["", "0", "1,,8", "8,x", "1,4097", "-1"])
def test_lengths_are_sizes(wrong: str) -> None:
    with pytest.raises(BadInput, match="from 1 to 4096, as in 1,8,512"):
        main(["--types", "i8", f"--lengths={wrong}"])


def test_each_matrix_is_measured_once_at_each_length() -> None:
    few, every = stored_cases(full=False), stored_cases(full=True)
    sizes = [(case.n, case.k, case.m) for case in few]
    assert len(set(sizes)) == len(sizes) == 3 * len(LINEAR_LENGTHS)
    assert {case.operation for case in every if case.m == 1} == {"gemv"}
    assert {(case.n, case.k) for case in every} > {(2304, 768), (50257, 768), *((n, k) for n, k, _ in sizes)}
    assert [(case.operation, case.m) for case in stored_cases(False, [4])] == [("gemm", 4)] * 3
    both = next(case for case in few if (case.n, case.k, case.m) == (3072, 768, 1))
    assert set(both.layers) == {"BERT-Base ffn_up", "GPT-2 ffn_up"}


class NothingButWrong:
    """A session whose first kernel is wrong."""

    threads = (1,)

    def start(self) -> None: ...

    def finish(self) -> None: ...

    def plan(self, groups: Any, seconds: float, visits: int) -> None: ...

    def run(self, groups: Any, seconds: float, visits: int, wrong: Any) -> None:
        kernel = groups[0].members[0][1]
        wrong(groups[0], WrongResult(f"{kernel.name}: 1 of 768 elements are wrong"))


def test_wrong_value_is_an_error(beside: Metrics, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The rest is shown."""
    monkeypatch.setattr(measuring, "measuring", lambda *given, **more: nullcontext(NothingButWrong()))
    monkeypatch.setattr(measuring, "take_part", lambda missing, present: {"ggml"})
    monkeypatch.setattr(measuring, "kept", lambda *given: Kept(beside, None, None))
    assert main(["--types", "i4g32", "--threads", "1"]) == 2
    told = capsys.readouterr()
    assert re.search(
        r"m=1 n=768 k=768, 1 thread, i4g32: linear_w.i4g32-f32-c-\w+: 1 of 768 elements are wrong", told.err
    )
    assert "C beside the fastest library" in told.out


def entrant(name: str, element: str, micros: float, m: int, n: int, threads: int = 1) -> Row:
    backend, _, what = name.partition(" ")
    operation = {"": "linear", "a8": "linear_a8"}.get(what, what)
    dims = {"n": n, "k": 1024} | ({} if operation == "gemv" else {"m": m})
    return make_row(
        "kernel",
        operation,
        {"w": element},
        backend,
        "avx2" if backend == "c" else "1.0",
        threads,
        dims=dims,
        cold=["w"],
        seconds=[micros * 1e-6] * 9,
        rounds=records.ROUNDS,
    )


def together(seconds: dict[str, float], element: str, m: int, n: int = 1024, threads: int = 1) -> list[Row]:
    return [entrant(name, element, micros, m, n, threads) for name, micros in seconds.items()]


@pytest.fixture
def beside() -> Metrics:
    """Read roof 20 GB/s: 1024 x 1024 weights of i4g32 are 589,824 bytes and take 29.5 us."""
    return records.make(
        [
            *together({"c": 60, "c a8": 40, "numba a8": 50, "ggml a8": 80, "openvino": 90}, "i4g32", 1),
            *together({"c a8": 80, "ggml a8": 40, "openvino": 90}, "i4g32", 1, n=2048),
            *together({"c": 100, "c a8": 60, "onnxruntime a8": 90, "openvino": 150}, "i4g32", 8),
            *together({"c": 100, "c gemv": 80, "torch": 160, "ggml": 240}, "bf16", 1),
            *together({"c": 10, "numba": 20}, "i8", 1),
        ]
    )


def test_fastest_of_each_side_are_compared(beside: Metrics) -> None:
    found = {(e["types"], e["m"], e["n"]): e for e in stored.comparisons(beside)}
    assert list(found) == [("bf16", 1, 1024), ("i4g32", 1, 1024), ("i4g32", 8, 1024), ("i4g32", 1, 2048)]
    first = found["i4g32", 1, 1024]["ratios"]
    assert first["all"] == {"value": pytest.approx(2), "c": "c a8", "library": "ggml a8"}
    assert first["floating"] == {"value": pytest.approx(1.5), "c": "c", "library": "openvino"}
    assert first["a8"] == {"value": pytest.approx(2), "c": "c a8", "library": "ggml a8"}
    assert found["i4g32", 1, 1024]["numba_over_c"] == pytest.approx(0.8)
    assert found["i4g32", 1, 2048]["ratios"]["floating"] is None
    assert found["bf16", 1, 1024]["ratios"]["all"] == {"value": pytest.approx(2), "c": "c gemv", "library": "torch"}
    assert found["bf16", 1, 1024]["ratios"]["a8"] is None


def test_share_of_the_roof_is_of_the_bytes_with_their_scales(beside: Metrics) -> None:
    found = {(e["types"], e["m"], e["n"]): e["percent"] for e in stored.comparisons(beside)}
    micros = TYPES["i4g32"].bytes(1024) * 1024 / 20e9 * 1e6
    assert found["i4g32", 1, 1024]["c a8"] == pytest.approx(100 * micros / 40)
    assert found["i4g32", 8, 1024] == {}


def test_means_are_geometric_and_name_the_worst(beside: Metrics) -> None:
    found = {(e["types"], e["m"]): e for e in stored.means(stored.comparisons(beside))}
    one = found["i4g32", 1]
    assert one["all"] == {
        "mean": pytest.approx(1.0),  # of 2 and 0.5
        "worst": pytest.approx(0.5),
        "library": "ggml a8",
        "n": 2048,
        "k": 1024,
    }
    assert one["floating"]["mean"] == pytest.approx(1.5)
    assert found["i4g32", 8]["a8"]["mean"] == pytest.approx(1.5)
    assert found["bf16", 1]["a8"] is None
    assert found["bf16", 1]["numba_over_c"] is None


def test_command_shows_a_record(beside: Metrics, tmp_path: Path, capsys: Any) -> None:
    store.save(beside.record, tmp_path / "r.json")
    assert main([str(tmp_path / "r.json")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Microseconds per product, i4g32, 1 thread" in text
    assert "1024x1024 1 60.0 40.0 - 50.0" in text or "1024x1024 1 60.0 40.0 50.0" in text
    assert "C beside the fastest library" in text
    assert main([str(tmp_path / "r.json"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stored_means"][1]["all"]["library"] == "ggml a8"
    assert document["libraries"] == {"ggml": "1.0", "openvino": "1.0", "onnxruntime": "1.0", "torch": "1.0"}
