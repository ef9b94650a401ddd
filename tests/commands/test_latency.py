"""Latencies of whole models: how they are measured, what their figures are made of, the picture, what is refused."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.errors import BadInput
from bench.measure.groups import VISITS, permuted
from bench.measure.models.latency import Latency
from bench.measure.models.tasks import tasks
from bench.measure.models.visits import BESIDE, round_of
from bench.measure.session import Session
from bench.record.metrics import Metrics
from bench.record.store import load, save
from bench.transformer import __main__ as transformer
from bench.transformer.plot import draw
from bench.transformer.rows import paper, rows_of
from bench.transformer.tables import latency_table, parts_table
from bench.transformer.words import page, words
from bench.workloads.model import Model, find
from support import checkpoints, records
from support.checkpoints import write
from support.needed import needed
from support.runs import inference, roofs

pytestmark = pytest.mark.xdist_group("latency")

BERT = Model("BERT-Base", 2, 32, 4, 64, 50, 160, segments=2)  # the name that latencies are normalised by
GPT2 = Model("GPT-2", 2, 32, 4, 128, 50, 64, decoder=True, fused_qkv=True, conv1d=True)


def quiet(session: Session, patch: pytest.MonkeyPatch) -> Session:
    """A session that measures no roofs."""
    roofs(session)
    for name in ("start", "finish", "probe_round"):
        patch.setattr(session, name, lambda *_: None)
    return session


@pytest.fixture(scope="module")
def latency() -> Iterator[Latency]:
    with pytest.MonkeyPatch.context() as patch:
        found = Latency(quiet(Session("python -m bench.transformer", [1], ["f32"]), patch), TASKS, 1)
        seen = [(visit, task.label) for visit, task in found.measure(0.001)]
        found.session.complete = True
        passes = [[label for visit, label in seen if visit == v] for v in range(VISITS)]
        assert all(sorted(labels) == sorted(task.label for task in TASKS) for labels in passes)
        yield found


TASKS = tasks([BERT, GPT2], [8, 128])


@pytest.fixture(scope="module")
def metrics(latency: Latency) -> Metrics:
    return latency.session.metrics()


def test_a_run_of_seconds_has_more_than_one_sample_of_each_roof_beside_it() -> None:
    assert round_of(2, [0.001, 0.1, 9.0]) == [0, 1, 2] + [0, 1] * 2 + [3] + [0, 1] * BESIDE + [4]


def test_passes_have_different_orders() -> None:
    """A model's tasks stay together: its weights take a while to make."""
    orders = [[task.label for task in permuted(TASKS, visit, lambda task: task.model)] for visit in range(VISITS)]
    assert len(set(map(tuple, orders))) == VISITS
    for order in orders:
        models = [label.split(",")[0] for label in order]
        assert sum(a != b for a, b in pairwise(models)) == 1


def test_the_unit_is_timed_in_every_round(metrics: Metrics) -> None:
    """On the same backend: what a disturbed second does to it, it does to one round of many."""
    for backend in ("c", "numba"):
        mine = [run for run, _ in metrics.run_pairs if run["backend"] == backend]
        (unit,) = (run for run in mine if (run["model"]["name"], run["length"]) == ("BERT-Base", 128))
        assert set(unit["visits"]) >= set(range(VISITS))
        for run in mine:  # a disturbed sample is taken again, in a round of its own
            assert 2 * len(set(run["rounds"]) & set(unit["rounds"])) >= len(run["rounds"])
            assert set(run["visits"]) >= set(range(VISITS))
            assert sorted(run["starts"]) == run["starts"]


