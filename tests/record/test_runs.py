"""Runs of whole models in records: their work, what is refused, what is marked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BadInput
from bench.record import store
from bench.record.format import digest
from bench.record.metrics import Metrics
from bench.record.runs.faults import slow_parts
from bench.record.runs.run import ModelNumbers, Run, RunFigures, good, key
from bench.record.runs.work import work
from support import records
from support.runs import BERT, CHAIN, GPT2, inference, training

Record = dict[str, Any]


def stored(model: ModelNumbers = BERT, phase: str = "encode", length: int = 128, **other: Any) -> Run:
    """In 4 bits."""
    of: dict[str, Any] = {"types": {"weights": "i4g32", "activations": "f32"}, "linear": "linear_a8"}
    return inference(model, phase, length, **of, **other)


def record(runs: list[Run]) -> Record:
    made: Any = records.of([records.fma(), records.read()], runs=runs).record
    return made


def all_kinds() -> list[Run]:
    return [
        inference(),
        inference(GPT2, "prefill", 8, (2.0,) * 9),
        inference(GPT2, "decode", 8, (4.0,) * 9),
        inference(backend="torch", isa="2.9", parts=False, together=None),
        stored(),
        training(8),
        training(2, (1.25,) * 9, 250),
    ]


def test_round_trip(tmp_path: Path) -> None:
    made = record(all_kinds())
    store.save(made, tmp_path / "r.json")
    assert store.load(tmp_path / "r.json").record == made
    assert store.problems(store.load(tmp_path / "r.json")) == []


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", 2.0), ("percent_of_roof", 50.0), ("over_unit", 0.5), ("tokens_per_second", 1.0)]
)
def test_figures_that_do_not_follow_are_found(name: str, value: float, tmp_path: Path) -> None:
    document = record(all_kinds())
    document["figures"]["runs"][0][name]["value"] = value
    document["digest"] = digest(document)
    (problem,) = store.problems(Metrics(document))
    assert f"figures.runs[0].{name}.value is {value}; the raw seconds give" in problem


# --- figures


def figures(*runs: Run) -> list[RunFigures]:
    return records.of([records.fma(), records.read()], runs=runs).run_figures


def test_a_bound_is_the_longer_of_two_times_call_by_call() -> None:
    """The probes reach 100 GFLOP/s and 20 GB/s; of caches nothing is known here."""
    (of,) = figures(inference(seconds=(2.0,) * 9))
    times, flops, cold, hot, back = np.concatenate(list(work(inference()).values())).T
    bound = float(times @ np.maximum(flops / records.PEAK, (cold + hot - back) / records.READ))
    assert of["bound_seconds"] == pytest.approx(bound)
    assert of["percent_of_roof"]["value"] == pytest.approx(50 * bound)
    assert sum(part["bound_seconds"] or 0 for part in of["parts"].values()) == pytest.approx(bound)


def test_integers_are_bound_by_their_own_peak() -> None:
    """The linear layers' alone; and by f32's, where theirs wasn't measured."""
    run = inference(linear="linear_a8", types={"weights": "i8", "activations": "f32"})
    slow = records.of([records.fma(), records.read()], runs=[run]).run_figures[0]["parts"]
    fast = records.of([records.fma(), records.dot("i8", 200e9), records.read()], runs=[run]).run_figures[0]["parts"]
    assert fast["ffn_up"]["bound_seconds"] < slow["ffn_up"]["bound_seconds"]
    assert fast["scores"]["bound_seconds"] == slow["scores"]["bound_seconds"]


def test_a_bound_is_that_of_the_samples_round() -> None:
    """A machine that is half as fast in one pass, memory and arithmetic, leaves the share of the bound as it is."""
    pace = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    rows = [records.fma(rates=[records.PEAK * p for p in pace]), records.read(rates=[records.READ * p for p in pace])]
    (of,) = records.of(rows, runs=[inference(seconds=[1 / p for p in pace])]).run_figures
    share = of["percent_of_roof"]
    assert share["low"] == pytest.approx(share["high"])
    assert of["grade"] == "A"


