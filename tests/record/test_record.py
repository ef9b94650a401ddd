"""Records: what is written, what is refused, and how versions are read."""

import copy
import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.errors import BadInput
from bench.record import metrics as metrics_module
from bench.record import store
from bench.record.demands.rows import unfit
from bench.record.format import VERSION, digest
from bench.record.metrics import Metrics
from bench.record.roofs import Series
from bench.record.row import add_samples, make_row
from bench.report.screen import summary
from kernels.operations import OPERATIONS
from support import records
from support.records import product

Record = dict[str, Any]


@pytest.fixture
def good() -> Record:
    return records.make([product(1, 9), product(10, 60), product(64, 80)]).record


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def signed(document: Record) -> Record:
    return document | {"digest": digest(document)}


# --- documents


def test_round_trip(good: Record, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "new" / "r.json"
    store.save(good, path)
    assert store.read(path) == good == store.load(path).record
    assert store.load(path).as_dict() == good["figures"]
    assert check.main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good, 5 rows\n  trust A\n"
    assert summary(Metrics(good))


def edited(*keys: Any, to: Any) -> Callable[[Record], Record]:
    """The record with the value behind the keys replaced; with None: without it."""

    def edit(document: Record) -> Record:
        at = document = copy.deepcopy(document)
        for key in keys[:-1]:
            at = at[key]
        if to is None:
            del at[keys[-1]]
        else:
            at[keys[-1]] = to
        return document

    return edit


TAMPERED = {
    "seconds": edited("rows", 2, "seconds", 0, to=1e-9),
    "calls": edited("rows", 2, "calls", to=2),
    "shape": edited("rows", 4, "dims", "m", to=65),
    "thread count": edited("rows", 0, "threads", to=2),
    "a rate": edited("figures", "rows", 2, "gflops", "value", to=10.0),
    "an interval": edited("figures", "rows", 2, "gflops", "high", to=1e9),
    "a verdict": edited("figures", "rows", 2, "verdict", to="compute-bound"),
    "a ridge": edited("figures", "ceilings", 0, "ridges", 0, "ridge", "value", to=4.0),
    "a grade": edited("figures", "trust", "grade", to="B"),
    "a reason": edited("figures", "trust", "reasons", to=["none"]),
    "a figure less": edited("figures", "rows", 2, "intensity", to=None),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_found(good: Record, how: str, tmp_path: Path, capsys: Any) -> None:
    """Whether or not the digest was renewed."""
    changed = TAMPERED[how](good)
    for document, problem in ((changed, "the digest doesn't match"), (signed(changed), "the raw seconds give")):
        path = write(tmp_path / "r.json", document)
        assert check.main([str(path)]) == 1
        assert problem in capsys.readouterr().out
    with pytest.raises(BadInput, match="digest"):
        store.load(write(path, changed))


MALFORMED = {
    "a later version": (
        edited("version", to=VERSION + 1),
        f"version {VERSION + 1}; this reads versions 1 and {VERSION}",
    ),
    "no version": (edited("version", to=None), "version None"),
    "a version that isn't a number": (edited("version", to=True), "version True"),
    "version 1 by name alone": (edited("version", to=1), "created|additional|arguments|Additional"),
    "another format": (edited("format", to="csv"), "not a ridgeline-record"),
    "not an object": (lambda _: [1, 2], "not a ridgeline-record"),
    **{
        f"no {key}": (edited(key, to=None), key)
        for key in ("rows", "machine", "session", "figures", "digest", "started")
    },
    "no seconds": (edited("rows", 0, "seconds", to=None), "seconds"),
    "no samples": (edited("rows", 0, "seconds", to=[]), r"rows\[0\]"),
    "no time": (edited("rows", 0, "seconds", 0, to=0), r"seconds\[0\]"),
    "not a time": (edited("rows", 0, "seconds", 0, to=math.nan), "NaN|nan|not JSON|number"),
    "endless": (edited("rows", 0, "seconds", 0, to=math.inf), "[iI]nf|not JSON|number"),
    "not a figure": (edited("figures", "rows", 2, "gflops", "value", to=math.nan), "NaN is not a finite number"),
    "time as text": (edited("rows", 0, "seconds", 0, to="1"), r"seconds\[0\]"),
    "unknown kernel": (edited("rows", 0, "operation", to="fft"), "fft"),
    "unknown type": (edited("rows", 2, "types", "w", to="f7"), "f7"),
    "no types": (edited("rows", 2, "types", to={}), "types"),
    "an endless call": (edited("rows", 0, "seconds", 0, to=1e7), r"seconds\[0\]"),
    "a start before the session": (edited("rows", 0, "starts", 0, to=-1.0), r"starts\[0\]"),
    "a round and a half": (edited("rows", 0, "rounds", 0, to=1.5), r"rounds\[0\]"),
    "a truth for a time": (edited("rows", 0, "seconds", 3, to=True), r"seconds\[3\]"),
    "a mark on nothing": (edited("rows", 0, "marks", to={"preempted": []}), "preempted"),
    "no such day": (edited("started", to="2026-02-30T10:00:00+00:00"), "started"),
    "no time zone": (edited("ended", to="2026-02-20T10:00:00"), "ended"),
    "a novel for a name": (edited("machine", "id", to="x" * 10**4), "id"),
    "a figure of nobody": (edited("figures", "rows", 2, "guess", to=1.0), "guess"),
    "no CPU": (edited("machine", "cpu", to=None), "cpu"),
    "something more": (edited("more", to=1), "more"),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_documents_are_refused(good: Record, how: str, tmp_path: Path) -> None:
    change, message = MALFORMED[how]
    with pytest.raises(BadInput, match=message) as refused:
        store.read(write(tmp_path / "r.json", change(good)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"GB/s", b"\x89PNG\r\n\x1a\n\x00\xff", b"[" * 10**6, b'{"format":'])
def test_what_is_no_document_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"r\.json: "):
        store.read(path)


def test_truncated_and_missing_files_are_refused(good: Record, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", good)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(BadInput, match="cut off"):
        store.read(path)
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BadInput, match=missing.name):
            store.read(missing)


UNFIT = {
    "other dims": (edited("rows", 2, "dims", to={"x": 1}), "gemv_t has no dimension k, n"),
    "a cold stranger": (edited("rows", 2, "cold", to=["q"]), "gemv_t has no operand q to be cold"),
    "types of a stranger": (edited("rows", 2, "types", to={"q": "f32"}), "gemv_t has operands x, w, y, but types of q"),
    "types of some": (edited("rows", 2, "types", to={"x": "f32"}), "gemv_t has operands x, w, y, but types of x"),
    "types that don't mix": (edited("rows", 2, "types", "w", to="f64"), "are summed in different types: f32, f64"),
    "rounds": (edited("rows", 2, "rounds", to=[1]), "9 samples but 1 rounds"),
    "visits": (edited("rows", 2, "visits", to=[0]), "9 samples but 1 visits"),
    "starts": (edited("rows", 2, "starts", to=[0.0]), "9 samples but 1 starts"),
    "a mark beyond the samples": (edited("rows", 2, "marks", to={"preempted": [9]}), "9 samples, but preempted marks"),
}


@pytest.mark.parametrize("how", UNFIT)
def test_rows_that_fit_no_operation_are_refused(good: Record, how: str, tmp_path: Path, capsys: Any) -> None:
    """By what reads a record as by bench.check, in a line that names the row."""
    change, words = UNFIT[how]
    path = write(tmp_path / "r.json", signed(change(good)))
    with pytest.raises(BadInput) as refused:
        store.load(path)
    assert str(refused.value).startswith(f"{path}: row 2: ")
    assert words in str(refused.value)
    assert check.main([str(path)]) == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("change", [edited("rows", 2, "dims", to={}), edited("session", "isa", to=None)])
def test_what_the_schema_refuses_is_a_problem_not_a_crash(good: Record, change: Any, tmp_path: Path) -> None:
    assert check.main([str(write(tmp_path / "r.json", signed(change(good))))]) == 1


# --- writing


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operation": "fft"}, r"operation: 'fft'"),
        ({"level": "L4"}, r"level: 'L4'"),
        ({"seconds": [0.0], "rounds": [1]}, r"seconds\[0\]: 0.0"),
    ],
)
def test_a_record_is_checked_before_it_is_written(change: dict[str, Any], field: str) -> None:
    """make() refuses what read() would, naming the field in one line."""
    with pytest.raises(BadInput, match=rf"can't be written: \$\.rows\[2\]\.{field}") as refused:
        records.make([product(64, 80) | change])
    assert "\n" not in str(refused.value)


