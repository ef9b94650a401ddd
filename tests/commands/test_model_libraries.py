"""Whole models in other libraries: the same results as this project's, and both beside each other."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import check
from bench.cli import CUT_SHORT
from bench.errors import BadInput
from bench.host.cpus import cpus_for
from bench.host.sysfs import one_cpu_per_core
from bench.measure.groups import VISITS
from bench.measure.models.tasks import Task, tasks
from bench.measure.session import Session
from bench.measure.timing import timed
from bench.models import libraries
from bench.models.libraries import LIBRARIES, Library
from bench.models.weights import from_hugging_face, random_weights, to_hugging_face, weights_of
from bench.record.store import save
from bench.transformer import __main__ as transformer
from bench.transformer.libraries import LibraryLatency, ModelWorker, compare, ours
from bench.transformer.rows import beside_libraries
from bench.transformer.tables import beside_table
from bench.workloads.model import Model
from kernels.verify import WrongResult
from support import records
from support.checkpoints import bytes_of, tensors
from support.needed import absent, needed
from support.process import Run
from support.runs import inference, roofs

BERT = Model("tiny BERT", 2, 64, 4, 160, 101, 40, segments=2)  # heads of 16: ONNX Runtime takes multiples of 8
GPT2 = Model("tiny GPT-2", 2, 64, 4, 256, 101, 64, decoder=True, fused_qkv=True, conv1d=True)
TASKS = [
    *(Task(BERT, "encode", length) for length in (1, 2, 13, 40)),
    *(Task(GPT2, "prefill", length) for length in (1, 2, 33)),
    *(Task(GPT2, "decode", length) for length in (1, 2, 60)),
]


def by_name(rows: Iterable[Library]) -> list[Any]:
    """Parameters; all tests of a library run in one process."""
    return [pytest.param(one, id=one.name, marks=pytest.mark.xdist_group(one.name)) for one in rows]


@pytest.fixture(scope="module", params=by_name(LIBRARIES))
def library(request: pytest.FixtureRequest) -> Library:
    if request.param.version() is None:
        absent(request.param.name, next(x for x in libraries.missing() if x.startswith(f"{request.param.name}:")))
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def one_thread(library: Library) -> Iterator[ModelWorker]:
    """A process, for all tests of a library: importing it takes the longest."""
    worker = ModelWorker(library, cpus_for(1))
    yield worker
    worker.close()


def verify(worker: ModelWorker, library: Library, threads: int, some: Sequence[Task] = TASKS) -> None:
    """Twice, since a cache and buffers are left from the first time."""
    for model in (BERT, GPT2):
        weights = random_weights(model)
        for task in some:
            if task.model == model:
                values, made = ours(task, weights, threads)[0]()
                there = worker.prepare(task, None, (np.array(values), list(made)))
                assert timed(there, 0, 2, waken=True).seconds > 0
                worker.check_again()
                with pytest.raises(WrongResult, match=library.name):
                    worker.prepare(task, None, (np.array(values) * 1.01, list(made)))


def test_results_are_this_projects(library: Library, one_thread: ModelWorker) -> None:
    verify(one_thread, library, 1)


@pytest.mark.skipif(len(one_cpu_per_core()) < 2, reason="one core")
def test_results_on_two_threads_are_this_projects(library: Library) -> None:
    worker = ModelWorker(library, cpus_for(2))
    longest = {(task.model, task.phase): task for task in TASKS}
    verify(worker, library, 2, list(longest.values()))
    worker.close()


@pytest.mark.parametrize(
    ("model", "odd"),
    [
        (BERT, {"activation": "gelu_tanh", "epsilon": 0.5}),
        (GPT2, {"activation": "gelu", "epsilon": 0.5, "tied": False}),
    ],
    ids=["BERT", "GPT-2"],
)
def test_a_checkpoints_weights_are_read_there(
    model: Model, odd: dict[str, Any], one_thread: ModelWorker, tmp_path: Path
) -> None:
    """And its GELU, epsilon and head are honoured there, too: the usual ones give another result."""
    needed("safetensors")
    task = Task(replace(model, **odd), model.phases[0], 7)
    (tmp_path / "model.safetensors").write_bytes(bytes_of(tensors(task.model, scale=4)))
    values, made = ours(task, weights_of(task.model, tmp_path), 1)[0]()
    one_thread.prepare(task, tmp_path, (np.array(values), list(made)))
    for name in ("activation", "epsilon"):
        usual = replace(task, model=replace(task.model, **{name: getattr(model, name)}))
        with pytest.raises(WrongResult):
            compare("x", ours(usual, weights_of(usual.model, tmp_path), 1)[0](), (np.array(values), list(made)))


@pytest.mark.parametrize("model", [BERT, GPT2], ids=["BERT", "GPT-2"])
def test_hugging_faces_names_and_back(model: Model) -> None:
    given = random_weights(model)
    tensors = to_hugging_face(model, given)
    if model.segments:
        name = "embeddings.token_type_embeddings.weight"
        tensors[name] = np.repeat(tensors[name], model.segments, axis=0)
    back = from_hugging_face(model, tensors)
    for a, b in zip(given.layers, back.layers, strict=True):
        for name in ("qkv", "o", "ffn_up", "ffn_down"):
            np.testing.assert_array_equal(getattr(a, name).weight, getattr(b, name).weight)
            np.testing.assert_array_equal(getattr(a, name).bias, getattr(b, name).bias)
        np.testing.assert_array_equal(a.ffn_norm.shift, b.ffn_norm.shift)
    for name in ("tokens", "positions", "segment"):
        np.testing.assert_array_equal(getattr(given, name), getattr(back, name))
    np.testing.assert_array_equal(given.norm.gain, back.norm.gain)


def test_nothing_is_imported_unless_it_is_asked_for(python: Run) -> None:
    modules = "{'torch', 'transformers', 'onnxruntime', 'openvino'}"
    script = "import sys, bench.transformer.__main__; from bench.models import libraries; libraries.present()"
    ran = python("-c", f"{script}; print({modules} & {{*sys.modules}})")
    assert ran.stdout == "set()\n", ran.stderr


def test_what_differs_is_named() -> None:
    expected = np.array([1.0, -4.0]), [3, 5]
    compare("x", (np.array([1.0003, -4.0]), [3, 5]), expected)
    for result, message in (
        ((np.array([1.0005, -4.0]), [3, 5]), "x: 1.2e-04 of the largest element away from c's result"),
        ((np.array([np.nan, -4.0]), [3, 5]), "x: nan of the largest"),
        ((np.array([1.0, -4.0]), [3, 6]), "x: token 1 is 6, not 5"),
        ((np.array([1.0]), [3, 5]), r"x: a result of shape \(1,\), not \(2,\)"),
    ):
        with pytest.raises(WrongResult, match=message):
            compare("x", result, expected)


# --- figures, with this project's kernels in the place of a library


def own(name: str) -> Library:
    return Library(name, "support.own_models", ("numpy",), "as it is")


@pytest.fixture
def latency(monkeypatch: pytest.MonkeyPatch) -> Iterator[LibraryLatency]:
    session = Session("test", [1], ["f32"])
    roofs(session)
    monkeypatch.setattr(session, "probe_round", lambda threads: None)
    monkeypatch.setattr(libraries, "LIBRARIES", (own("own"), own("other")))
    yield LibraryLatency(session, tasks([BERT, GPT2], [8], ("c",)), 1, None, [own("own"), own("other")])
    session.dismiss()


def test_figures(latency: LibraryLatency, tmp_path: Path, capsys: Any) -> None:
    assert {task.label for _, task in latency.measure(0.001)} == {task.label for task in latency.tasks}
    assert not latency.session._workers
    metrics = latency.session.metrics()
    rows = beside_libraries(metrics)
    assert sorted((row["model"], row["phase"]) for row in rows) == [
        ("tiny BERT", "encode"),
        ("tiny GPT-2", "decode"),
        ("tiny GPT-2", "prefill"),
    ]
    runs = [run for run, _ in metrics.run_pairs]
    assert all(set(run["visits"]) >= set(range(VISITS)) for run in runs)
    for row in rows:
        medians = {name: figure["value"] for name, figure in row["seconds"].items()}
        assert list(medians) == ["c", "own", "other"]
        assert row["best_library"] == min(("own", "other"), key=lambda name: medians[name])
        mine = {run["backend"]: run for run in runs if (run["model"]["name"], run["phase"]) == place(row)}
        assert set(mine["c"]["rounds"]) & set(mine["own"]["rounds"]) & set(mine["other"]["rounds"])
        assert row["tokens_per_second"]["own"] == pytest.approx(8 / medians["own"])
        ratio = row["share_of_peak"]["c"] / row["share_of_peak"]["own"]
        assert ratio == pytest.approx(medians["own"] / medians["c"])
    assert beside_table(rows).row_count == 3 * 3
    save(metrics.record, tmp_path / "r.json")
    assert check.main([str(tmp_path / "r.json")]) == 0
    capsys.readouterr()
    assert transformer.main([str(tmp_path / "r.json"), "--json"]) == CUT_SHORT  # no finish() here
    assert json.loads(capsys.readouterr().out)["libraries"] == json.loads(json.dumps(rows))


def place(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["model"], row["phase"]


def test_this_project_beside_libraries_is_told_round_by_round() -> None:
    """A machine that is three times slower in one pass changes no ratio."""
    pace = [1.0] * 3 + [3.0] * 3 + [1.0] * 3
    ours = inference(seconds=pace)
    fast = inference(backend="own", isa="1", parts=False, together=None, seconds=[1.5 * p for p in pace])
    slow = inference(backend="other", isa="1", parts=False, together=None, seconds=[2.0 * p for p in pace])
    (row,) = beside_libraries(records.of([records.fma(), records.read()], runs=[ours, fast, slow]))
    assert row["best_library"] == "own"
    assert row["over_best"] == row["over"]["own"] == pytest.approx({"value": 1.5, "low": 1.5, "high": 1.5})
    assert row["versions"] == {"own": "1", "other": "1"}


def test_what_was_measured_until_then_is_kept(latency: LibraryLatency, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C amid a task: it counts with the samples of those that have one."""

    def interrupted(variants: Any, samples: Any, *_: Any, **__: Any) -> None:
        for which, seconds in ((0, [2.0, 4.0]), (2, [6.0])):
            for turn, spent in enumerate(seconds):
                samples[which].seconds.append(spent)
                samples[which].starts.append(latency.session.began + turn)
                samples[which].turns.append(turn)
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.measure.models.visits.collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(latency.measure(0.001))
    (row,) = beside_libraries(latency.session.metrics())
    assert (row["best_library"], row["over_best"]["value"], set(row["seconds"])) == ("other", 3.0, {"c", "other"})


