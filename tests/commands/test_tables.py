"""A table's columns, once for a terminal, Markdown and CSV; and the frame of a measuring command."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.text import Text

from bench import __main__ as menu
from bench import layers, machine, roofline
from bench.cli import BadInput, Parser, console
from bench.compare import __main__ as compare
from bench.ladder import __main__ as ladder
from bench.measure.run import Interruptible, kept, measuring
from bench.memory import __main__ as memory
from bench.options import add_seconds, add_thread_count, add_threads
from bench.report.columns import KERNELS, RIDGES, Column
from bench.report.tables import csv_text, kernels_table, markdown, ridges_of, table
from bench.transformer import __main__ as transformer
from bench.wall import __main__ as wall
from support import records
from support.process import ROOT

Pair = tuple[str, int]
COLUMNS: Sequence[Column[Pair]] = (
    Column("name", lambda p: p[0], left=True, once=True),
    Column("of\nit", lambda p: Text(str(p[1]), "red"), "of it: a number."),
)
NOTHING = Parser("test", "without options").parse_args([])
PAIRS = [("a", 1), ("a", 2), ("b", 3)]


def printed(made: object) -> list[list[str]]:
    out = console()
    with out.capture() as captured:
        out.print(made)
    return [line.split() for line in captured.get().splitlines()]


def test_one_definition_for_all_outputs() -> None:
    assert markdown(COLUMNS, PAIRS) == ["| name | of it |", "|---|--:|", "| a | 1 |", "| a | 2 |", "| b | 3 |"]
    assert list(csv.reader(io.StringIO(csv_text(COLUMNS, PAIRS)))) == [
        ["name", "of it"],
        ["a", "1"],
        ["a", "2"],
        ["b", "3"],
    ]
    lines = [line for line in printed(table("title", COLUMNS, PAIRS, "notes.", group=lambda p: p[0])) if line]
    caption = [word for line in lines[6:] for word in line]
    assert caption == ["notes.", "of", "it:", "a", "number."]
    assert lines[:6] == [
        ["title"],
        ["of"],
        ["name", "it"],
        ["a", "1"],
        ["2"],  # a group's first entry alone says whose it is
        ["b", "3"],
    ]


def test_without_a_group_every_entry_says_all() -> None:
    lines = printed(table("title", COLUMNS, PAIRS))
    assert [line for line in lines if line and line[0] == "a"] == [["a", "1"], ["a", "2"]]


def test_records_tables() -> None:
    metrics = records.of([records.fma(), records.read()])
    assert [(r.of, r.threads) for r in ridges_of(metrics)] == [("ceilings (avx2)", 1)]
    assert kernels_table(metrics).row_count == 0
    whole = records.make([records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92))])
    made = kernels_table(whole)
    assert [column.header for column in made.columns] == [column.heading for column in KERNELS]
    assert made.row_count == 3
    assert all(column.caption in str(made.caption) for column in KERNELS)
    assert len({column.heading for column in RIDGES}) == len(RIDGES)


# --- narrow terminals

ROOT_RECORD, LADDER = ROOT / "tests" / "record" / "record-2.json", ROOT / "docs" / "ladder.json"
SHOWING: dict[str, tuple[Callable[[list[str]], object], list[object]]] = {
    "list": (lambda _: menu.listed(), []),
    "roofline": (roofline.main, [ROOT_RECORD, "--rows", "--picture", "p"]),
    "ladder": (ladder.main, [LADDER, "--picture", "p"]),
    "wall": (wall.main, [ROOT_RECORD, "--picture", "p"]),
    "layers": (layers.main, []),
    "machine": (machine.main, []),
    "compare": (compare.main, [ROOT_RECORD, ROOT_RECORD, "--rows"]),
    "counts": (transformer.main, ["--counts", "--length", "128,4096"]),
    "training": (memory.main, ["--model", "gpt-2", "--rounds", "0"]),
}


@pytest.mark.parametrize("command", SHOWING)
def test_a_narrow_terminal_hides_nothing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every word and number of a wide one is there, whole; no line is wider than the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.cli.drawn", lambda draw: ([], False))  # pictures take seconds
    main, arguments = SHOWING[command]

    def words(columns: int) -> tuple[Counter[str], int]:
        monkeypatch.setenv("COLUMNS", str(columns))
        main([str(one) for one in arguments])
        text = capsys.readouterr().out
        return Counter(text.split()), max(map(len, text.splitlines()))

    everything, _ = words(1000)
    for columns in (180, 80, 60):
        found, widest = words(columns)
        assert found == everything
        assert widest <= columns


@pytest.mark.parametrize("columns", [1, 5, 12, 30, 80, 200])
def test_columns_fold(columns: int) -> None:
    """Onto lines of the same row, each under its heading; a cell wider than the terminal is broken, not cut."""
    wide: Sequence[Column[int]] = (
        Column("words", lambda i: f"name{i} of thing", left=True),
        *(Column(f"no. {j} [95 %]", lambda i, j=j: f"{i}.{j}±0") for j in range(9)),
        Column("remark", lambda i: "a remark that is longer than the others, " * i, left=True),
    )
    out = console()
    out.width = columns
    with out.capture() as captured:
        out.print(table("title", wide, range(3), "notes."))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= columns
    assert Counter("".join(lines).replace(" ", "")) == Counter(
        "titlewords"
        + "".join(f"no.{j}[95%]" for j in range(9))
        + "remark"
        + "".join(f"name{i}ofthing" + "".join(f"{i}.{j}±0" for j in range(9)) for i in range(3))
        + "aremarkthatislongerthantheothers," * 3
        + "notes."
    )


def test_a_row_takes_two_lines_where_one_is_too_narrow() -> None:
    wide = [Column[int](f"heading {j}", lambda i, j=j: f"{1000 * i + j} GB/s") for j in range(8)]
    out = console()
    out.width = 80
    with out.capture() as captured:
        out.print(table("", wide, [1, 2]))
    assert captured.get().splitlines() == [
        "heading 0  heading 1  heading 2  heading 3",
        "    heading 4  heading 5  heading 6  heading 7",
        "1000 GB/s  1001 GB/s  1002 GB/s  1003 GB/s",
        "    1004 GB/s  1005 GB/s  1006 GB/s  1007 GB/s",
        "2000 GB/s  2001 GB/s  2002 GB/s  2003 GB/s",
        "    2004 GB/s  2005 GB/s  2006 GB/s  2007 GB/s",
    ]


class _Stream(io.StringIO):
    """An output in some encoding, a terminal or none."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    encoding = property(lambda self: self._encoding)  # type: ignore[assignment]

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("environment", "terminal", "width"),
    [
        ({}, False, 180),
        ({"FORCE_COLOR": "1"}, False, 180),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, 180),
        ({"FORCE_COLOR": "1", "COLUMNS": "90"}, False, 90),
        ({"COLUMNS": "100", "TERM": "dumb"}, True, 100),
        ({"COLUMNS": "0"}, False, 180),
        ({"COLUMNS": "wide"}, False, 180),
    ],
)
def test_how_wide_an_output_is(
    environment: dict[str, str], terminal: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours that are forced make no terminal, and nothing is drawn again and again where there is none."""
    for name in ("COLUMNS", "FORCE_COLOR", "TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", _Stream(terminal=terminal))
    made = console()
    assert (made.width, made.is_interactive) == (width, False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_output_without_unicode_has_words_for_it(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", out := _Stream(encoding))
    console().print(table("±", [Column[str]("R²", lambda x: x)], ["1 ±0.5 %", "█"]))
    assert out.getvalue().splitlines() == ["+-", "      R^2", "1 +-0.5 %", "        #"]


# --- the frame


def test_a_whole_block_is_complete_and_errors_pass() -> None:
    with Interruptible() as block:
        pass
    assert block.complete
    with pytest.raises(BadInput), measuring("test", NOTHING, [1]) as session:
        raise BadInput("no")
    assert not session.complete


def test_nothing_measured_is_no_record() -> None:
    with measuring("test", NOTHING, [1]) as session:
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        kept(session, NOTHING)


def test_options_are_checked_once() -> None:
    parser = Parser("test", "")
    add_thread_count(parser)
    add_seconds(parser, 0.5, "", most=9)
    options = parser.parse_args(["--threads", "1"])
    assert (options.threads, options.seconds) == (1, 0.5)
    for arguments in (["--threads", "0"], ["--threads", "1,9999"], ["--seconds", "9.1"], ["--seconds", "x"]):
        with pytest.raises(BadInput, match=arguments[0]):
            parser.parse_args(arguments)
    several = Parser("test", "")
    add_threads(several, "1")
    assert several.parse_args([]).threads == [1]