def test_figures_are_derived_once(good: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By make() as by load(); what reads and shows a record derives nothing again."""
    store.save(good, tmp_path / "r.json")
    counted: list[int] = []
    real = metrics_module.median_interval
    monkeypatch.setattr(metrics_module, "median_interval", lambda *x: counted.append(1) or real(*x))
    for get in (lambda: records.make([product(1, 9), product(64, 80)]), lambda: store.load(tmp_path / "r.json")):
        metrics = get()
        assert summary(metrics)
        assert not store.problems(metrics)
        assert metrics.as_dict() == metrics.record["figures"]
        kernels = sum(row["kind"] == "kernel" for row in metrics.rows)
        assert len(counted) == len(metrics.rows) + kernels  # and their shares of the roof
        counted.clear()


def test_save_is_whole_or_not_at_all(good: Record, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    store.save(good, path)
    with pytest.raises(TypeError):
        store.save({**good, "~": object()}, path)  # fails when most of it is written
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]
    assert store.read(path) == good


def test_save_says_where_it_cannot_write(good: Record, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "r.json", tmp_path / "folder"):
        with pytest.raises(BadInput, match="can't write"):
            store.save(good, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


# --- samples and their circumstances


def test_what_a_record_says_of_the_command(good: Record) -> None:
    assert (good["command"], good["arguments"]) == ("python -m bench.made_up", ["--threads", "1"])
    assert good["options"] == {"threads": [1]}
    assert datetime.fromisoformat(good["started"]) == records.STARTED < datetime.fromisoformat(good["ended"])


def test_samples_are_added_round_by_round() -> None:
    row = make_row("kernel", "gemv", {"w": "f32"}, "c", "avx2", 1, dims={"n": 8, "k": 4}, cold=["w"])
    assert row["types"] == {"w": "f32", "x": "f32", "y": "f32"}
    add_samples(row, [1.0, 2.0], [0.5, 1.5], [3, 4], 0)
    add_samples(row, [4.0], [9.5], [7], 1, preempted=[0])
    assert (row["seconds"], row["starts"]) == ([1.0, 2.0, 4.0], [0.5, 1.5, 9.5])
    assert (row["rounds"], row["visits"], row["marks"]) == ([3, 4, 7], [0, 0, 1], {"preempted": [2]})


def test_a_rate_that_was_sampled_often_in_a_round_is_the_median_of_the_round() -> None:
    row = make_row("kernel", "gemv", "f32", "c", "avx2", 1, dims={"n": 8, "k": 4})
    add_samples(row, [1.0, 9.0, 2.0, 4.0], [0.5, 1.5, 9.5, 19.5], [3, 3, 3, 4], 0)
    assert Series.of(row, 8).by_round == {3: 4.0, 4: 2.0}


@pytest.mark.parametrize("name", OPERATIONS)
def test_rows_of_every_operation_are_read_again(name: str) -> None:
    """With all that an operation's work depends on, nnz of weights without zeros included."""
    dims = dict.fromkeys(OPERATIONS[name].dimensions, 64)
    row = make_row("kernel", name, "f32", "c", "avx2", 1, dims=dims, cold=[])
    add_samples(row, [1.0], [0.0], [0], 0)
    assert not [fault for fault in unfit(row) if "dimension" in fault]


def test_a_row_has_types_that_its_operation_knows() -> None:
    for types in ({"q": "f32"}, "f7"):
        with pytest.raises(ValueError, match=r"q|f7"):
            make_row("kernel", "gemv", types, "c", "avx2", 1, dims={"n": 8, "k": 4})
    with pytest.raises(KeyError):
        make_row("kernel", "fft", "f32", "c", "avx2", 1, dims={"n": 8})


def test_texts_are_kept_printable() -> None:
    """What a shell or /proc hands over mustn't be what a session of minutes ends with."""
    machine = records.MACHINE | {"cpu": {"model": "Made\tUp\n"}, "notes": ["\x1b[31m"]}
    document = records.of([records.read()], machine=machine, remarks=["two\nlines"]).record
    assert document["machine"]["cpu"]["model"] == r"Made\tUp"
    assert (document["machine"]["notes"], document["session"]["remarks"]) == ([r"\x1b[31m"], ["two lines"])
