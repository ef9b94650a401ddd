"""Training memory against the paper's Fig. 4; the chain's gradients against float64; its bytes against tracemalloc."""

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import check
from bench.errors import BadInput
from bench.measure.groups import VISITS
from bench.measure.session import Session
from bench.memory import __main__ as memory
from bench.memory import measuring
from bench.memory.chain import Arena, Chain, account
from bench.memory.experiment import compared, verdict
from bench.memory.sizes import Disagreement, Sizes
from bench.memory.training import held, layer_elements, printed
from bench.record import store
from bench.workloads.model import find
from support import records
from support.runs import roofs, training

pytestmark = pytest.mark.xdist_group("memory")

# --- what training holds

FIG4 = {row.name: row for row in printed()}


def test_fig4_adds_up_but_for_its_slips() -> None:
    slips = {"AlexNet": 1.17, "GPT-2": 26.11}
    for row in FIG4.values():
        total = round((row.parameters + row.optimizer + row.activations) / 1e9, 2)
        assert total == pytest.approx(slips.get(row.name, row.total / 1e9))
        assert row.name not in slips or total != row.total / 1e9


@pytest.mark.parametrize(
    ("name", "part", "over"),
    [
        # the count over the printed figure; what is far from 1 is a difference in what is counted
        ("BERT Large", "parameters", 1.016),
        ("BERT Large", "optimizer", 1.016),
        ("BERT Large", "activations", 1.344),
        ("GPT-2", "parameters", 1.063),
        ("GPT-2", "optimizer", 1.072),  # 11.60 GiB: 11.62 "GB" printed
        ("GPT-2", "activations", 1.192),
    ],
)
def test_fig4_beside_the_count(name: str, part: str, over: float) -> None:
    row = FIG4[name]
    assert row.model is not None
    ours = held(find(row.model), row.length, row.batch)
    assert getattr(ours, part) / getattr(row, part) == pytest.approx(over, abs=1e-3)


def test_activations_are_those_of_korthikanti() -> None:
    """34 + 5 a s / h bytes per token and width in 16 bits, of which dropout's masks and results are 2 + 3 a s / h."""
    model, length = find("BERT-Large"), 512
    wanted = 32 * model.width + 2 * model.heads * length
    assert 2 * layer_elements(model, length) == wanted


def test_activations_of_a_gated_ffn_with_shared_heads() -> None:
    """Four of d, Q and what attention returns, K and V a quarter as wide, four of f, 100 scores of each head."""
    assert layer_elements(find("Llama-3-8B"), 100) == 4 * 4096 + 2 * 4096 + 2 * 1024 + 4 * 14336 + 32 * 100


def test_held_is_linear_in_the_batch_and_knows_the_optimizer() -> None:
    model = find("BERT-Base")
    one, four, sgd = held(model, 128, 1), held(model, 128, 4), held(model, 128, 1, states=1)
    assert four.activations == 4 * one.activations == 4 * held(model, 128, 2, itemsize=2).activations
    assert one.parameters == one.gradients == sgd.optimizer == one.optimizer // 2 == 4 * model.parameters()
    assert one.total == 4 * one.parameters + one.activations
    with pytest.raises(ValueError, match="at least 1"):
        held(model, 0, 1)


# --- the chain

SMALL = Sizes(layers=7, rows=24, width=32, ffn=128)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain(SMALL, threads=1)


def loss(chain: Chain, x: np.ndarray, up: list[np.ndarray], down: list[np.ndarray]) -> float:
    """The chain's forward pass in float64."""
    for w1, w2 in zip(up, down, strict=True):
        u = x @ w1
        x = x + (u / (1 + np.exp(-1.702 * u))) @ w2
    return float(np.sum(x * x) / 2)


