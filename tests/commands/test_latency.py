"""Latencies of whole models: what their figures are made of, the picture, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.measure.session import Session
from bench.record.intervals import Interval
from bench.record.roofs import Roofs
from bench.transformer import __main__ as transformer
from bench.transformer.latency import Latency
from bench.transformer.plot import draw
from bench.transformer.tables import latency_table, parts_table
from bench.transformer.tasks import LEAST, tasks
from bench.workloads.model import Model, find

BERT = Model("BERT-Base", 2, 32, 4, 64, 50, 160, segments=2)  # the name that latencies are normalised by
GPT2 = Model("GPT-2", 2, 32, 4, 128, 50, 64, decoder=True, fused_qkv=True, conv1d=True)


@pytest.fixture(scope="module")
def measured() -> Iterator[Latency]:
    """Measured under roofs that are made up: those of a session take a while."""
    session = Session("test", [1], ["f32"])
    flat = {level: Interval(rate, rate, rate) for level, rate in (("L1", 4e11), ("L2", 2e11), ("DRAM", 2e10))}
    found = Latency(session, tasks([BERT, GPT2], [8, 128]), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "probe_round", lambda threads: None)
        patch.setattr(found, "roofs", lambda: Roofs(1, {("f32", session.isa): Interval(1e11, 1e11, 1e11)}, flat, {}))
        assert found.estimate(0.001) > 0
        assert [task.label for task in found.measure(0.001)] == [task.label for task in found.tasks]
        yield found


def test_figures(measured: Latency) -> None:
    rows = measured.rows()
    places = [("BERT-Base", "encode"), ("GPT-2", "prefill"), ("GPT-2", "decode")]
    assert [(row["model"], row["phase"], row["length"], row["backend"]) for row in rows] == [
        (*place, length, backend) for place in places for length in (8, 128) for backend in ("c", "numba")
    ]
    for row in rows:
        normal = rows[2 if row["backend"] == "c" else 3]
        assert (normal["normalised"], normal["normalised_bound"], normal["paper"]) == (1, 1, 1)
        time, parts = row["seconds"], row["parts"]
        assert len(row["samples"]) >= LEAST
        assert 0 < time["low"] <= time["value"] <= time["high"]
        assert row["normalised"] == pytest.approx(time["value"] / normal["seconds"]["value"])
        assert row["gflops"] == pytest.approx(sum(p["flops"] for p in parts) / time["value"] / 1e9)
        assert row["tokens_per_second"] == pytest.approx(row["length"] / time["value"])
        assert row["bound_seconds"] == pytest.approx(sum(p["bound_seconds"] for p in parts))
        assert all(p["seconds"] > 0 and p["bound_seconds"] > 0 for p in parts)
    assert [row["paper"] for row in rows[::2]] == [None, 1, None, None, None, 45]


def test_backends_do_the_same_work(measured: Latency) -> None:
    rows = measured.rows()
    for c, numba in zip(rows[::2], rows[1::2], strict=True):
        assert c["executed"] == numba["executed"]
        assert [part["calls"] for part in c["parts"]] == [part["calls"] for part in numba["parts"]]
        assert len(c["samples"]) == len(numba["samples"])
    only = [task.backends for task in tasks([BERT], [8], ("numba",))]
    assert only == [("numba",)]


def test_tables(measured: Latency) -> None:
    """A line per backend in one, columns of each in the others."""
    rows = measured.rows()
    assert latency_table(rows).row_count == len(rows)
    headings = [column.header for column in parts_table(rows[:2]).columns]
    assert {"c: time", "numba: time"} <= set(headings)


def test_executed_is_what_is_counted(measured: Latency) -> None:
    """The encoder's FLOPs are the model's but for a few that the paper counts otherwise: biases, the first norm, adds.
    Decoding reads every weight and row of the cache once per token.
    """
    for row in measured.rows():
        if row["phase"] == "encode":
            assert row["executed"]["flops"] == pytest.approx(row["modelled"]["flops"], rel=0.05)
        if row["phase"] == "decode":
            length, d = row["length"], GPT2.width
            matrices = GPT2.layers * (4 * d * d + 2 * d * GPT2.ffn) + GPT2.vocabulary * d
            cache = GPT2.layers * 2 * d * length * (length + 1) // 2
            look_ups = 2 * d * length
            assert row["executed"]["cold_bytes"] == 4 * (matrices * length + cache + look_ups)


def test_pictures(measured: Latency, tmp_path: Path) -> None:
    for rows in (measured.rows(), measured.rows()[5:6]):  # the second without what latencies are normalised by
        for path in draw(rows, tmp_path / "picture", "a machine"):
            assert path.stat().st_size > 10_000


def test_longer_than_the_models_positions() -> None:
    assert [task.model.positions for task in tasks([BERT], [8, 500])] == [500, 500]


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.transformer.tasks.available_memory_bytes", lambda: 1 << 30)
    with pytest.raises(BadInput, match=r"BERT-Large, encode, 128 tokens: takes 2\.4 GiB; 1\.0 GiB are available"):
        Latency(Session("test", [1]), tasks([find("BERT-Large")], [128], ("c",)), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama-3-8b"], "Llama-3-8B can be counted, but not run"),
        (["--full", "--length", "9"], "--full goes with neither"),
        (["--threads", "0"], "--threads 0"),
        (["--seconds", "0"], "--seconds 0"),
        (["--weights", "/no/x", "--model", "gpt-2"], "--weights /no/x: no such file"),
        (["--weights", "x"], "--weights: the weights of one model"),
        (
            ["--weights", "x", "--model", "bert-base", "--length", "513"],
            "--length 513: BERT-Base's weights are for 1 to 512",
        ),
        (["--model", "bert-base", "--phase", "decode"], "BERT-Base has no phase decode"),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        transformer.main(arguments)
