"""Machines of other kinds beside the first: what is as fast is called no other word, and what differs is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.compare import __main__ as compare
from bench.report import __main__ as command
from bench.report.page.columns import report
from bench.report.page.words import incomparable
from support.machines import machine, written


def _cache(level: int, kib: int) -> dict[str, Any]:
    return {"level": level, "type": "Unified", "bytes": kib << 10, "line_bytes": 64, "shared_by": 1, "instances": 1}


ARM = {
    "cpu": {"model": None, "vendor": "0x41", "family": "8", "model_number": "0xd4f", "stepping": "r0p1"},
    "caches": [_cache(1, 64), _cache(2, 2048), _cache(3, 36864)],
    "page_bytes": 65536,
    "virtual_machine": None,
    "blas": [],
}
OTHERS: dict[str, dict[str, Any]] = {
    "cores": {"cores": 8},
    "one core": {"cores": 1},
    "caches": {"facts": {"caches": [_cache(1, 48), _cache(2, 2048), _cache(3, 107520)]}},
    "ISA": {"isa": "avx512"},
    "aarch64": {"model": None, "isa": "neon", "cores": 4, "facts": ARM},
    "nothing known": {"model": None, "facts": {"topology": {}, "caches": [], "build": {}, "cpu": {"model": None}}},
}
"""Kind: how it differs from a machine of two cores and AVX2. One thread is as fast on all of them."""


@pytest.mark.parametrize("kind", OTHERS)
def test_no_false_alarm(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        machine(tmp_path / "a.json", "AMD EPYC", "first-00000000"),
        machine(tmp_path / "b.json", name="other-00000000", **OTHERS[kind]),
    ]
    found = report(given)
    (page,) = found.pages
    one = [row.outcome.word for row in page.rows if row.key.role == "one"]
    assert len(one) == 4
    assert not {"faster", "slower"} & {*one, *(f.outcome.word for f in page.families if f.family.role == "one")}
    said = "\n".join(incomparable(found))
    assert ("Core counts differ" in said) == (kind in ("cores", "one core", "aarch64", "nothing known"))
    assert compare.main([*map(str, given), "--json"]) == 0
    assert command.main([*map(str, given), "-o", str(tmp_path / "report.md")]) == 0
    assert capsys.readouterr().err == ""


def test_an_arm_machine_has_its_facts(tmp_path: Path) -> None:
    given = [
        machine(tmp_path / "a.json", facts={"page_bytes": 4096}),
        machine(tmp_path / "b.json", name="arm-00000000", **OTHERS["aarch64"]),
    ]
    out = tmp_path / "report.md"
    assert command.main([*map(str, given), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    for said in ("family 8, model 0xd4f, stepping r0p1", "64 KiB", "L3 36 MiB", "neon", "arm-00000000"):
        assert said in text


def test_what_isn_t_known_is_no_difference_of_machines(tmp_path: Path) -> None:
    """A record without a fact says "unknown"; the page says nothing of what none knows."""
    path = machine(tmp_path / "a.json", **OTHERS["nothing known"])
    assert json.loads(path.read_text(encoding="utf-8"))["machine"]["cpu"] == {"model": None}
    out = tmp_path / "report.html"
    assert command.main([str(path), str(machine(tmp_path / "b.json")), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "<td>CPU</td><td>unknown</td><td>Made Up</td>" in text
    assert "libc unknown" not in text


def test_a_machine_without_a_common_family_has_no_column_of_dashes(tmp_path: Path) -> None:
    """Its roofs are compared, its kernels aren't, which is said."""
    given = [machine(tmp_path / f"{i}.json", name=f"m-{i}") for i in range(3)]
    document = json.loads(given[2].read_text(encoding="utf-8"))
    written(document | {"rows": [row for row in document["rows"] if row["kind"] == "probe"]}, given[2])
    out = tmp_path / "report.md"
    assert command.main([*map(str, given), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    families = text.partition("## Families on every machine")[2].partition("##")[0]
    assert "| A / B |" in families
    assert "A / C" not in families
    assert "C and A share no kernel row: only their roofs can be compared" in text
    assert not [column for column in _columns(text) if set(column[2:]) == {"-"}]


def _columns(text: str) -> list[tuple[str, ...]]:
    """Of every table of a Markdown page."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    cells = ([line.strip("|").split("|") for line in table.splitlines()] for table in tables)
    return [tuple(cell.strip() for cell in column) for table in cells for column in zip(*table, strict=True)]


def test_one_core_is_one_core(tmp_path: Path) -> None:
    given = [machine(tmp_path / f"{i}.json", "AMD EPYC", f"m-{i}", cores=i) for i in (1, 2)]
    for suffix in ("md", "html"):
        out = tmp_path / f"report.{suffix}"
        assert command.main([*map(str, given), "-o", str(out)]) == 0
        text = out.read_text(encoding="utf-8")
        assert "AMD EPYC, 1 core" in text
        assert "AMD EPYC, 2 cores" in text
        assert not re.findall(
            r"(?<![\d.,])1 (?:\w+ )?(?:cores|threads|rows|records|machines|sessions|families|points)\b", text
        )