def test_runs_are_told_in_the_unit_of_their_rounds() -> None:
    """A machine that is twice as slow in one pass moves neither the ratio nor its interval."""
    slower = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    unit, other = inference(seconds=slower), inference(GPT2, "decode", 8, [12 * s for s in slower])
    numba = inference(backend="numba", seconds=(5.0,) * 9)
    of_unit, of_other, of_numba = figures(unit, other, numba)
    assert of_other["over_unit"] == pytest.approx({"value": 12, "low": 12, "high": 12})
    assert of_unit["over_unit"]["value"] == of_numba["over_unit"]["value"] == 1
    assert of_other["seconds"]["high"] > 1.5 * of_other["seconds"]["value"]
    (alone,) = figures(other)
    assert "over_unit" not in alone


def test_stored_weights_are_told_beside_native_ones() -> None:
    """In the same rounds, whatever the machine does meanwhile; bytes with scales: 32 f32 of 4 against 18 a group."""
    slower = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    of = GPT2, "decode", 8
    of_native, of_four = figures(inference(*of, [4 * s for s in slower]), stored(*of, seconds=slower))
    assert of_four["speedup"] == pytest.approx({"value": 4, "low": 4, "high": 4})
    assert 5 < of_four["byte_ratio"] < 128 / 18
    assert not {"speedup", "byte_ratio"} & set(of_native)
    (alone,) = figures(stored(*of))
    assert "speedup" not in alone and alone["byte_ratio"] == of_four["byte_ratio"]


def test_a_step_of_training_is_told_in_the_one_that_keeps_all() -> None:
    whole, often = figures(training(8), training(2, (1.25,) * 9))
    assert whole["over_unit"]["value"] == 1
    assert often["over_unit"]["value"] == pytest.approx(1.25)
    assert often["bound_over_unit"] == pytest.approx(1 + 6 / 24, rel=0.05)


def test_runs_are_graded_by_their_visits() -> None:
    for later, grade in ((1.0, "A"), (1.15, "B"), (1.4, "C"), (2.0, "D")):
        seconds = [1.0] * 6 + [later] * 3
        assert figures(inference(backend="torch", parts=False, seconds=seconds))[0]["grade"] == grade
    assert "grade" not in figures(inference(seconds=[1.0] * 3))[0]


def edited(*keys: Any, to: Any) -> Callable[[Record], None]:
    def edit(document: Record) -> None:
        at = document["runs"]
        for name in keys[:-1]:
            at = at[name]
        at[keys[-1]] = to

    return edit


