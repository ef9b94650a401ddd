"""Records made up with care: digest and figures follow, yet something can't have been measured, and check says what."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.record import store
from bench.record.demands.session import _of_row
from bench.record.metrics import Metrics
from support import battery, records, runs
from support.records import product

Document = dict[str, Any]
ROW = 3
"""A GEMM with m = 10; rows 0 and 1 are the probes, FMA and read."""


@pytest.fixture
def good() -> Document:
    rows = [records.fma(), records.read(), product(1, 9), product(10, 60), product(64, 80), _clock()]
    conditions = [battery.CONDITION | {"clock_hertz": hertz} for hertz in (2.9e9, 3e9)]
    made = records.of(rows, runs=[runs.inference(seconds=(0.1,) * 9)], conditions=conditions).record
    return json.loads(json.dumps(made))


def _clock() -> Any:
    """Dependent adds at 3 GHz."""
    seconds = [1e-3] * 9
    return records.sampled("probe", "adds", "i64", 1, {"adds": 3_000_000}, seconds, records.STARTS, level="core")


def forged(document: Document) -> Document:
    """With the figures and the digest that follow."""
    for wanted in ("figures", "digest"):
        document[wanted] = None
        document[wanted] = Metrics(document).as_dict() if wanted == "figures" else battery.digest(document)  # type: ignore[arg-type]
    return document


def test_the_record_is_good(good: Document, tmp_path: Path) -> None:
    assert said(good, tmp_path) == []


def said(document: Document, folder: Path) -> list[str]:
    path = folder / "r.json"
    path.write_text(json.dumps(forged(document)))
    return check.checked(path, None)["problems"]


def scaled(row: Any, by: float) -> None:
    row["seconds"] = [round(s * by, 9) for s in row["seconds"]]


def _faster(d: Document) -> None:
    """Everything ten times as fast, roofs included: no share of a roof shows it."""
    for row in d["rows"][:-1]:
        scaled(row, 0.1)


def _fewer_calls(d: Document) -> None:
    """The same rates from regions that no clock can time."""
    for row in d["rows"]:
        scaled(row, 0.01)
        row["calls"] = max(1, row["calls"] // 100)


def _one_more(d: Document) -> None:
    row = d["rows"][ROW]
    for name in ("seconds", "rounds", "visits", "starts"):
        row[name].append(row[name][-1])


def _less(name: str, by: float) -> Callable[[Document], None]:
    def change(d: Document) -> None:
        d["rows"][ROW][name][4] -= by

    return change


def _kernels(d: Document) -> list[Any]:
    return [row for row in d["rows"] if row["kind"] == "kernel"]


def _without_visit(d: Document) -> None:
    row = d["rows"][ROW]
    for name in ("seconds", "rounds", "visits", "starts"):
        row[name] = row[name][3:]


def _put(*keys: Any, to: Any) -> Callable[[Document], None]:
    def change(d: Document) -> None:
        at: Any = d
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = to

    return change


def _ended_early(d: Document) -> None:
    d["ended"] = (records.STARTED + timedelta(seconds=2)).isoformat(timespec="milliseconds")
    d["session"]["conditions"] = []


def _scaled_slightly(d: Document) -> None:
    row = d["rows"][ROW]
    row["seconds"] = [s * 0.97135791234 for s in row["seconds"]]


def _fast_clock(d: Document) -> None:
    """The clock's probe and the conditions agree that the core runs at 30 GHz."""
    for condition in d["session"]["conditions"]:
        condition["clock_hertz"] = 9e9
    d["rows"][-1]["dims"]["adds"] *= 3
    _faster(d)


def _copied(d: Document) -> None:
    """A row's samples once more, as another row's."""
    row = json.loads(json.dumps(d["rows"][ROW]))
    d["rows"].insert(ROW, row | {"dims": row["dims"] | {"m": 9}})


def _swapped(d: Document) -> None:
    for row in d["rows"]:
        row["rounds"] = row["rounds"][::-1]


def _huge(d: Document) -> None:
    """More work in the same time, by a larger shape, and the roof raised with it."""
    d["rows"][ROW]["dims"] |= {"n": 100_000, "k": 100_000}
    d["rows"][ROW]["calls"] = 1