def test_wrong_results_leave_no_figure(latency: LibraryLatency, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.models.visits.weights_of", lambda model, *_: random_weights(model, seed=4))
    with pytest.raises(WrongResult, match=r"own: .* of the largest element away from c's result"):
        list(latency.measure(0.001))
    assert not any(run["seconds"] for run in latency.session.runs)


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.models.visits.available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(BadInput, match=r"tiny GPT-2, decode, 60 tokens: takes .* GiB; 0\.0 GiB are available"):
        LibraryLatency(Session("test", [1]), TASKS[-1:], 1, None, LIBRARIES)


# --- the command


def test_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    absent = Library("absent", "absent", ("no-such-distribution",), "")
    monkeypatch.setattr(libraries, "LIBRARIES", (own("own"), absent))
    for name in ("finish", "probe_round"):
        monkeypatch.setattr(Session, name, lambda *_: None)
    monkeypatch.setattr(Session, "start", roofs)
    monkeypatch.setattr(transformer, "MODELS", [BERT])
    arguments = ["--peers", "--length", "8", "--threads", "1", "--seconds", "0.001", "--results", str(tmp_path)]
    assert transformer.main([*arguments, "--json"]) == 0
    ran = capsys.readouterr()
    assert "left out: absent: not installed (no-such-distribution): pip install 'ridgeline[peers]'" in ran.err
    given = json.loads(ran.out)
    assert given["libraries"][0]["best_library"] == "own"
    assert given["libraries"][0]["versions"] == {"own": np.__version__}
    (record,) = tmp_path.glob("*/*-transformer.json")
    assert transformer.main([str(record)]) == 0
    assert f"own {np.__version__}: as it is" in capsys.readouterr().out

    def wrong(self: Any, *_: Any) -> None:
        raise WrongResult("own: wrong")

    monkeypatch.setattr(ModelWorker, "check_again", wrong)
    assert transformer.main(arguments) == 1
    ran = capsys.readouterr()
    assert (ran.out, "own: wrong" in ran.err) == ("", True)


def test_without_any_library(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: _raise_missing())
    with pytest.raises(BadInput, match=r"none of the libraries is installed: pip install 'ridgeline\[peers\]'"):
        transformer.main(["--peers"])
    err = capsys.readouterr().err
    for library in LIBRARIES:
        assert f"left out: {library.name}: not installed" in err


def _raise_missing() -> str:
    import importlib.metadata

    raise importlib.metadata.PackageNotFoundError


@pytest.mark.parametrize("arguments", [["--counts"], ["--dtype", "f64"]])
def test_refused(arguments: list[str]) -> None:
    with pytest.raises(BadInput, match="--peers: latency in f32"):
        transformer.main(["--peers", *arguments])


def test_what_a_library_cannot_run_is_named() -> None:
    library = next(one for one in LIBRARIES if one.name == "onnxruntime")
    if library.version() is None:
        pytest.skip("onnxruntime is not installed")
    odd = replace(GPT2, width=48, head_dim=12)  # heads of 12
    values, made = ours(Task(odd, "prefill", 3), random_weights(odd), 1)[0]()
    worker = ModelWorker(library, cpus_for(1))
    with pytest.raises(BadInput, match=r"onnxruntime, tiny GPT-2, prefill, 3 tokens: .*multiple of 8"):
        worker.prepare(Task(odd, "prefill", 3), None, (np.array(values), list(made)))
    worker.close()
