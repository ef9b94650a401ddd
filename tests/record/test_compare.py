"""bench.compare: what is said of two records, and where."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import compare
from bench.errors import BadInput
from bench.record import store
from support import records
from support.records import product


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
