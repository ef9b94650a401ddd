"""bench.compare: which sides there are, which rows are the same measurement, what is said, in which form."""

import csv
import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.compare import __main__ as command
from bench.comparison.families import role
from bench.comparison.page import Side, compare
from bench.comparison.session import Session, session
from bench.comparison.sides import divided, sides
from bench.errors import BadInput
from bench.record import store
from bench.record.format import digest
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.report.sides import FAMILIES, ROWS, SIDES, differences
from bench.report.tables import table
from support import records, runs
from support.records import product

SPEEDS = {1: 9.0, 10: 60.0, 64: 80.0}


def kernels(times: float = 1.0, threads: int = 1, **each: Any) -> list[Row]:
    """One product each of three classes, so many times as slow."""
    return [product(m, gflops / times, threads, **each) for m, gflops in SPEEDS.items()]


def made(rows: list[Row], cores: int = 2, machine: str = "made-up-00000000", **of_record: Any) -> Metrics:
    """A record of a machine with so many cores; of_record: commit, options, runs."""
    document = records.of(rows).record
    document["machine"] = {
        **document["machine"],
        "id": machine,
        "topology": {"cores": [[i] for i in range(cores)], "logical_cpus": list(range(cores))},
        "commit": of_record.get("commit", "0000"),
    }
    document["options"] = of_record.get("options", {"sweep": "quick"})
    if "runs" in of_record:
        document["runs"] = of_record["runs"]
    document["figures"] = Metrics(document).as_dict()
    document["digest"] = digest(document)
    return Metrics(document)


def on_both(times: float = 1.0, all_times: float = 1.0, cores: int = 2) -> list[Row]:
    """Rows of one thread and of all cores, with their probes."""
    probes = [make(threads) for threads in (1, cores) for make in (records.fma, records.read)]
    return [*probes, *kernels(times), *kernels(all_times, cores)]


def saved(path: Path, metrics: Metrics) -> str:
    store.save(metrics.record, path)
    return str(path)


def said(capsys: Any, *arguments: str, status: int = 0) -> dict[str, Any]:
    assert command.main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def words(page: dict[str, Any], threads: str) -> dict[int, str]:
    rows = (one for one in page["rows"] if one["row"]["kind"] == "kernel" and one["row"]["role"] == threads)
    return {one["row"]["dims"].get("m", 1): one["verdict"] for one in rows}


def test_two_records(tmp_path: Path, capsys: Any) -> None:
    """Of one machine on two days: faster and slower far apart, otherwise it can't be told from one session each."""
    a = saved(tmp_path / "a.json", made(kernels()))
    theirs = [product(1, SPEEDS[1] / 4), product(10, SPEEDS[10] * 4), product(64, SPEEDS[64] * 1.01)]
    b = saved(tmp_path / "b.json", made(theirs))
    document = said(capsys, a, b)
    (page,) = document["pages"]
    assert words(page, "one") == {1: "slower", 10: "faster", 64: "can't tell"}
    ratios = {one["row"]["dims"].get("m", 1): one["ratio"] for one in page["rows"]}
    assert ratios == pytest.approx({1: 0.25, 10: 4.0, 64: 1.01})
    assert {one["sessions"] is None for one in page["rows"] if one["verdict"] != "can't tell"} == {True}
    assert [side["files"] for side in document["sides"]] == [[a], [b]]


def test_replicates_tell_what_one_session_cannot(tmp_path: Path, capsys: Any) -> None:
    for side, times in (("a", 1.0), ("b", 1.3)):
        for i in range(4):
            wobble = 1 + 0.004 * ((i % 3) - 1)
            saved(tmp_path / side / f"{i}.json", made([product(1, 9 / times * wobble), product(64, 80 * wobble)]))
    folders = [str(tmp_path / "a"), "--", str(tmp_path / "b")]
    (page,) = said(capsys, *folders, "--threshold", "10")["pages"]
    assert words(page, "one") == {1: "slower", 64: "same"}
    assert page["replicates"] == 8
    (page,) = said(capsys, *folders, "--threshold", "40")["pages"]
    assert "slower" not in words(page, "one").values()