def test_figures(metrics: Metrics) -> None:
    rows = rows_of(metrics)
    places = [(row["model"], row["phase"], row["length"], row["backend"]) for row in rows]
    wanted = [("BERT-Base", "encode"), ("GPT-2", "prefill"), ("GPT-2", "decode")]
    assert sorted(places) == sorted((*w, n, b) for w in wanted for n in (8, 128) for b in ("c", "numba"))
    for row in rows:
        time, parts = row["seconds"], row["parts"]
        assert row["samples"] >= VISITS
        assert 0 < time["low"] <= time["value"] <= time["high"]
        assert row["normalised"]["value"] > 0
        assert row["gflops"] == pytest.approx(sum(p["flops"] for p in parts) / time["value"] / 1e9)
        assert row["tokens_per_second"] == pytest.approx(row["length"] / time["value"])
        assert row["bound_seconds"] == pytest.approx(sum(p["bound_seconds"] for p in parts))
        assert all(p["seconds"]["value"] > 0 and p["bound_seconds"] > 0 for p in parts)
        assert row["grade"] in "ABCD"
        if (row["model"], row["length"]) == ("BERT-Base", 128):
            assert (row["normalised"]["value"], row["normalised_bound"], row["paper"]) == (1, 1, 1)
    papers = {(row["model"], row["phase"], row["length"]): row["paper"] for row in rows if row["paper"]}
    assert papers == {("BERT-Base", "encode", 128): 1, ("GPT-2", "decode", 128): 45}


def test_backends_do_the_same_work(metrics: Metrics) -> None:
    rows = {(r["model"], r["phase"], r["length"], r["backend"]): r for r in rows_of(metrics)}
    for (*place, backend), row in rows.items():
        other = rows[*place, "numba" if backend == "c" else "c"]
        assert row["executed"] == other["executed"]
    only = [task.backends for task in tasks([BERT], [8], ("numba",))]
    assert only == [("numba",)]


def test_executed_is_what_is_counted(metrics: Metrics) -> None:
    """The encoder's FLOPs are the model's but for biases, the first norm and adds, counted otherwise."""
    for row in rows_of(metrics):
        if row["phase"] == "encode":
            assert row["executed"]["flops"] == pytest.approx(row["modelled"]["flops"], rel=0.05)


def test_a_disturbed_second_of_the_unit_moves_no_latency() -> None:
    """It takes eight times as long in one round; the others' medians stay, and the sample is marked."""
    seconds = [0.1] * 9
    calm, hit = inference(seconds=seconds), inference(seconds=[0.8, *seconds[1:]])
    gpt2 = inference({**calm["model"], "name": "GPT-2"}, "prefill", 8, (0.3,) * 9)
    for unit in (calm, hit):
        metrics = records.of([records.fma(), records.read()], runs=[unit, gpt2])
        rows = {row["model"]: row for row in rows_of(metrics)}
        assert rows["GPT-2"]["normalised"]["value"] == pytest.approx(3)
        assert rows["BERT-Base"]["seconds"]["value"] == pytest.approx(0.1)
        assert rows["BERT-Base"]["marked"] == (unit is hit)


def test_the_paper_has_18_latencies() -> None:
    assert len(paper()) == 18
    assert paper()["BERT-Base", 128] == 1
    assert paper()["GPT-2", 4096] == 2344


# --- shown again


def test_tables_and_words(metrics: Metrics) -> None:
    """A line per backend in one, columns of each in the others."""
    rows = rows_of(metrics)
    assert latency_table(rows).row_count == len(rows)
    headings = [column.header for column in parts_table(rows[:2]).columns]
    assert {"c: time", "numba: time"} <= set(headings)
    said = words(rows)
    assert len(said) == 3
    assert any(sentence.startswith("GPT-2 generates 128 tokens at ") for sentence in said)


def test_a_picture_of_one_length_without_the_unit(metrics: Metrics, tmp_path: Path) -> None:
    rows = [row | {"normalised": None} for row in rows_of(metrics) if (row["model"], row["length"]) == ("GPT-2", 8)]
    for path in draw(rows, tmp_path / "picture", ["a machine", "a day"]):
        assert path.stat().st_size > 10_000


