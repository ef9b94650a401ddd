"""Folders as a store: each record once, what is broken named and left out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.compare import __main__ as comparing
from bench.comparison.sides import sides
from bench.errors import BadInput
from bench.record import folder, store
from bench.record.folder import Refused, files_of, gathered, named
from bench.record.format import digest
from bench.record.store import load
from bench.report import __main__ as command
from bench.report.page.looks import MOST
from support.machines import four, machine


def test_files_of_a_folder_come_once(tmp_path: Path) -> None:
    a = machine(tmp_path / "m" / "a.json")
    (tmp_path / "m" / "other.json").write_text("{}")
    assert files_of([a, tmp_path, tmp_path / "m" / ".." / "m"]) == [a]


def test_several_processes_read_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LARGE", 0)
    for i in range(4):
        machine(tmp_path / f"{i}.json", own=1 + i / 100)
    (tmp_path / "2.json").write_text('{"format": "ridgeline-record"')
    files = sorted(tmp_path.glob("*.json"))
    with folder.readers(files) as pool:
        assert pool
        together, alone = gathered(files, load, pool), [gathered([path], load) for path in files]
    kept = [one.kept[0].record["digest"] for one in alone if one.kept]
    assert [one.record["digest"] for one in together.kept] == kept
    assert list(together.refused) == [one.refused[0] for one in alone if one.refused]
    assert [one.path.name for one in together.refused] == ["2.json"]


def test_a_page_made_in_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes from process to process makes the same page."""
    given, pages = four(tmp_path / "r"), []
    for large, out in ((folder.LARGE, "one.html"), (0, "several.html")):
        monkeypatch.setattr(folder, "LARGE", large)
        assert command.main([*map(str, given), "-o", str(tmp_path / out)]) == 0
        pages.append((tmp_path / out).read_text(encoding="utf-8"))
    assert pages[0] == pages[1]


def test_of_a_folder_what_is_broken_is_left_out(tmp_path: Path) -> None:
    good = machine(tmp_path / "good.json")
    bad = tmp_path / "bad.json"
    bad.write_text('{"format": "ridgeline-record"')
    (tmp_path / "empty.json").touch()
    found = named([tmp_path], load)
    assert [path for path, _ in found.kept] == [good]
    assert [(one.path.name, one.reason[:8]) for one in found.refused] == [
        ("bad.json", "not JSON"),
        ("empty.json", "empty"),
    ]
    with pytest.raises(BadInput, match=r"bad\.json: not JSON"):
        named([tmp_path, bad], load)
    good.unlink()
    with pytest.raises(BadInput, match=r"bad\.json: not JSON"):
        named([tmp_path], load)


def test_copies_of_a_record_are_no_replicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies don't differ: with them as replicates a side would be known to the last digit."""
    (tmp_path / "other").mkdir()
    a = machine(tmp_path / "a.json")
    b = machine(tmp_path / "other" / "b.record", own=1.1)  # beside it no *.json is a neighbour
    copies = [tmp_path / "copy.json", tmp_path / "link.json"]
    shutil.copy(a, copies[0])
    copies[1].symlink_to(a)
    told: list[Refused] = []
    one, _ = sides([[a, *copies], [b]], pytest.fail, told.append)
    assert [session.name for session in one.sessions] == [str(a)] and not one.known
    assert told == [Refused(path, f"the same record as {a}") for path in copies]
    assert [[x.name for x in side.sessions] for side in sides([[a], [a]], pytest.fail, pytest.fail)] == [[str(a)]] * 2
    comparing.main([str(tmp_path), str(b)])
    assert f"{copies[0]}: the same record as {a}; 1 more are copies" in " ".join(capsys.readouterr().err.split())


def test_a_folder_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine(tmp_path / "a.json")
    assert check.main([str(tmp_path)]) == 0
    (tmp_path / "b.json").touch()
    assert check.main([str(tmp_path)]) == 1
    assert f"{tmp_path / 'b.json'}: empty" in capsys.readouterr().out


def test_figures_of_other_rows_are_named(tmp_path: Path) -> None:
    """Where many records are read, figures aren't derived again."""
    path = machine(tmp_path / "a.json")
    record = json.loads(path.read_text())
    record["figures"]["rows"].pop()
    path.write_text(json.dumps({**record, "digest": digest(record)}))
    with pytest.raises(BadInput, match=r"a\.json: its figures\.rows and rows are not as many"):
        store.intact(path)


def test_of_many_records_each_is_parsed_and_validated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns twice, since which they are is known once all were seen; nothing is read the slow way, or re-derived."""
    for i in range(MOST + 5):
        machine(tmp_path / "r" / f"{i:02}.json", f"machine-{i:02}", f"machine-{i:02}", day=f"2026-03-{i + 1:02}")
    counts = dict.fromkeys(("parse_plain", "parse_json", "digest", "holds", "invalid", "Metrics"), 0)

    def counted(name: str) -> None:
        known = getattr(store, name)

        def call(*given: Any) -> Any:
            counts[name] += 1
            return known(*given)

        monkeypatch.setattr(store, name, call)

    for name in counts:
        counted(name)
    assert command.main([str(tmp_path / "r"), "-o", str(tmp_path / "report.html")]) == 0
    every = MOST + 5 + MOST
    assert counts == {
        "parse_plain": every,
        "parse_json": 0,
        "digest": every,
        "holds": every,
        "invalid": 0,
        "Metrics": MOST,
    }