TAMPERED = {
    "stored weights without an operation": (
        edited(0, "types", "weights", to="i8"),
        "run 0: inference of weights in i8",
    ),
    "an operation of native weights": (edited(0, "linear", to="linear"), "run 0: linear of weights in f32"),
    "rows of broken groups": (edited(4, "types", "weights", to="i4g128"), "width 32 is no multiple of 128"),
    "a faster sample": (edited(0, "seconds", 3, to=0.5), "run 0: the parts of a sample don't add up"),
    "rounds": (edited(0, "rounds", to=[1]), "run 0: 9 samples but 1 rounds"),
    "a sample of a part less": (edited(0, "parts", "norm", to=[0.1]), "not of each part"),
    "a part of nothing": (edited(0, "parts", "attention", to=[0.1] * 9), "run 0: its parts are"),
    "a mark too many": (edited(1, "marks", to={"slow_part": [2]}), r"run 1: its parts mark no sample as slow"),
    "a mark beyond": (edited(1, "marks", to={"preempted": [9]}), "9 samples, but preempted marks more"),
    "heads that don't fit": (edited(2, "model", "heads", to=5), "width 32 is no multiple of 5 heads"),
    "more heads at once": (edited(2, "together", to=5), "5 heads together, of 4"),
    "a chain that encodes": (edited(5, "phase", to="encode"), "training has no phase encode"),
    "no checkpoint": (edited(5, "interval", to=None), "an interval of 1 to all layers"),
    "one twice": (edited(6, "interval", to=8), "run 6: it is there twice"),
    "a model without heads": (edited(0, "model", to=CHAIN), "a Transformer has heads"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_refused(how: str, tmp_path: Path) -> None:
    """With a digest that was renewed, too."""
    change, words = TAMPERED[how]
    document = record(all_kinds())
    change(document)
    document["digest"] = digest(document)
    store.save(document, tmp_path / "r.json")
    with pytest.raises(BadInput, match=words):
        store.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    "change",
    [
        edited(0, "length", to=1 << 20),
        edited(0, "seconds", 0, to=0.0),
        edited(0, "model", "layers", to=0),
        edited(0, "what", to="guess"),
        edited(0, "more", to=1),
    ],
)
def test_what_the_schema_refuses(change: Callable[[Record], None], tmp_path: Path) -> None:
    document = record(all_kinds())
    change(document)
    store.save(document, tmp_path / "r.json")
    with pytest.raises(BadInput, match=r"runs\[0\]"):
        store.read(tmp_path / "r.json")


# --- work


def test_a_models_work_follows_from_its_numbers() -> None:
    """Decoding reads every weight and row of the cache once per token."""
    d, f, length = BERT["width"], BERT["ffn"], 128
    encode = work(inference(length=length))
    matrices = {part: float(encode[part][:, 0] @ encode[part][:, 1]) for part in ("qkv", "o", "ffn_up", "ffn_down")}
    assert sum(matrices.values()) == 2 * 2 * length * (4 * d * d + 2 * d * f)
    decode, f = work(inference(GPT2, "decode", 8)), GPT2["ffn"]
    cold = sum(float(calls[:, 0] @ calls[:, 2]) for calls in decode.values())
    cache = 2 * 2 * d * sum(range(1, 9))
    assert cold == 4 * (8 * (2 * (4 * d * d + 2 * d * f) + 50 * d) + cache + 2 * 8 * d)


def test_a_longer_interval_computes_less_again() -> None:
    flops = {k: sum(float(c[:, 0] @ c[:, 1]) for c in work(training(k)).values()) for k in (8, 4, 1)}
    assert [flops[k] / flops[8] for k in (4, 1)] == pytest.approx([1 + 4 / 24, 1 + 7 / 24])


def test_a_run_is_known_by_its_models_numbers() -> None:
    names = [key(run) for run in all_kinds()]
    assert len(set(names)) == len(names)
    assert key(inference(BERT | {"ffn": 96})) != key(inference())
    assert key(inference(seconds=(3.0,) * 9)) == key(inference())


# --- marks


def test_a_slow_part_is_marked() -> None:
    """Held against the same shape in whatever model, on the same backend; what hardly matters isn't marked."""
    runs = [inference(), inference(BERT | {"name": "other"}), inference(backend="numba")]
    assert slow_parts(runs) == [[], [], []]
    for name, factor, marked in (("norm", 2.9, []), ("norm", 3.1, [4]), ("gelu", 3.1, [4])):
        slow = inference()
        slow["parts"][name][4] *= factor
        slow["seconds"][4] = sum(spent[4] for spent in slow["parts"].values())
        assert slow_parts([slow, *runs[1:]]) == [marked, [], []]
    whole = inference(seconds=(4.0,) * 9, first=20)  # all of its samples are slow: the other models tell
    assert slow_parts([whole, *(inference(BERT | {"name": n}) for n in "abc")])[0] == list(range(9))


def test_marked_samples_do_not_count_unless_they_are_most() -> None:
    run = inference()
    run["marks"] = {"preempted": [0, 1], "slow_part": [1, 2]}
    assert good(run) == [3, 4, 5, 6, 7, 8]
    run["marks"] = {"preempted": [0, 1, 2, 3], "slow_part": [4]}
    assert good(run) == list(range(9))
