"""bench.report: one page of many machines. What is on it, what bad files leave of it, and that nothing on it runs."""

import csv
import io
import json
import re
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.errors import BadInput
from bench.record.store import load
from bench.report import __main__ as command
from bench.report.page import figure, html
from bench.report.page.looks import LOOKS, MOST
from bench.report.page.placed import ROWS
from support import runs
from support.machines import EVIL, PRODUCTS, four, machine


def made(tmp_path: Path, *given: Path, suffix: str = "html", status: int = 0) -> str:
    path = tmp_path / "made" / f"report.{suffix}"
    assert command.main([*map(str, given), "-o", str(path)]) == status
    return path.read_text(encoding="utf-8")


def data(page: str) -> dict[str, Any]:
    """What the page's script draws from."""
    (packed,) = re.findall(r'<script type="application/octet-stream" id="data">([\w+/=]*)</script>', page)
    found: dict[str, Any] = json.loads(zlib.decompress(b64decode(packed)))
    return found


class Parsed(HTMLParser):
    """Elements with their attributes, and all text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_page_of_four_machines(tmp_path: Path) -> None:
    page = made(tmp_path, *four(tmp_path))
    assert len(page.encode()) < 300_000
    parsed, found = Parsed(page), data(page)
    assert [one["letter"] for one in found["machines"]] == list("ABCD")
    assert "The wall stands highest on" in parsed.text
    assert 'Core counts differ (A 2, B 8, C 4, D 2): "all" compares whole machines' in parsed.text
    for said in ("Neoverse-V2", "avx512", "B against A:", "Trust and noise"):
        assert said in parsed.text
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?\s*(?:https?:)?//", page)


def test_figures_are_the_records(tmp_path: Path) -> None:
    """To the four digits that are kept: ridges, peaks, and of each row its rate, its time and its share of the roof."""
    paths = four(tmp_path)
    found = data(made(tmp_path, *paths))
    for one, path in zip(found["machines"], paths, strict=True):
        metrics = load(path)
        for roof in one["roofs"]:
            known = metrics.roofs[roof["threads"]]
            isa = metrics.record["session"]["isa"]
            assert roof["peaks"]["f32"][0] == pytest.approx(known.peaks["f32", isa].value / 1e9, rel=1e-3)
            assert roof["ridges"]["f32"]["DRAM"][0] == pytest.approx(known.ridges["f32", isa].value, rel=1e-3)
        kernels = [figures for row, figures in metrics.pairs if row["kind"] == "kernel"]
        assert len(one["rows"]) == len(kernels) == 2 * len(PRODUCTS)
        for row, figures in zip(one["rows"], kernels, strict=True):
            assert row[3][0] == pytest.approx(figures["gflops"]["value"], rel=1e-3)
            assert row[5] == pytest.approx(figures["seconds"]["value"], rel=1e-3)
            assert row[6] == pytest.approx([figures["percent_of_roof"][x] for x in ("value", "low", "high")], rel=1e-3)
            assert row[7] == figures["verdict"]


def test_axes_are_whole_decades_of_the_roofs(tmp_path: Path) -> None:
    """Not of what was run: a machine with kernels a hundred times as slow has the same axes."""
    fast = data(made(tmp_path, machine(tmp_path / "a.json")))["axes"]
    slow = data(made(tmp_path, machine(tmp_path / "b.json", own=0.01)))["axes"]
    assert fast == slow
    left, right, bottom, top = fast["one f32 DRAM"]
    assert 10**left * 16 <= 5 <= 10**right / 64  # the ridge
    assert 10**bottom <= 20 * 10**left
    assert 10**top >= 100


def test_what_a_record_holds_is_shown_not_run(tmp_path: Path) -> None:
    page = made(tmp_path, *four(tmp_path))
    parsed = Parsed(page)
    assert EVIL in parsed.text
    assert [one.get("id", one.get("type")) for one in parsed.all("script")] == ["data", "module"]
    assert parsed.all("img") == []
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    policy = next(one["content"] for one in parsed.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "<script" not in made(tmp_path, *four(tmp_path), suffix="md").replace("\\<script", "")


def bad_files(folder: Path) -> dict[str, str]:
    """name -> why it is no good record."""
    text = machine(folder / "good.json").read_text(encoding="utf-8")
    document = json.loads(text)
    document["rows"][0]["seconds"][0] *= 2
    files = {
        "cut.json": (text[: len(text) // 2], "not JSON, or cut off"),
        "tampered.json": (json.dumps(document), "the digest doesn't match"),
        "future.json": (json.dumps(json.loads(text) | {"version": 3}), "version 3; this reads versions 1 and 2"),
        "rows.json": (json.dumps(json.loads(text) | {"rows": 7}), "$.rows"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return {name: reason for name, (_, reason) in files.items()}


@pytest.mark.parametrize("suffix", ["html", "md", "csv", "svg", "pgf"])
def test_bad_files_are_named_and_the_rest_is_shown(tmp_path: Path, capsys: Any, suffix: str) -> None:
    bad = bad_files(tmp_path / "records")
    page = made(tmp_path, tmp_path / "records", suffix=suffix, status=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(bad)
    for name, reason in bad.items():
        assert [line for line in lines if name in line and reason in line], name
        if suffix in ("html", "md"):
            text = Parsed(page).text if suffix == "html" else page
            assert name in text
            assert reason in text
    assert "Made Up" in page


def test_nothing_good_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    bad_files(folder)
    (folder / "good.json").unlink()
    out = tmp_path / "report.html"
    with pytest.raises(BadInput, match="cut off"):
        command.main([str(folder), "-o", str(out)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no record in this folder"):
        command.main([str(tmp_path / "empty"), "-o", str(out)])
    with pytest.raises(BadInput, match=r"none of \.html, \.md"):
        command.main([str(folder), "-o", str(tmp_path / "report.docx")])
    assert not out.exists()


def test_columns_have_names_of_their_own(tmp_path: Path) -> None:
    """Of one CPU model: by ISA, then by cores, then by day; what all share isn't said."""
    paths = [
        machine(tmp_path / "a.json", "AMD EPYC"),
        machine(tmp_path / "b.json", "AMD EPYC", isa="generic"),
        machine(tmp_path / "c.json", "AMD EPYC", "other-00000000", cores=4),
        machine(tmp_path / "d.json", "AMD EPYC", day="2026-03-02"),
        machine(tmp_path / "e.json", None),
    ]
    names = [one["name"] for one in data(made(tmp_path, *paths))["machines"]]
    both = "AMD EPYC, avx2, 2 cores"
    others = ["AMD EPYC, generic", "AMD EPYC, avx2, 4 cores", f"{both}, 2026-03-02", "made-up-00000000"]
    assert names == [f"{both}, 2026-03-01", *others]