def test_fail_slower_is_for_slower_alone(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.json", made(kernels()))
    slow, fast, noise = (saved(tmp_path / f"{x}/x.json", made(kernels(x))) for x in (5.0, 0.2, 1.01))
    assert command.main([a, slow, "--fail-slower"]) == 1
    assert [command.main([a, slow]), command.main([a, fast, "--fail-slower"])] == [0, 0]
    assert command.main([a, noise, "--fail-slower"]) == 0
    assert command.main([a, "--", fast, "--", slow, "--fail-slower"]) == 1


def test_what_was_built_of_uncommitted_work_tells_its_records_apart() -> None:
    def group(commit: str, module: str) -> tuple[str, ...]:
        metrics = made(kernels(), commit=commit)
        metrics.record["machine"]["build"] = {"module_sha256": module}
        return session(metrics, "x").group

    assert group("0000-dirty", "1") != group("0000-dirty", "2")
    assert group("0000", "1") == group("0000", "2")


def test_a_slow_machine_is_no_slow_kernel(tmp_path: Path) -> None:
    """Probes alone don't fail a build."""
    slower = records.read() | {"seconds": [s * 20 for s in records.read()["seconds"]]}
    a, b = (saved(tmp_path / f"{i}.json", made([one])) for i, one in enumerate((records.read(), slower)))
    assert command.main([a, b, "--fail-slower"]) == 0


def test_machines_with_other_core_counts_are_matched_by_role(tmp_path: Path, capsys: Any) -> None:
    """Nothing is lost in silence: what is compared and what is listed are all rows."""
    every = {2: on_both(), 8: on_both(0.9, 0.2, cores=8), 64: on_both(1.5, 0.05, cores=64)}
    every[8] += kernels(1.0, threads=4)  # no role that another machine has
    every[64] += [product(33, 50)]
    paths = [saved(tmp_path / f"{n}.json", made(rows, n, f"machine-{n}")) for n, rows in every.items()]
    document = said(capsys, *paths)
    assert [side["cores"] for side in document["sides"]] == [2, 8, 64]
    assert [set(side["roofs"]) for side in document["sides"]] == [{"one", "all"}] * 3
    for page, (cores, rows) in zip(document["pages"], list(every.items())[1:], strict=True):
        judged = [[row for row in of if row["kind"] == "kernel"] for of in (every[2], rows)]  # the probes are roofs
        assert len(page["rows"]) + len(page["only_a"]) == len(judged[0])
        assert len(page["rows"]) + len(page["only_b"]) == len(judged[1])
        assert not page["one_machine"]
        assert set(words(page, "all")) == set(SPEEDS)
        assert all("4 threads" in name for name in page["only_b"]) == (cores == 8)
    assert words(document["pages"][0], "all") == dict.fromkeys(SPEEDS, "faster")
    assert command.main(paths) == 0
    text = capsys.readouterr().out
    assert "6 rows compared, 0 only in A, 3 only in B" in text
    assert "only in C: c f32, cold m >= 16, one: 1 row" in text
    assert "Families on every side" in text
    assert command.main([*paths, "--unmatched"]) == 0
    assert "only in B: gemm f32 c 10x1000x1000 cold DRAM, 4 threads" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("threads", "cores", "name"), [(1, 1, "one"), (1, 8, "one"), (8, 8, "all"), (4, 8, "4 threads")]
)
def test_roles(threads: int, cores: int, name: str) -> None:
    assert role(threads, {"topology": {"cores": [[i] for i in range(cores)]}}) == name
    assert role(threads, {"topology": {"cores": None, "logical_cpus": list(range(cores))}}) == name
    assert role(threads, {"topology": {}}) == ("one" if threads == 1 else f"{threads} threads")


def test_hot_rows_are_matched_whichever_cache_they_live_in() -> None:
    a, b = (session(made(kernels(cold=[], level=level)), level) for level in ("L2", "L3"))
    assert a.values.keys() == b.values.keys()
    assert {key.class_ for key in a.values} == {"hot"}