def test_a_record_is_shown_again(metrics: Metrics, tmp_path: Path, capsys: Any) -> None:
    """With the same figures, page and picture, without measuring; and it is good."""
    save(metrics.record, tmp_path / "r.json")
    assert check.main([str(tmp_path / "r.json")]) == 0
    capsys.readouterr()
    assert transformer.main([str(tmp_path / "r.json"), "--json", "--record", str(tmp_path / "copy.json")]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["record"] == metrics.record == load(tmp_path / "copy.json").record
    assert given["latency"] == json.loads(json.dumps(rows_of(metrics)))
    assert (tmp_path / "r.md").read_text() == page(metrics, rows_of(metrics), [])
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_record_without_models_is_refused(tmp_path: Path) -> None:
    save(records.make([records.product(8, 60)]).record, tmp_path / "r.json")
    with pytest.raises(BadInput, match="no latency of a whole model"):
        transformer.main([str(tmp_path / "r.json")])


def test_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """Record, page and picture have the machine and the day in their names."""
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    monkeypatch.setattr(Session, "start", roofs)
    monkeypatch.setattr(transformer, "MODELS", [BERT])
    arguments = ["--length", "8", "--threads", "1", "--parts", "--seconds", "0.001", "--results", str(tmp_path)]
    assert transformer.main(arguments) == 0
    out = capsys.readouterr().out
    assert "BERT-Base, encode, 8 tokens: " in out
    (record,) = tmp_path.glob("*/*-transformer.json")
    assert f"record: {record}" in out
    assert load(record).record["machine"]["id"] == record.parent.name
    assert {p.name.removeprefix(record.stem) for p in record.parent.iterdir()} == {".json", ".md", ".png", ".svg"}


def test_a_checkpoint_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """Its model is that of config.json, with its folder's name."""
    needed("safetensors")
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    monkeypatch.setattr(Session, "start", roofs)
    folder = write(tmp_path / "mine", checkpoints.GPT2)
    arguments = ["--weights", str(folder), "--length", "8", "--threads", "1", "--backend", "c", "--seconds", "0.001"]
    assert transformer.main([*arguments, "--json", "--results", str(tmp_path)]) == 0
    runs = json.loads(capsys.readouterr().out)["record"]["runs"]
    numbers = {"name": "mine", "layers": 2, "width": 32, "ffn": 128, "heads": 4, "vocabulary": 61}
    assert [(run["phase"], run["model"]) for run in runs] == [("prefill", numbers), ("decode", numbers)]
    assert transformer.main(["--weights", str(folder), "--counts", "--length", "8"]) == 0
    assert "mine" in capsys.readouterr().out


def test_weights_that_are_only_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """f32 first, then each type, in the same rounds; shown again, checked, and refused once it is changed."""
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    monkeypatch.setattr(Session, "start", roofs)
    monkeypatch.setattr(transformer, "MODELS", [GPT2])
    arguments = ["--weights-as", "bf16,int8,i4g32,int4", "--length", "8", "--threads", "1", "--backend", "c"]
    arguments += ["--seconds", "0.001", "--results", str(tmp_path)]
    assert transformer.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    runs, rows = document["record"]["runs"], document["latency"]
    wanted = [("f32", None), ("bf16", "linear"), ("i8g32", "linear_a8"), ("i4g32", "linear_a8")]
    for phase in ("prefill", "decode"):
        mine = [row for row in rows if row["phase"] == phase]
        assert [(row["dtype"], row["linear"]) for row in mine] == wanted
        native, *stored = mine
        assert native["accuracy"] is native["speedup"] is None
        assert all(row["byte_ratio"] > 1.5 for row in stored)
        assert [row["byte_ratio"] for row in stored] == sorted(row["byte_ratio"] for row in stored)
        for row in stored:
            assert row["speedup"]["low"] <= row["speedup"]["value"] <= row["speedup"]["high"]
            assert row["accuracy"]["weights"] == row["accuracy"]["text"] == "random"
            assert 0 < row["accuracy"]["kl"] < 0.1
            assert row["accuracy"]["perplexity"] is None
    rounds = [run["rounds"] for run in runs if run["phase"] == "decode"]
    assert all(one == rounds[0] for one in rounds[1:])

    (path,) = tmp_path.glob("*/*-transformer.json")
    page = path.with_suffix(".md").read_text()
    assert check.main([str(path)]) == 0
    capsys.readouterr()
    monkeypatch.setattr("bench.cli.console", lambda stderr=False: __import__("rich.console").console.Console(width=200))
    assert transformer.main([str(path), "--parts"]) == 0
    out = capsys.readouterr().out
    assert path.with_suffix(".md").read_text() == page
    assert "GPT-2, decode, 8 tokens, weights in i4g32, x in 8 bits: " in out
    assert "The weights are random: errors tell of the arithmetic alone." in out


def test_a_checkpoint_reads_a_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """As ids of tokens: then perplexity means something."""
    needed("safetensors")
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    monkeypatch.setattr(Session, "start", roofs)
    folder, ids = write(tmp_path / "mine", checkpoints.GPT2), tmp_path / "ids"
    ids.write_text(" ".join(str(i % 61) for i in range(60)))
    arguments = ["--weights", str(folder), "--length", "8", "--threads", "1", "--backend", "c", "--seconds", "0.001"]
    arguments += ["--phase", "decode", "--weights-as", "int8", "--activations", "f32", "--token-ids", str(ids)]
    assert transformer.main([*arguments, "--json", "--results", str(tmp_path)]) == 0
    _, run = json.loads(capsys.readouterr().out)["record"]["runs"]
    of = run["accuracy"]
    assert (run["linear"], of["weights"], of["text"], of["positions"]) == ("linear", "checkpoint", "given", 60)
    assert of["perplexity"] == pytest.approx(of["native_perplexity"], rel=0.01)
    assert 30 < of["perplexity"] < 120


# --- refused


def test_longer_than_the_models_positions() -> None:
    assert [task.model.positions for task in tasks([BERT], [8, 500])] == [500, 500]


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.models.visits.available_memory_bytes", lambda: 1 << 30)
    with pytest.raises(BadInput, match=r"BERT-Large, encode, 128 tokens: takes 2\.4 GiB; 1\.0 GiB are available"):
        Latency(Session("test", [1]), tasks([find("BERT-Large")], [128], ("c",)), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama-3-8b"], "Llama-3-8B can be counted, but not run"),
        (["--full", "--length", "9"], "--full goes with neither"),
        (["--length", "100000"], "--length 100000: at most 65536 tokens are measured"),
        (["--threads", "0"], "--threads 0"),
        (["--seconds", "0"], "--seconds 0"),
        (["--weights", "/no/x", "--model", "gpt-2"], "--weights /no/x: no such file"),
        (["--weights", "."], "no config.json beside it says of what model"),
        (["--weights", ".", "--dtype", "f64"], "--weights: in f32"),
        (
            ["--weights", ".", "--model", "bert-base", "--length", "513"],
            "--length 513: BERT-Base's weights are for 1 to 512",
        ),
        (["--weights-as", "int3"], "--weights-as int3: one or several of int8, int4, bf16"),
        (["--weights-as", "int4", "--dtype", "f64"], "--weights-as: beside f32"),
        (["--weights-as", "int4", "--peers"], "--weights-as: beside f32, without --peers"),
        (["--text", "x"], "--text judges --weights-as"),
        (["--weights-as", "int4", "--text", "x"], "--text needs --weights with a tokenizer"),
        (["--weights-as", "int4", "--text", "x", "--token-ids", "x"], "--text or --token-ids, not both"),
        (["--weights-as", "int4", "--token-ids", "/no/ids"], "/no/ids: No such file"),
        (["--model", "bert-base", "--phase", "decode"], "BERT-Base has no phase decode"),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        transformer.main(arguments)
