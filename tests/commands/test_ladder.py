"""The climb: its figures from a made-up record, the command from end to end, and that scalar rungs are scalar."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.ladder.__main__ import for_page
from bench.ladder.measuring import product
from bench.ladder.steps import RUNGS, climb
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.row import make_row
from kernels.operations import OPERATIONS, SCALAR_GEMMS
from support import records
from support.process import ROOT, Run

RATES = {"gemm_naive": 0.5, "gemm_tiled": 2, "gemm_packed": 8, "gemm": 64}
SMALL = ["--m", "9", "--n", "40", "--k", "30", "--seconds", "0.001"]


def rung(
    operation: str, gflops: float, threads: int = 1, backend: str = "c", isa: str = "avx2", **other: Any
) -> dict[str, Any]:
    """A product of 1 MFLOP."""
    fields = {"dims": {"m": 50, "n": 100, "k": 100}, "level": "L2", "seconds": [1e-3 / gflops] * 5, "rounds": [0] * 5}
    return make_row("kernel", operation, "f32", backend, isa, threads, **(fields | other))


def whole(**slower: float) -> Metrics:
    """A climb on one thread and two; Numba's rates are half of C's. The peak is 100 GFLOP/s however many threads."""
    rows = [
        rung(operation, rate * scale, backend=backend)
        for backend, scale in (("c", 1), ("numba", 0.5))
        for operation, rate in (RATES | slower).items()
    ]
    rows += [records.fma(2), rung("gemm", 96, 2), rung("gemm", 48, 2, "numba")]
    return records.make(rows)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    store.save(whole().record, tmp_path / "climb.json")
    store.save(records.make([records.product(16, 90)]).record, tmp_path / "flat.json")
    return tmp_path


def test_figures() -> None:
    steps = climb(whole())
    assert [(s.rung, s.backend, s.threads) for s in steps] == [
        (r.name, backend, 1 if r.alone else 2) for backend in ("c", "numba") for r in RUNGS
    ]
    assert [s.gflops.value for s in steps[:5]] == pytest.approx([0.5, 2, 8, 64, 96])
    assert [s.percent.value for s in steps[:5]] == pytest.approx([0.5, 2, 8, 64, 96])
    assert [s.percent.value for s in steps[5:]] == pytest.approx([0.25, 1, 4, 32, 48])
    assert steps[0].gain is steps[5].gain is None  # nothing is below, least of all C's highest rung
    assert [s.gain.value for s in steps[1:5] if s.gain] == pytest.approx([4, 4, 8, 1.5])


def test_what_a_rung_changes_is_the_records() -> None:
    """Element, vector and tile sizes come from the rows, not from the machine that shows them."""
    naive, _, _, vector, threads = (s.change for s in climb(whole())[:5])
    assert "4 of a line's 64 bytes" in naive
    assert vector.startswith("8 multiply-adds per instruction, sums in")
    assert threads.startswith("2 cores")


def test_a_fall_is_shown_as_one() -> None:
    fall = climb(whole(gemm_packed=1))[2].gain
    assert fall
    assert fall.value == pytest.approx(0.5)


def test_ratios_are_of_the_same_moment() -> None:
    """A machine that slows down over rounds and visits slows both rungs: their ratio stays."""
    moods = [1.0, 0.9, 0.8, 0.3, 0.25, 0.2]
    at = {"rounds": list(range(6)), "starts": [float(i) for i in range(6)]}
    rows = [rung(op, rate, **at) for op, rate in (("gemm_naive", 1.0), ("gemm_tiled", 4.0))]
    rows += [rung("gemm", rate, threads, **at) for rate, threads in ((16.0, 1), (24.0, 2))]
    rows[3]["rounds"] = [n + 6 for n in range(6)]
    for row in rows:
        row["seconds"] = [s / mood for s, mood in zip([row["seconds"][0]] * 6, moods, strict=True)]
        row["visits"] = [0, 0, 0, 1, 1, 1]
    steps = climb(records.make([*rows, records.fma(2)]))
    for step, factor in zip(steps[1:], (4, 4, 1.5), strict=True):
        assert step.gain
        assert step.gain.value == pytest.approx(factor)
        assert step.gain.high / step.gain.low < 1.2


def test_one_core_has_no_rung_of_threads() -> None:
    rows = [rung(operation, rate) for operation, rate in RATES.items()]
    assert [s.rung for s in climb(records.make(rows))] == ["naive", "tiled", "packed", "vector"]


def test_only_one_shape_is_climbed() -> None:
    rows = [rung("gemm", 50, dims={"m": 5, "n": 5, "k": 5}), rung("gemm_tiled", 2), rung("gemm", 64)]
    assert [(s.rung, s.gflops.value) for s in climb(records.make(rows))] == [
        ("tiled", pytest.approx(2)),
        ("vector", pytest.approx(64)),
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([records.product(16, 90)], "no climb"),
        ([rung("gemm_naive", 1, 2)], "on one thread"),
        ([rung("gemm_naive", 1, isa="avx512")], "no FMA peak of avx512"),
        ([rung("gemm_naive", 1), rung("gemm", 1, 2)], "no FMA peak of avx2 in f32 on 2"),
    ],
)
def test_records_without_a_climb(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        climb(records.make(rows))


def test_markdown() -> None:
    metrics = whole()
    lines = for_page(metrics, climb(metrics)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 10
    assert len({line.count("|") for line in table}) == 1
    assert "| threads | C | 2 | 96.0 [-] | 96.0 | 1.50 [-] |" in table[6]
    assert "m = 50, n = 100, k = 100" in lines[1]


def test_products() -> None:
    case = product("bert-base", "ffn_up", 128, None, None, "f32")
    assert (case.m, case.n, case.k, case.weight, case.layers) == (128, 3072, 768, True, ("BERT-Base ffn_up",))
    assert product("BERT-Base", "ffn_up", 7, 8, 9, "f32").layers == ()
    assert not product("BERT-Base", "ffn_up", 7, 8, 9, "f32").weight  # 288 bytes stay in cache, whatever one does
    with pytest.raises(BadInput, match="scores"):
        product("GPT-2", "lm_head", 1, None, None, "f32")


def test_every_rung_is_an_operation() -> None:
    assert {r.operation for r in RUNGS} <= set(OPERATIONS)
    assert [r.alone for r in RUNGS].count(False) == 1


# --- the command


def test_command(python: Run, tmp_path: Path) -> None:
    ran = python("-m", "bench.ladder", *SMALL, "--picture", "p/climb", "--json")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    (saved,) = tmp_path.glob("results/*/*-ladder.json")  # by machine, dated
    document = store.read(saved)
    assert store.problems(store.load(saved)) == []
    assert shown["record"] == document
    assert [s["rung"] for s in shown["steps"]][:4] == ["naive", "tiled", "packed", "vector"]
    assert {s["backend"] for s in shown["steps"]} == {"c", "numba"}
    assert (tmp_path / "p/climb.png").read_bytes().startswith(b"\x89PNG")
    fma, naive = (next(r for r in document["rows"] if r["operation"] == name) for name in ("fma", "gemm_naive"))
    both = set(fma["rounds"]) & set(naive["rounds"])  # all, but where a sample lost its CPU and was taken again
    assert len(both) > len(naive["rounds"]) / 2
    assert set(naive["visits"]) >= {0, 1, 2}

    again = python("-m", "bench.ladder", saved)
    assert again.returncode == 0
    assert all(r.name in again.stdout for r in RUNGS[:4])
    assert len(list(tmp_path.glob("results/*/*-ladder.svg"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.json"], "none.json: No such file"),
        (["flat.json"], "flat.json: it holds no climb"),
        (["climb.json", "--picture", "climb.json/p"], "can't write climb.json/p"),
        (["--layer", "attention"], "--layer attention: BERT-Base multiplies"),
        (["--model", "gpt-9"], "gpt-9"),
        (["--m", "0"], "--m, --n and --k"),
        (["--m", "513"], "--m 513: BERT-Base takes 1 to 512"),
        (["--n", "8"], "both --n and --k"),
        (["--dtype", "f16"], "--dtype"),
        (["--threads", "1,9999"], "--threads"),
        (["--seconds", "0"], "--seconds 0"),
        (["--n", "9999999", "--k", "9999999"], "takes more memory than there is"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: list[str], words: str
) -> None:
    from bench import cli
    from bench.ladder import __main__ as ladder

    monkeypatch.chdir(saved)
    monkeypatch.setattr("sys.argv", ["ladder.py", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.run(ladder.main)
    out, err = capsys.readouterr()
    assert (exit_.value.code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_the_page_shows_its_record() -> None:
    """docs/ladder.md has the table that docs/ladder.json gives."""
    metrics = store.load(ROOT / "docs" / "ladder.json")
    page = (ROOT / "docs" / "ladder.md").read_text()
    assert for_page(metrics, climb(metrics)) in page


# --- what the rungs are made of


@pytest.mark.parametrize("operation", SCALAR_GEMMS)
def test_lower_rungs_of_c_are_scalar(operation: str, machine_code: str) -> None:
    """On x86-64: no multiplication of vectors in their machine code, and at least one of scalars."""
    functions = [f for f in machine_code.split("\n\n") if re.match(rf"[0-9a-f]+ <{operation}[.>]", f)]
    if not functions:
        pytest.skip("the symbols were stripped")
    multiplications = re.findall(r"\sv?(?:fn?madd\d+|mul)([ps])[sd]\s", "\n".join(functions))
    assert set(multiplications) == {"s"}
