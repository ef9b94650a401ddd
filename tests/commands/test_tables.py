"""A table's columns, once for a terminal, Markdown and CSV; and the frame of a measuring command."""

import csv
import io
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.text import Text

from bench.cli import BadInput, Parser, console
from bench.measure.run import Interruptible, kept, measuring
from bench.options import add_seconds, add_thread_count, add_threads
from bench.record import store
from bench.report.columns import KERNELS, RIDGES, Column
from bench.report.tables import csv_text, kernels_table, markdown, ridges_of, table
from support import records

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


# --- the frame


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in a command; one of several test processes ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_measured_is_kept(
    number: int, interrupts: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with measuring("test", NOTHING, [1], first="now") as session:
        session.rows.append(records.read())
        os.kill(os.getpid(), number)
        raise AssertionError("the block goes on")
    assert signal.getsignal(signal.SIGTERM) is before
    metrics = kept(session, tmp_path / "r.json")
    assert not metrics.record["complete"]
    assert store.load(tmp_path / "r.json").record == metrics.record
    assert "interrupted: what was measured so far follows" in capsys.readouterr().err


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
        kept(session, None)


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
