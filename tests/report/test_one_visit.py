"""What one visit measured is shown, and never called: nothing tells how another visit would differ."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.comparison.page import Page, Side, compare
from bench.comparison.session import session, stored
from bench.record.store import load
from bench.report.page.columns import report
from bench.report.page.document import document
from bench.report.page.history import histories, moved
from bench.report.page.tables import WALLS, noise_of
from bench.report.page.words import answer, verdicts, walls
from bench.report.sides import lines
from bench.report.tables import csv_text
from support import runs
from support.machines import machine, written

MANY, ONE, ALONE = "three visits", "one visit", "one sample"


def made(path: Path, kind: str, **of: Any) -> Path:
    """A record whose rows and models have so many visits."""
    machine(path, runs=[runs.inference(seconds=[0.25 / of.get("own", 1.0)] * 9)], **of)
    found = json.loads(path.read_text(encoding="utf-8"))
    for row in found["rows"] if kind == ALONE else ():
        row |= {name: row[name][:1] for name in ("seconds", "rounds", "starts", "lost") if row.get(name)}
        row["visits"] = [0]
    for row in found["rows"] + found["runs"] if kind != MANY else ():
        row["visits"] = [0] * len(row["seconds"])
    return written(found, path)


def words(page: Page) -> set[str]:
    return {family.outcome.word for family in page.families} | {row.outcome.word for row in page.rows}


@pytest.mark.parametrize("kinds", [(MANY, ONE), (ONE, MANY), (ONE, ONE), (MANY, ALONE)])
def test_nothing_is_called_that_one_visit_measured(tmp_path: Path, kinds: tuple[str, str]) -> None:
    """Ten times as fast, from records as they are and as they are stored."""
    a, b = (
        made(tmp_path / f"{i}.json", kind, own=1.0 + 9 * i, name=f"machine-{i}", read=20e9 / (1 + i))
        for i, kind in enumerate(kinds)
    )
    of = report([a, b])
    (page,) = of.pages
    assert words(page) == {"can't tell"}
    assert {(one.outcome.low, one.outcome.high, one.outcome.floor) for one in page.rows} == {(None, None, None)}
    assert all(one.outcome.sessions and one.outcome.sessions > 1 for one in page.rows)
    assert "faster" not in verdicts(of)[0]
    highest, why = answer(of)
    assert highest.startswith("Where the wall stands highest can't be told")
    assert why.endswith("the ridges can't be told apart.")
    assert "[-]" in csv_text(WALLS, walls(of.machines))
    untold = [m for m, kind in zip(of.machines, kinds, strict=True) if kind != MANY]
    assert [noise_of(m).median for m in untold] == [None] * len(untold)
    assert [row[10][1:3] for row in document(of, [])["machines"][1]["rows"]] == [[None, None]] * 8
    known = [stored(load(path).record, str(path)) for path in (a, b)]
    for sides in (known, [session(load(path), path.name) for path in (a, b)]):
        page = compare(Side("A", sides[:1]), Side("B", sides[1:]))
        assert words(page) == {"can't tell"}
        assert set(page.once) == {letter for letter, kind in zip("AB", kinds, strict=True) if kind != MANY}
        assert any("measured in one visit" in line for line in lines(page, all_rows=False, all_names=False))


def test_several_visits_are_called(tmp_path: Path) -> None:
    of = report([made(tmp_path / f"{i}.json", MANY, own=1.0 + 9 * i, name=f"machine-{i}") for i in (0, 1)])
    assert {one.outcome.word for one in of.pages[0].families} == {"faster"}
    assert not of.pages[0].once


def test_several_sessions_of_one_visit_are_called(tmp_path: Path) -> None:
    a, b = (
        Side(letter, [session(load(made(tmp_path / f"{letter}{i}.json", ONE, own=own)), f"{i}") for i in range(3)])
        for letter, own in (("a", 1.0), ("b", 10.0))
    )
    assert {one.outcome.word for one in compare(a, b).rows} == {"faster"}


def test_a_wall_of_one_visit_beside_others(tmp_path: Path) -> None:
    reads = (20e9, 10e9, 2e9)
    paths = [made(tmp_path / f"{i}.json", (MANY, MANY, ONE)[i], name=f"machine-{i}", read=reads[i]) for i in range(3)]
    highest, _, why = answer(report(paths))
    assert highest.startswith("The wall stands highest on B")
    assert highest.endswith("Of C one visit measured the roofs: where the wall stands there can't be told.")
    assert why.endswith("the ridges can't be told apart.")


@pytest.mark.parametrize(("commits", "said"), [("01", "can't be told"), ("00", "differ by more than noise")])
def test_over_time(tmp_path: Path, commits: str, said: str) -> None:
    """The latest session, ten times as slow; a session of its making before it tells how such sessions differ."""
    for i, commit in enumerate(commits):
        made(tmp_path / f"{i}.json", ONE, day=f"2026-03-0{i + 1}", commit=commit, own=(1.0, 0.1)[i])
    (found,) = moved(histories(report([tmp_path])))
    assert said in found
