"""Records: what is written, what is refused, and the figures of rows that can be worked out by hand."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kernels
from bench import check, compare
from bench.errors import BadInput
from bench.record import metrics as metrics_module
from bench.record import store
from bench.record.metrics import Metrics
from bench.report.tables import summary
from kernels.backends import libraries
from kernels.operations import OPERATIONS
from kernels.types import DTYPES
from support import records
from support.records import OFTEN, PEAK, READ, product

Record = dict[str, Any]


@pytest.fixture
def good() -> Record:
    return records.make([product(1, 9), product(10, 60), product(64, 80)]).record


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def signed(document: Record) -> Record:
    return document | {"digest": store.digest(document)}


# --- figures


def test_ceilings(good: Record) -> None:
    roofs = Metrics(good).roofs[1]
    peak, read, ridge = roofs.peaks["f32", "avx2"], roofs.bandwidths["DRAM"], roofs.ridges["f32", "avx2"]
    assert [peak.value, peak.low, peak.high] == pytest.approx([PEAK] * 3)
    assert [read.value, read.low, read.high] == pytest.approx([READ, OFTEN, READ])
    assert [ridge.value, ridge.low, ridge.high] == pytest.approx([5, 5, PEAK / OFTEN])


@pytest.mark.parametrize(
    ("m", "gflops", "gbps", "intensity", "roof", "verdict"),
    [
        (1, 9, 18, 0.5, 10, "memory-bound"),
        (10, 60, 12, 5, 100, "undecided"),
        (64, 80, 2.5, 32, 100, "compute-bound"),
    ],
)
def test_kernel_figures(m: int, gflops: float, gbps: float, intensity: float, roof: float, verdict: str) -> None:
    (figures,) = records.make([product(m, gflops)]).row_figures[2:]
    assert figures["gflops"]["value"] == pytest.approx(gflops)
    assert figures["gbps"]["value"] == pytest.approx(gbps)  # of the cold weights alone: x and y stay in cache
    assert (figures["intensity"], figures["verdict"]) == (pytest.approx(intensity), verdict)
    assert figures["roof_gflops"] == pytest.approx(roof)
    assert figures["percent_of_roof"] == pytest.approx(100 * gflops / roof)
    assert "error" not in figures


def test_hot_rows_count_every_operand_and_stand_under_their_cache() -> None:
    l2 = records.read() | {"level": "L2", "seconds": [8e6 / 80e9] * 10}
    hot = product(10, 60, cold=[], level="L2")
    figures = records.make([l2, hot]).row_figures[-1]
    moved = 4 * (10 * 1000 + 1000 * 1000 + 10 * 1000)
    assert figures["intensity"] == pytest.approx(2e7 / moved)
    assert (figures["roof_gflops"], figures["verdict"]) == (pytest.approx(100), "compute-bound")  # ridge 1.25


def test_write_allocate_is_counted_beside_streams_bytes() -> None:
    def gbps(operation: str) -> list[float]:
        figures = records.make([records.read() | {"operation": operation}]).row_figures[-1]
        return [figures[name] if name == "best_gbps" else figures[name]["value"] for name in NAMES]

    NAMES = ("best_gbps", "gbps", "gbps_write_allocate")
    best, median = READ / 1e9, OFTEN / 1e9
    assert gbps("read") == pytest.approx([best, median, median])
    assert gbps("update") == pytest.approx([2 * best, 2 * median, 2 * median])
    assert gbps("copy") == pytest.approx([2 * best, 2 * median, 3 * median])
    assert gbps("copy_nt") == pytest.approx([2 * best, 2 * median, 2 * median])
    assert gbps("triad") == pytest.approx([3 * best, 3 * median, 4 * median])
    assert gbps("triad_nt") == pytest.approx([3 * best, 3 * median, 3 * median])


def test_row_of_another_thread_count_has_no_roof() -> None:
    figures = records.make([product(1, 9, threads=2)]).row_figures[-1]
    assert (figures["verdict"], "percent_of_roof" in figures) == ("undecided", False)


@pytest.mark.parametrize(("m", "gflops", "cause"), [(1, 15, "weights were still in a cache"), (64, 120, "clock")])
def test_row_above_its_roof(m: int, gflops: float, cause: str, tmp_path: Path, capsys: Any) -> None:
    metrics = records.make([product(m, gflops)])
    assert cause in metrics.row_figures[2]["error"]
    assert metrics.trust == {"grade": "D", "reasons": ["1 rows lie above their roof"]}
    store.save(metrics.record, tmp_path / "r.json")
    assert check.main([str(tmp_path / "r.json")]) == 1
    assert "above its roof" in capsys.readouterr().out


def test_trust(good: Record) -> None:
    def grade(**session: Any) -> str:
        return records.make([], **session).trust["grade"]

    assert Metrics(good).trust == {"grade": "A", "reasons": []}
    assert [grade(remarks=["x"]), grade(remarks=["x", "y"]), grade(untrusted=["z"])] == ["B", "C", "D"]
    pings = [{"round": r, "cpus": [0, 1], "seconds": s} for r, s in ((0, 30e-9), (9, 60e-9))]
    assert grade(pings=pings) == "B"
    slower = [records.fma(), records.read() | {"seconds": [4e-4] * 5 + [5e-4] * 5}]
    assert list(Metrics({"rows": slower, "session": records.session()}).trust["reasons"]) == [
        "read DRAM, 1 threads: moved by -20 % within the session"
    ]


# --- documents


def test_round_trip(good: Record, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "new" / "r.json"
    store.save(good, path)
    assert store.read(path) == good == store.load(path).record
    assert store.load(path).as_dict() == good["figures"]
    assert check.main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good, 5 rows\n"
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
    "another version": (edited("version", to=2), "version 2"),
    "no version": (edited("version", to=None), "version None"),
    "another format": (edited("format", to="csv"), "not a ridgeline-record"),
    "not an object": (lambda _: [1, 2], "not a ridgeline-record"),
    **{f"no {key}": (edited(key, to=None), key) for key in ("rows", "machine", "session", "figures", "digest")},
    "no seconds": (edited("rows", 0, "seconds", to=None), "seconds"),
    "no samples": (edited("rows", 0, "seconds", to=[]), r"rows\[0\]"),
    "no time": (edited("rows", 0, "seconds", 0, to=0), r"seconds\[0\]"),
    "not a time": (edited("rows", 0, "seconds", 0, to=math.nan), "NaN|nan|not JSON|number"),
    "endless": (edited("rows", 0, "seconds", 0, to=math.inf), "[iI]nf|not JSON|number"),
    "not a figure": (edited("figures", "rows", 2, "gflops", "value", to=math.nan), "NaN is not a number"),
    "time as text": (edited("rows", 0, "seconds", 0, to="1"), r"seconds\[0\]"),
    "unknown kernel": (edited("rows", 0, "operation", to="fft"), "fft"),
    "no CPU": (edited("machine", "cpu", to=None), "cpu"),
    "something more": (edited("more", to=1), "more"),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_documents_are_refused(good: Record, how: str, tmp_path: Path) -> None:
    change, message = MALFORMED[how]
    with pytest.raises(BadInput, match=message):
        store.read(write(tmp_path / "r.json", change(good)))


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


@pytest.mark.parametrize(
    "change", [edited("rows", 2, "dims", to={}), edited("rows", 2, "rounds", to=[1]), edited("session", "isa", to=None)]
)
def test_rows_without_figures_are_problems_not_crashes(good: Record, change: Any, tmp_path: Path) -> None:
    assert check.main([str(write(tmp_path / "r.json", signed(change(good))))]) == 1


# --- writing


def test_the_schema_knows_what_can_be_measured() -> None:
    """Else a new operation, type or library would fail in the user's session, when its record is written."""
    fields = store.schema()["properties"]["rows"]["items"]["properties"]
    known = {name: set(field["enum"]) for name, field in fields.items() if "enum" in field}
    assert known["operation"] == {*OPERATIONS, "fma", "adds"}
    assert known["dtype"] == {*DTYPES, "i64"}
    assert known["backend"] == {*kernels.BACKENDS, *libraries.BACKENDS}


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
    """By make() as by every command that reads a record: the summary derives nothing again."""
    store.save(good, tmp_path / "r.json")
    counted: list[int] = []
    real = metrics_module.median_interval
    monkeypatch.setattr(metrics_module, "median_interval", lambda x: counted.append(1) or real(x))
    for metrics in (records.make([product(1, 9), product(64, 80)]), store.load(tmp_path / "r.json")):
        assert summary(metrics)
        assert metrics.as_dict() == metrics.record["figures"]
        assert len(counted) == len(metrics.rows)
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