@pytest.mark.parametrize("interval", [1, 2, 3, 7])
def test_gradients_are_those_of_the_loss(chain: Chain, interval: int) -> None:
    """Along a random direction of every array, against central differences in float64."""
    chain.step(interval)
    random = np.random.default_rng(interval)
    x = chain.input.astype(np.float64)
    weights = [[w.astype(np.float64) for w in side] for side in (chain.up, chain.down)]
    arrays = [x, *weights[0], *weights[1]]
    gradients = [chain.input_gradient, *chain.up_gradient, *chain.down_gradient]
    for array, gradient in zip(arrays, gradients, strict=True):
        direction = random.standard_normal(array.shape)
        values = []
        for sign in (1, -1):
            array += sign * 1e-5 * direction
            values.append(loss(chain, x, *weights))
            array -= sign * 1e-5 * direction
        slope = (values[0] - values[1]) / 2e-5
        assert np.sum(gradient * direction) == pytest.approx(
            slope, rel=1e-3, abs=1e-4 * float(np.linalg.norm(gradient))
        )


def test_all_intervals_agree_in_gradients_and_hold_what_is_predicted(chain: Chain) -> None:
    every = range(1, SMALL.layers + 1)
    found = account(chain, every)
    weights = chain.up + chain.down + chain.up_t + chain.down_t + chain.up_gradient + chain.down_gradient
    assert sum(a.nbytes for a in [*weights, chain.input, chain.input_gradient]) == SMALL.fixed_bytes
    assert {k: peak for k, (peak, _) in found.items()} == {k: SMALL.peak_bytes(k) for k in every}


@pytest.fixture(scope="module")
def real() -> Chain:
    """Two of BERT-Base's FFNs with 512 tokens: arrays of 1.5 to 6.3 MB, which don't come from malloc."""
    return Chain(Sizes(layers=2, rows=512, width=768, ffn=3072), threads=1)


def test_real_layers_hold_what_is_predicted(real: Chain) -> None:
    assert {k: peak for k, (peak, _) in account(real, [2, 1]).items()} == {k: real.sizes.peak_bytes(k) for k in (2, 1)}


@pytest.mark.parametrize("interval", [2, 1])
def test_a_step_maps_no_new_pages(real: Chain, interval: int) -> None:
    """A step would hold some 20 MB of new pages: 5,000 of 4 KiB, whose faults take as long as a layer."""
    real.step(interval)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    real.step(interval)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100