def test_rows_with_one_key_are_numbered() -> None:
    """Sizes of a probe on one level are all kept, the smallest first; the sizes of two machines differ."""
    small, large = records.read(), records.read() | {"dims": {"n": 4 * 10**6}}
    found = session(made([large, small]), "x")
    ranks, speeds = zip(*((key.rank, value.speed) for key, value in sorted(found.values.items())), strict=True)
    assert ranks == (0, 1)
    assert speeds == pytest.approx([math.log(records.READ), math.log(4 * records.READ)])


def test_what_differs_is_said() -> None:
    """Of machines and sessions, placement of threads included; what is the same isn't repeated."""
    sides = []
    for letter, found in (("A", "one core"), ("B", "apart")):
        metrics = made(on_both(), commit=letter)
        pair = {"round": 0, "cpus": [0, 1], "seconds": None, "fma_together": None, "read_together": None}
        around = {"cpus": {"1": [0], "2": [0, 1]}, "placements": [{**pair, "found": found}]}
        metrics.record["session"] = {**metrics.record["session"], **around}  # type: ignore[typeddict-item]
        sides.append(Side(letter, [session(metrics, letter)]))
    said = {one.name: list(one.of) for one in differences(sides)}
    assert said["threads share"] == ["one core", "apart"]
    assert said["commit"] == ["A", "B"]
    assert said["ridge, all (FLOP/byte)"] == ["5.00", "5.00"]
    assert not {"CPU", "compiler", "ISA"} & set(said)


def test_sides_without_a_divider() -> None:
    """Records of one making are replicates; where there is one making, each argument is a side, or each record."""
    makings = {
        letter: session(made(kernels(), commit=commit), letter)
        for letter, commit in zip("abcd", ("1", "2", "1", "2"), strict=True)
    }
    a, b, c, d = makings.values()
    names = lambda groups: ["".join(one.name for one in group) for group in groups]  # noqa: E731
    assert names(divided([[a], [b], [c], [d]], pytest.fail)) == ["ac", "bd"]
    assert names(divided([[a, b, c, d]], pytest.fail)) == ["ac", "bd"]
    assert names(divided([[a], [c]], pytest.fail)) == ["a", "c"]
    assert names(divided([[a, c]], pytest.fail)) == ["a", "c"]
    other = session(made(kernels(), options={"sweep": "full"}), "e")
    elsewhere = session(made(kernels(), machine="other"), "f")
    where = session(made(kernels(), commit="1", options={"sweep": "quick", "results": "r"}), "g")
    assert names(divided([[a], [other], [elsewhere], [where], [c]], pytest.fail)) == ["agc", "e", "f"]


