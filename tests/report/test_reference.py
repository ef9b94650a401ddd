"""The records in results/reference: good ones, in their machine's folder, each explained in the README there."""

from pathlib import Path

import pytest

from bench.check import checked
from bench.record.folder import records_in
from bench.record.store import read

FOLDER = Path(__file__).resolve().parents[2] / "results" / "reference"
RECORDS = records_in(FOLDER)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_it_is_good_and_explained(path: Path) -> None:
    found = checked(path)
    assert found["problems"] == []
    record = read(path)
    assert path.parent.name == record["machine"]["id"]
    assert record["complete"]
    assert not (record["machine"].get("commit") or "").endswith("-dirty")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"| {path.parent.name} |" in text
    assert path.name in text


def test_every_file_is_a_record() -> None:
    assert sorted(FOLDER.rglob("*.json")) == RECORDS