@pytest.mark.parametrize(("base", "first"), [("c.json", "Neoverse-V2"), ("intel-xeon-00000000", "Intel Xeon")])
def test_the_yardstick_is_chosen(tmp_path: Path, base: str, first: str) -> None:
    paths, out = four(tmp_path), tmp_path / "report.html"
    base = str(tmp_path / base) if base.endswith("json") else base
    assert command.main([*map(str, paths), "--base", base, "-o", str(out)]) == 0
    found = data(out.read_text(encoding="utf-8"))["machines"]
    assert [one["letter"] for one in found] == list("ABCD")
    assert found[0]["name"] == first
    assert [any(row[10] for row in one["rows"]) for one in found] == [False, True, True, True]


def test_the_yardstick_of_many_has_a_column(tmp_path: Path) -> None:
    for i in range(MOST + 2):
        machine(tmp_path / "r" / f"{i:02}.json", f"machine-{i:02}", f"machine-{i:02}", day=f"2026-03-{i + 1:02}")
    out = tmp_path / "report.html"
    assert command.main([str(tmp_path / "r"), "--base", str(tmp_path / "r" / "00.json"), "-o", str(out)]) == 0
    found = data(out.read_text(encoding="utf-8"))["machines"]
    assert [one["name"] for one in found] == ["machine-00", *(f"machine-{i:02}" for i in range(3, MOST + 2))]


def test_no_such_yardstick(tmp_path: Path) -> None:
    path = machine(tmp_path / "r" / "a.json")
    (tmp_path / "r" / "bad.json").write_text('{"format": "ridgeline-record"')
    for base, reason in (("nobody", "no record, nor the id"), (str(path.with_name("bad.json")), "cut off")):
        with pytest.raises(BadInput, match=reason):
            command.main([str(path.parent), "--base", base, "-o", str(tmp_path / "report.html")])


def test_one_record(tmp_path: Path) -> None:
    parsed = Parsed(made(tmp_path, machine(tmp_path / "a.json")))
    assert "A hits the memory wall at" in parsed.text
    assert "B against" not in parsed.text


def test_the_same_record_twice_is_one_column(tmp_path: Path, capsys: Any) -> None:
    path = machine(tmp_path / "a.json")
    (tmp_path / "again.json").write_bytes(path.read_bytes())
    page = made(tmp_path, path, path, tmp_path / "again.json")
    assert len(data(page)["machines"]) == 1
    assert f"again.json: the same record as {path}" in capsys.readouterr().err