def test_neighbours_tell_how_much_sessions_differ(tmp_path: Path) -> None:
    """Others in the folder, of one machine and making; broken ones, changed ones and copies don't count."""
    given = [Path(saved(tmp_path / f"{i}.json", made(kernels(1 + i / 1000)))) for i in range(5)]
    document = json.loads(given[4].read_text())
    document["rows"][0]["seconds"][0] *= 2
    (tmp_path / "5.json").write_text(json.dumps(document))
    (tmp_path / "6.json").write_text('{"format": "ridgeline-record", "version": 2')
    (tmp_path / "7.json").write_text("[]")
    saved(tmp_path / "8.json", made(kernels(), machine="another"))
    shutil.copy(given[1], tmp_path / "9.json")
    shutil.copy(given[2], tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("b.json")
    a, b = sides([[given[0]], [given[1]]], pytest.fail, pytest.fail)
    assert [[one.name for one in group] for group in a.known] == [[str(path) for path in given[2:]]]
    assert b.known == []
    page = compare(a, b)
    assert page.replicates == 3
    alone = compare(Side("A", a.sessions), b)
    assert max(f.outcome.floor for f in page.families) < min(f.outcome.floor for f in alone.families)
    a, b = sides([given[:2], given[2:4]], pytest.fail, pytest.fail)
    assert a.known == []  # these sides have replicates of their own


def test_the_roofs_part_and_the_rows_own() -> None:
    """On one machine whose memory became twice as fast, a kernel that keeps up has not changed."""

    def of(speed: float, share: float) -> Session:
        one = session(made([product(1, 9)]), str(speed))
        (key,) = one.values
        value = one.values[key]._replace(speed=speed, share=share, share_error=0.001, speed_error=0.001)
        return Session(**{**vars(one), "values": {key: value}})

    page = compare(Side("A", [of(0.0, -0.1)] * 3), Side("B", [of(0.7, -0.1)] * 3))
    (family,) = page.families
    assert family.outcome.ratio == pytest.approx(2.0137, abs=1e-3)
    assert (family.outcome.own, family.outcome.roof) == pytest.approx((1.0, 2.0137), abs=1e-3)
    assert family.outcome.word != "faster"
    assert page.moved == {"one": pytest.approx(2.0137, abs=1e-3)}
    page = compare(Side("A", [of(0.0, -0.1)] * 3), Side("B", [of(0.0, -0.5)] * 3))
    assert page.families[0].outcome.word == "slower"  # the roof rose, and the kernel didn't follow


def test_whole_models_are_compared(tmp_path: Path, capsys: Any) -> None:
    paths = [
        saved(tmp_path / f"{i}.json", made(kernels(), runs=[runs.inference(seconds=[one] * 9)]))
        for i, one in enumerate((1.0, 9.0))
    ]
    (page,) = said(capsys, *paths)["pages"]
    (run,) = (one for one in page["rows"] if one["row"]["kind"] == "run")
    assert (run["verdict"], run["row"]["class"]) == ("slower", "whole models")
    assert [side for (side,) in run["seconds"]] == pytest.approx([1.0, 9.0])
    assert command.main([*paths, "--fail-slower"]) == 1


def test_forms(tmp_path: Path, capsys: Any) -> None:
    paths = [saved(tmp_path / f"{i}.json", made(on_both(1 + 4 * i), commit=str(i))) for i in range(2)]
    assert command.main([*paths, "--csv"]) == 0
    families = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["B is"] for row in families} >= {"slower"}
    assert command.main([*paths, "--csv", "--rows"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 6
    assert command.main([*paths, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| commit | 0 | 1 |" in lines
    widths = {line.count("|") for line in lines if line.startswith(("| gemm", "| c f32"))}
    assert widths == {len(FAMILIES) + 1, len(ROWS) + 1}
    assert command.main([*paths, "--rows"]) == 0
    assert "6 rows compared, 0 only in A, 0 only in B" in capsys.readouterr().out


def test_tables_fit_100_columns(tmp_path: Path) -> None:
    """No cell of the sides or the families is cut off."""
    machines = [made(on_both(cores=64), 64, f"amd-ryzen-threadripper-{i}") for i in range(3)]
    every = [Side(letter, [session(m, letter)] * 2) for letter, m in zip("ABC", machines, strict=True)]
    page = compare(every[0], every[1])
    screen = Console(width=100, file=io.StringIO())
    screen.print(table("", SIDES, every))
    screen.print(table("", FAMILIES, page.families))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert "cold m >= 16, one" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.json", "other.json"], "share no measurement: 3 only in A, 3 only in B"),
        (["a.json"], "1 of the 2 to 26 sides"),
        (["a.json", "--"], "a side without a record"),
        (["--", "a.json"], "a side without a record"),
        (["a.json", "--", "empty"], "empty: no record in this folder"),
        (["a.json", "--", "none.json"], "none.json: No such file"),
        (["a.json", "b.json", "--threshold", "0"], "--threshold 0"),
        (["a.json", "b.json", "--threshold", "much"], "--threshold much"),
        (["mixed", "--", "a.json"], "side A has records of several machines"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "mixed/x"):
        saved(tmp_path / f"{name}.json", made(kernels()))
    saved(tmp_path / "mixed/y.json", made(kernels(), machine="another"))
    saved(tmp_path / "other.json", made(kernels(threads=2), 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=words):
        command.main(arguments)
