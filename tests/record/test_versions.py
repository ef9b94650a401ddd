"""Records of every version: a small one of each lies beside this file, as its version wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.compare.__main__ import main as compare
from bench.errors import BadInput
from bench.record import store
from bench.record.format import digest
from bench.report.screen import summary
from support.process import ROOT

HERE = Path(__file__).parent
OLD, NEW = HERE / "record-1.json", HERE / "record-2.json"
PUBLISHED = ROOT / "docs" / "ladder.json"


@pytest.fixture
def old() -> dict[str, Any]:
    return json.loads(OLD.read_text())


def saved(document: dict[str, Any], folder: Path, sign: bool = True) -> Path:
    path = folder / "r.json"
    path.write_text(json.dumps(document | ({"digest": digest(document)} if sign else {})))
    return path


@pytest.mark.parametrize("path", [OLD, NEW, PUBLISHED], ids=lambda path: path.stem)
def test_every_version_is_read_and_its_figures_hold(path: Path, capsys: Any) -> None:
    assert check.main([str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: good, ")
    metrics = store.load(path)
    assert (metrics.record["version"], bool(summary(metrics))) == (2, True)
    assert store.problems(metrics) == []


def test_version_1_as_version_2(old: dict[str, Any]) -> None:
    record = store.read(OLD)
    assert [row["seconds"] for row in record["rows"]] == [row["seconds"] for row in old["rows"]]
    gemv = next(row for row in record["rows"] if row["operation"] == "gemv_t")
    assert gemv["types"] == {"x": "f32", "w": "f32", "y": "f32"}
    assert [(row["types"]) for row in record["rows"][:2]] == [{"x": "f32"}, {"a": "f64", "s": "f64"}]
    assert {(row["starts"], *row["visits"]) for row in record["rows"]} <= {(None, *[0] * n) for n in range(40)}
    assert (record["started"], record["arguments"], record["options"]) == (None, None, None)
    assert record["ended"] == old["created"]
    (ridge,) = store.load(OLD).measured_ridges
    assert (ridge["types"], ridge["type"]) == ("f32", "f32")
    assert (record["figures"], store.load(OLD).trust["grade"]) == (None, None)  # measured in one visit


def test_versions_are_compared(capsys: Any) -> None:
    assert compare([str(OLD), str(NEW)]) == 0
    assert " rows compared, " in capsys.readouterr().out


def test_version_1_is_written_as_version_2(tmp_path: Path) -> None:
    store.save(store.read(OLD), tmp_path / "r.json")
    assert store.read(tmp_path / "r.json") == store.read(OLD)
    assert store.problems(store.load(tmp_path / "r.json")) == []


def test_tampering_with_version_1_is_found(old: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    old["rows"][3]["seconds"][0] *= 0.5
    with pytest.raises(BadInput, match="the digest doesn't match"):
        store.load(saved(old, tmp_path, sign=False))
    assert check.main([str(saved(old, tmp_path, sign=False))]) == 1
    assert "the digest doesn't match" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value"), [("rows", [{}]), ("figures", {}), ("figures", []), ("machine", {"id": "x"}), ("created", None)]
)
def test_malformed_records_of_version_1_are_refused(old: dict[str, Any], name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"r\.json: .*"):
        store.read(saved(old | {name: value}, tmp_path))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("rows", 3, "isa"), ""),
        (("machine", "caches"), [{}]),
        (("session", "conditions"), [{"round": 0}]),
    ],
)
def test_what_version_1s_schema_let_through_is_one_line(
    old: dict[str, Any], keys: Any, value: Any, tmp_path: Path
) -> None:
    at: Any = old
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    with pytest.raises(BadInput) as refused:
        store.read(saved(old, tmp_path))
    assert "\n" not in str(refused.value)