def test_of_many_records_the_latest_are_columns(tmp_path: Path) -> None:
    """Of eleven machines, each with two sessions, ten are columns, and all eleven have a line over time."""
    for i in range(MOST + 1):
        for day in (1, 2):
            name = f"machine-{i:02}"
            machine(
                tmp_path / "r" / name / f"{day}.json", name, name, day=f"2026-03-{2 * i + day:02}", read=(20 + i) * 1e9
            )
    found = data(made(tmp_path, tmp_path / "r"))
    assert [one["name"] for one in found["machines"]] == [f"machine-{i:02}" for i in range(1, MOST + 1)]
    assert {one["when"] for one in found["machines"]} == {f"2026-03-{2 * i + 2:02} 09:00" for i in range(1, MOST + 1)}
    assert len(found["history"]) == MOST + 1
    assert {len(one["when"]) for one in found["history"]} == {2}


def test_what_can_t_be_compared_is_said(tmp_path: Path) -> None:
    document = json.loads(machine(tmp_path / "b.json", commit="1111", isa="generic").read_text(encoding="utf-8"))
    assert document["session"]["isa"] == "generic"
    text = Parsed(made(tmp_path, machine(tmp_path / "a.json"), tmp_path / "b.json")).text
    assert "They were built from different commits" in text


def test_whole_models_stand_side_by_side(tmp_path: Path) -> None:
    paths = [
        machine(tmp_path / f"{i}.json", name=f"machine-{i}", runs=[runs.inference(seconds=[seconds] * 9)])
        for i, seconds in enumerate((0.25, 0.5))
    ]
    text = Parsed(made(tmp_path, *paths)).text
    assert "Whole models" in text
    assert "250 ms" in text
    assert "500 ms" in text


def test_large_pages_leave_classes_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine(tmp_path / "a.json")
    size = len(made(tmp_path, path).encode())
    monkeypatch.setattr(html, "LIMIT", size - 30)
    page = made(tmp_path, path)
    assert "the page leaves out rows: cold m 2-15" in page
    assert len(data(page)["machines"][0]["rows"]) < 2 * len(PRODUCTS)


def test_csv_has_every_row_of_every_machine(tmp_path: Path) -> None:
    paths = four(tmp_path)
    table = list(csv.reader(io.StringIO(made(tmp_path, *paths, suffix="csv"))))
    assert table[0] == [column.heading for column in ROWS]
    assert len(table) == 1 + 4 * 2 * len(PRODUCTS)
    rate = table[0].index("GFLOP/s")
    first = next(figures for row, figures in load(paths[0]).pairs if row["kind"] == "kernel")
    assert float(table[1][rate]) == pytest.approx(first["gflops"]["value"], rel=1e-3)
    assert {row[-1] for row in table[1:]} <= {"", "faster", "slower", "same", "can't tell"}


def test_markdown_has_the_same_words(tmp_path: Path) -> None:
    paths = four(tmp_path)
    page, text = made(tmp_path, *paths), made(tmp_path, *paths, suffix="md")
    assert next(line for line in text.splitlines() if line.startswith("The wall")) in Parsed(page).text
    for heading in ("What can't be compared", "Families on every machine", "Roofs", "Trust and noise"):
        assert f"## {heading}" in text


def test_figures_for_papers(tmp_path: Path) -> None:
    paths = four(tmp_path)
    root = ElementTree.fromstring(made(tmp_path, *paths, suffix="svg"))
    words = " ".join(text for element in root.iter() if (text := element.text))
    assert "Neoverse-V2" in words
    assert EVIL[:20] in words
    text = made(tmp_path, *paths, suffix="pgf")
    assert text.startswith("% made by")
    assert text.count("\\begin{") == text.count("\\end{") == 2
    bare = re.sub(r"\\[\\{}%]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count("\\addlegendentry") == 4
    assert "\\input" not in text.replace("\\textbackslash{}input", "")
    assert "xmin=0.1, xmax=10000" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [("50 % of A_1 & #2", "50 \\% of A\\_1 \\& \\#2"), ("\\x{y}", "\\textbackslash{}x\\{y\\}"), ("µ", "\\symbol{181}")],
)
def test_names_in_latex(text: str, said: str) -> None:
    assert figure.tex(text) == said


def test_looks_are_apart() -> None:
    """Ten machines, ten shapes; no two have one colour and one dash."""
    assert MOST == 10
    assert len({look.shape for look in LOOKS}) == len({look.marker for look in LOOKS}) == MOST
    assert len({(look.light, look.dash) for look in LOOKS}) == MOST
    assert len({look.light for look in LOOKS}) == 7