FORGERIES: dict[str, tuple[Callable[[Document], None], str]] = {
    "everything faster": (_faster, "FLOP per cycle and core"),
    "the probe faster": (lambda d: scaled(d["rows"][0], 0.1), "row 0 (fma f32 c): 333 FLOP per cycle and core"),
    "the memory faster": (lambda d: scaled(d["rows"][1], 0.01), "row 1 (read f64 c): 667 bytes per cycle and core"),
    "a clock that allows it": (_fast_clock, "a clock of 9.0 GHz"),
    "short regions": (_fewer_calls, "too short to be timed"),
    "a sample twice": (_one_more, "after one of round 8"),
    "an earlier start": (_less("starts", 0.498), "overlap"),
    "an earlier round": (_less("rounds", 3), "a sample of round 1"),
    "an earlier visit": (_less("visits", 1), "visits out of order"),
    "a late start": (lambda d: d["rows"][ROW]["starts"].__setitem__(-1, 1e8), "of a session of"),
    "rounds turned around": (_swapped, "after one of round"),
    "a row copied": (_copied, "overlap"),
    "a visit left out": (_without_visit, "row 3 (gemm f32 c): not measured in visit 0 of a complete session"),
    "scaled by 3 %": (_scaled_slightly, "row 3 (gemm f32 c): its seconds are no multiples of a nanosecond"),
    "starts forgotten": (_put("rows", ROW, "starts", to=None), "its samples have no starts"),
    "more threads": (_put("rows", ROW, "threads", to=2), "2 threads, but the session pinned none to as many CPUs"),
    "a coarse clock": (_put("session", "timer_resolution", to=0.01), "too short to be timed"),
    "a small memory": (_put("machine", "memory_bytes", to=1 << 20), "in a memory of 1048576"),
    "a large shape": (_huge, "in a memory of"),
    "another year": (_put("ended", to="2199-01-01T00:00:00.000+00:00"), "it ends in the future"),
    "ended first": (_put("ended", to="2026-02-01T00:00:00.000+00:00"), "it ended before it started"),
    "ended early": (_ended_early, "a region ends after"),
    "long conditions": (_put("session", "conditions", 0, "wall_seconds", to=1e9), "s of conditions in a session of"),
    "calls": (_put("rows", ROW, "calls", to=1000), "FLOP per cycle and core"),
    "a run's start": (lambda d: d["runs"][0]["starts"].__setitem__(4, 0.0), "run 0"),
    "a run's seconds": (lambda d: _run_scaled(d["runs"][0]), "run 0: its seconds are no multiples of a nanosecond"),
    "a mark unmade": (
        _put("rows", ROW, "marks", to={"preempted": [2, 1]}),
        "marks samples twice, or not in their order",
    ),
    "an operand twice": (_put("rows", ROW, "cold", to=["b", "b"]), "cold"),
}


def _run_scaled(run: Any) -> None:
    run["seconds"] = [s * 0.97135791234 for s in run["seconds"]]
    run["parts"] = {name: [s * 0.97135791234 for s in spent] for name, spent in run["parts"].items()}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forgery_is_found(how: str, good: Document, tmp_path: Path) -> None:
    change, words = FORGERIES[how]
    change(good)
    found = said(good, tmp_path)
    assert any(words in problem for problem in found), found
    assert all(problem.isprintable() for problem in found)


def test_an_interrupted_session_may_lack_visits(good: Document, tmp_path: Path) -> None:
    _without_visit(good)
    good["complete"] = False
    assert said(good, tmp_path) == []


def test_problems_of_a_record_are_not_endless(good: Document, tmp_path: Path) -> None:
    _scaled_slightly(good)
    good["rows"] += [good["rows"][ROW]] * 40
    found = said(good, tmp_path)
    assert len(found) == store.MOST + 1
    assert found[-1].startswith("and ")


@pytest.mark.parametrize("least", ["A", "B", "C", "D"])
@pytest.mark.parametrize(("moved", "grade"), [(1.0, "A"), (1.4, "C"), (3.0, "D")])
def test_least_makes_the_grade_an_exit_status(
    least: str, moved: float, grade: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    rates = [records.READ / (moved if visit == 1 else 1) for visit in records.VISITS]
    store.save(records.of([records.fma(), records.read(rates=rates)]).record, path)
    assert check.main([str(path), "--least", least]) == int(grade > least)
    assert f"  trust {grade}\n" in capsys.readouterr().out


def test_without_evidence_there_is_no_grade_to_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    once = records.fma(rates=(records.PEAK,) * 3)
    store.save(records.of([once]).record, path)
    assert (check.main([str(path)]), check.main([str(path), "--least", "D"])) == (0, 1)
    assert "without a grade, where at least D is asked for" in capsys.readouterr().out


def test_roofs_have_several_samples_only_beside_models(good: Document) -> None:
    """A run lasts for seconds, a sample of a roof a millisecond; beside a kernel it is one."""
    clock, run = good["rows"][-1], good["runs"][0]
    clock["rounds"] = [run["rounds"][0]] * len(clock["rounds"])
    assert "two samples in one round" not in list(_of_row(clock, good))  # type: ignore[arg-type]
    run["rounds"] = [n + 1000 for n in run["rounds"]]
    assert "two samples in one round" in list(_of_row(clock, good))  # type: ignore[arg-type]