def test_a_leak_is_noticed(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[np.ndarray] = []

    def release(self: Arena, *arrays: np.ndarray) -> None:
        self.held -= sum(array.nbytes for array in arrays)
        kept.extend(arrays)

    monkeypatch.setattr(Arena, "release", release)
    monkeypatch.setattr(Chain, "check", lambda self: None)
    with pytest.raises(Disagreement, match="tracemalloc"):
        account(chain, [1])


def test_other_gradients_are_noticed(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Chain.step

    def changed(self: Chain, interval: int) -> None:
        step(self, interval)
        self.up_gradient[3][0, 0] += interval == 2

    monkeypatch.setattr(Chain, "step", changed)
    with pytest.raises(Disagreement, match="gradients differ"):
        account(chain, [7, 2])


def test_theory_of_a_uniform_chain() -> None:
    """2x less for 20 %, and 5x near 100 layers for 30 %: what the claim of 5x for 20 % is to be held against."""
    hundred = Sizes(100, 1, 1, 4)
    assert hundred.more_flops(40) == pytest.approx(0.2)
    assert hundred.uniform_less_memory(40) == pytest.approx(2.4, abs=0.1)
    assert hundred.more_flops(10) == pytest.approx(0.3)
    assert hundred.uniform_less_memory(10) == pytest.approx(5.26, abs=0.01)
    assert max(Sizes(48, 1, 1, 4).uniform_less_memory(k) for k in range(1, 49)) < 5


WIDE = Sizes(48, 128, 192, 768)


def steps(*more: float, lucky: float | None = None) -> list[dict[str, Any]]:
    """With all 48 layers kept 1 s a step, with every 8th as much more as given, round by round, in three visits.

    lucky: how much more every 2nd took
    """
    taken = {48: [0.0] * len(more), 8: more} | ({2: [lucky] * len(more)} if lucky is not None else {})
    runs = []
    for k, extra in taken.items():
        run = training(k, [1 + m for m in extra], WIDE.peak_bytes(k))
        runs.append(run | {"model": {**run["model"], "layers": 48, "width": 192, "ffn": 768}, "length": 128})
    return compared(records.of([records.fma(), records.read()], runs=runs))


HELD, BROKEN, MIXED = ([m, m + 0.01, m + 0.02] * 3 for m in (0.1, 0.28, 0.0))


@pytest.mark.parametrize(
    ("more", "word"),
    [(HELD, "holds"), (BROKEN, "doesn't hold"), ([0.1] * 3 + [0.19] * 3 + [0.3] * 3, "undecided")],
)
def test_verdicts(more: list[float], word: str) -> None:
    rows = steps(*more)
    assert rows[1]["more_time"]["value"] == pytest.approx(np.median(more))
    assert rows[1]["less_memory"] == pytest.approx(5.13, abs=0.01)
    assert verdict(rows).startswith(f"{word} here: 5.1x less")
    assert verdict(rows[:1]).startswith("not reached")


def test_the_claim_is_not_judged_by_the_luckiest_point() -> None:
    said = verdict(steps(*BROKEN, lucky=0.05))
    assert said.startswith("doesn't hold here: 5.1x less")
    assert "the fastest, k = 2, took 5 [-] %" in said


# --- the command

TINY = ["--layers", "6", "--width", "16", "--tokens", "16", "--intervals", "2,3", "--rounds", "4"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Arguments of a small chain, under roofs that are made up: those of a session take a while."""

    monkeypatch.setattr(Session, "start", roofs)
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    return [*TINY, "--results", str(tmp_path)]


def test_a_record_in_visits(quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every interval in each round, in changing order; shown again, it says the same; bench.check finds it good."""
    assert memory.main([*quick, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    steps = document["rematerialisation"]["steps"]
    assert [step["interval"] for step in steps] == [6, 3, 2]
    assert all(step["peak_bytes"] == step["predicted_bytes"] and len(step["seconds"]) == 4 for step in steps)
    assert [row["name"] for row in document["training"] if row["held"]] == ["BERT Large", "GPT-2"]
    runs = document["record"]["runs"]
    assert {tuple(run["rounds"]) for run in runs} == {tuple(runs[0]["rounds"])}
    assert all(set(run["visits"]) == set(range(VISITS)) for run in runs)
    orders = [tuple(sorted(range(3), key=lambda r: runs[r]["starts"][i])) for i in range(4)]
    assert len(set(orders)) > 1
    (record,) = tmp_path.glob("*/*-memory.json")
    page = record.with_suffix(".md").read_text()
    assert record.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert check.main([str(record)]) == 0
    capsys.readouterr()
    copy = record.with_name("copy.json")
    assert memory.main([str(record), "--json", "--record", str(copy)]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["record"] == store.load(copy).record
    assert again["rematerialisation"] == document["rematerialisation"]
    assert record.with_suffix(".md").read_text() == page


def test_tables(quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.main([*quick, "--picture", str(tmp_path / "p"), "--record", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "14.38 / 19.33" in out
    assert "6 (all kept)" in out
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "p.md", "p.png", "p.svg"}
    assert memory.main(["--rounds", "0", "--model", "llama-3-8b", "--length", "8192"]) == 0
    out = capsys.readouterr().out
    assert "32.12" in out  # GB: 8.03e9 parameters
    assert "Rematerialisation" not in out


def test_a_record_without_training_is_refused(tmp_path: Path) -> None:
    store.save(records.make([records.product(8, 60)]).record, tmp_path / "r.json")
    with pytest.raises(BadInput, match="no steps of training"):
        memory.main([str(tmp_path / "r.json")])


@pytest.mark.parametrize("option", ["--length", "--batch"])
def test_what_a_model_trains_on_needs_a_model(option: str) -> None:
    with pytest.raises(BadInput, match="of a --model"):
        memory.main(["r.json", option, "7"])


def test_wrong_memory_is_no_table(
    quick: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def disagree(*_: Any) -> None:
        raise Disagreement("made up")

    monkeypatch.setattr(measuring, "account", disagree)
    assert memory.main(quick) == 1
    ran = capsys.readouterr()
    assert (ran.out, "made up" in ran.err) == ("", True)