# --- comparison


def test_compare_says_faster_and_slower_only_apart() -> None:
    ours = [product(1, 9), product(10, 60), product(64, 80, spread=0.05)]
    theirs = [product(1, 4.5), product(10, 75), product(64, 81, spread=0.05)]
    entries = compare.compare([records.make(rows) for rows in (ours, theirs)])
    found = {entry["row"]["dims"].get("m", 1): entry for entry in entries if entry["row"]["kind"] == "kernel"}
    assert {m: entry["verdict"] for m, entry in found.items()} == {1: "slower", 10: "faster", 64: "same"}
    assert [found[m]["ratio"] for m in (1, 10, 64)] == pytest.approx([0.5, 1.25, 81 / 80])
    assert found[1]["percent_of_roof"] == pytest.approx([90, 45])
    (probe,) = (entry for entry in entries if entry["row"]["kind"] == "probe")
    assert (probe["row"]["operation"], probe["verdict"]) == ("read", "same")


@pytest.mark.parametrize(("distances", "same"), [((27e-9, 300e-9), False), ((60e-9, 70e-9), True)])
def test_compare_says_where_threads_ran(distances: list[float], same: bool, tmp_path: Path, capsys: Any) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, seconds in zip(paths, distances, strict=True):
        pings = [{"round": 0, "cpus": [0, 1], "seconds": seconds}]
        store.save(records.make([product(1, 9, threads=2)], threads=2, pings=pings).record, path)
    assert compare.main([*map(str, paths), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["rows"]
    assert [entry["same_placement"] for entry in entries] == [same] * len(entries)
    assert compare.main([*map(str, paths)]) == 0
    assert ("threads placed differently" in " ".join(capsys.readouterr().out.split())) == (not same)


def test_compare_needs_something_in_common(tmp_path: Path) -> None:
    store.save(records.make([product(1, 9)]).record, tmp_path / "a.json")
    store.save(records.make([product(1, 9, threads=2)], threads=2).record, tmp_path / "b.json")
    with pytest.raises(BadInput, match="share no measurement"):
        compare.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
