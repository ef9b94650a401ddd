"""Where output goes, and what stands in it: one line where it can't, and nothing that a terminal would obey."""

import csv
import io
import json
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.text import Text

from bench import check, roofline
from bench.__main__ import commands
from bench.cli import Parser, console, output, output_folder, output_stem
from bench.compare import __main__ as compare
from bench.errors import BadInput, plain
from bench.files import replacing, without_folders, without_places
from bench.measure.run import _plain
from bench.record import store
from bench.report.columns import Column
from bench.report.tables import csv_text, markdown, table
from support import records
from support.machines import machine
from support.process import ROOT, Run

HOSTILE = ["[/b]", "[red]x", ":smile:", "$x^$ and $", "a|b", "<script>", "=1+1", "-2+cmd|' /C calc'!A0", "@x", "`x`"]


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command", ["layers", "layers --json"])
def test_output_that_cannot_be_written_is_one_line(python: Run, redirection: str, command: str) -> None:
    code = f"import subprocess, sys; sys.exit(subprocess.call('exec {{}} -m bench.{command} {redirection}'.format("
    ran = python("-c", f"{code}sys.executable), shell=True))")
    assert ran.returncode == 2
    assert ran.stderr in ("bench.layers: output: No space left on device\n", "bench.layers: stdout is closed\n")


def test_a_reader_that_has_seen_enough_is_no_error(python: Run) -> None:
    ran = python("-c", "import os, sys; os.execl('/bin/sh', 'sh', '-c', f'{sys.executable} -m bench.layers | true')")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("path", ["/proc/r.json", "/proc/x/y/r.json", "/dev/null", "/dev/full", "/dev/null/r", "."])
def test_where_no_file_can_be_is_known_at_once(path: str) -> None:
    with pytest.raises(BadInput, match="can't write"):
        output(path)


@pytest.mark.parametrize("path", ["/proc", "/proc/x", "/dev/null", "/dev/null/x"])
def test_where_no_folder_can_be_is_known_at_once(path: str) -> None:
    with pytest.raises(BadInput, match="can't write"):
        output_folder(path)


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    paths = output(f"{tmp_path}/new/r.json"), output_folder(f"{tmp_path}/a/b"), output_stem(str(tmp_path))
    assert paths == (tmp_path / "new" / "r.json", tmp_path / "a" / "b", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(BadInput, match="/dev/null: it is no file"), replacing(Path("/dev/null")) as file:
        file.write("x")
    assert Path("/dev/null").is_char_device()


def test_plain_text_is_one_printable_line() -> None:
    assert plain("a \n b\r\nc") == "a b c"
    assert plain("\x1b[31m\u202e\ud800\x9b") == r"\x1b[31m\u202e\ud800\x9b"
    assert plain("é [/b] ±1 %") == "é [/b] ±1 %"
    assert str(BadInput("no\x1b]0;title\a")) == r"no\x1b]0;title\x07"


def test_cells_are_text_in_every_format() -> None:
    columns = [Column[str]("text", lambda text: Text(text)), Column[str]("plain", lambda text: text)]
    out = console()
    with out.capture() as captured:
        out.print(table("[/title]", columns, HOSTILE))
    assert all(captured.get().count(text) == 2 for text in HOSTILE)
    rows = markdown(columns, HOSTILE)[2:]
    assert all(row.replace(r"\|", "").count("|") == 3 for row in rows)
    assert not any("<s" in row.replace(r"\<", "") for row in rows)
    cells = [
        cell for row in csv.reader(io.StringIO(csv_text(columns, [*HOSTILE, "-", "-1.5 %", "+3"]))) for cell in row
    ]
    assert not any(cell[0] in "=@" or cell.startswith("-2") for cell in cells)
    assert {"-", "-1.5 %", "+3"} <= set(cells)


def test_names_of_machines_and_files_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In tables and pictures: brackets are no markup, dollars no mathematics, an escape in a file's name is shown."""
    path = tmp_path / "[/b]$\x1b[31m.json"
    machine = records.MACHINE | {"id": "[/b]:smile:", "cpu": {"model": "$\\frac{$ <b> & [bold]"}}
    rows = [records.fma(), records.read(), records.product(8, 60) | {"layers": ["[/red] $_{$"]}]
    store.save(records.of(rows, machine=machine).record, path)
    assert roofline.main([str(path), "--rows", "--picture", str(tmp_path / "[/i]$\x1b$")]) == 0
    assert compare.main([str(path), str(path)]) == 0
    assert check.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "[/b]:smile:: $\\frac{$ <b> & [bold]" in printed
    assert "[/red] $_{$" in printed
    assert "\x1b" not in printed


WRITES = {"--record": "r.json", "--picture": "p", "--results": "", "--condense": "c.csv", "-o": "r.html"}
"""Options that name what a command writes, and how that may be called; nothing for a folder."""


@pytest.mark.parametrize("name", commands())
def test_every_command_checks_and_says_where_it_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything else is looked at, and with the same words; missing folders are made, not now."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    main = _main(name)
    with pytest.raises(SystemExit):
        main(["--help"])
    help_ = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    for option, end in WRITES.items():
        if not (of := re.search(rf" {option} [A-Z]+ ((?! --?[a-z]).)*", help_)):
            continue
        assert "missing folders are made" in of[0]
        places = ["file/x", "/proc/x", *(["/dev/full"] if end != "p" else []), *(["", ".", "new/"] if end else [])]
        for place in places:  # /dev/full.png may be written, by root
            with pytest.raises(BadInput, match="can't write"):
                main([option, place, "none.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _main(name: str) -> Callable[[list[str]], object]:
    folder = find_spec(f"bench.{name}").submodule_search_locations  # type: ignore[union-attr]
    main: Callable[[list[str]], object] = import_module(f"bench.{name}.__main__" if folder else f"bench.{name}").main
    return main


SHOWN = {
    "escape": ["--sections", "layers"],
    "interconnect": ["--fewer", "10"],
    "ladder": ["--m", "8"],
    "memory": ["--rounds", "3"],
    "parallel": ["--length", "16"],
    "peers": ["--full"],
    "transformer": ["--phase", "decode"],
    "wall": ["--threads", "1"],
}
"""Commands that show a record again, and an option that only measuring heeds."""


@pytest.mark.parametrize("command", SHOWN)
def test_what_measures_is_refused_beside_a_record(command: str, tmp_path: Path) -> None:
    main, path = import_module(f"bench.{command}.__main__").main, machine(tmp_path / "good.json")
    option = SHOWN[command]
    given = ["--record" if command == "wall" else "--results", str(tmp_path / "r")]
    with pytest.raises(BadInput, match=rf"is shown and nothing measured: without .*{option[0]}") as refused:
        main([str(path), *option, *given])
    assert given[0] in str(refused.value)
    assert str(path) in str(refused.value) or command == "wall"


def test_every_command_that_shows_a_record_refuses_what_measures() -> None:
    mains = {path.parent.name: path.read_text(encoding="utf-8") for path in (ROOT / "bench").glob("*/__main__.py")}
    assert {name for name, text in mains.items() if ".add_record(" in text or "refuse_beside(" in text} == set(SHOWN)
    again = [name for name, text in mains.items() if re.search(r'"record", nargs="\?"|shown_again', text)]
    assert set(again) <= set(SHOWN)


@pytest.mark.parametrize("command", ["ab", "calibrate", "compare", "escape", "ladder"])
def test_stdout_has_one_shape(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--json beside --markdown: neither wins unheard."""
    given = ["x.json", "--json", "--markdown"]
    with pytest.raises(SystemExit) as refused:
        import_module(f"bench.{command}.__main__").main(given)
    assert refused.value.code == 2
    assert "--markdown: not allowed with argument --json" in capsys.readouterr().err


# --- a record that is sent on doesn't tell where files lie


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("--results=/home/me/r", "--results=r"),
        ("-o/home/me/x.json", "x.json"),
        ("/home/me/my models/gpt.toml", "gpt.toml"),
        ("/home/me/a=b/c,d.toml", "c,d.toml"),
        ("../r.json", "r.json"),
        ("bench/", "bench"),
        ("/srv/me/bench/test_session.py::test_it[gemm 1x768, c/avx2]", "test_session.py::avx2]"),
        ("/home/me", "~"),
        ("--results=/root/", "--results=~"),
        (str(Path.home()), "~"),
        ("1,all", "1,all"),
        ("--types=i8,i4g32", "--types=i8,i4g32"),
        ("/", "/"),
        ("", ""),
        (None, None),
        ([1, "a/b"], [1, "b"]),
    ],
)
def test_names_without_folders(given: object, kept: object) -> None:
    assert without_folders(given) == kept
    assert without_folders(without_folders(given)) == kept


class _Parsed(Exception):
    """What a command's parser found, before anything is done with it."""


@pytest.mark.parametrize("name", commands())
def test_no_command_keeps_folders_in_its_record(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever options name files: store.make() makes the record of every session, and it alone."""
    monkeypatch.chdir(tmp_path)
    parse, files = Parser.parse_args, (output, output_stem, output_folder, Path)

    def parsed(parser: Parser, args: object = None, namespace: object = None) -> None:
        named = {x.option_strings[0] for x in parser._actions if x.option_strings and x.type in files}
        needed = [x for x in parser._actions if not x.option_strings and x.nargs not in ("?", "*")]
        given = [word for option in named for word in (option, str(tmp_path / "secret" / "x"))]
        monkeypatch.setattr(Parser, "parse_args", parse)
        try:
            raise _Parsed(parser.parse_args([*(["x"] * len(needed)), *given]))
        except SystemExit as refused:
            raise AssertionError(given) from refused

    monkeypatch.setattr(Parser, "parse_args", parsed)
    with pytest.raises(_Parsed) as stopped:
        _main(name)([])
    (options,) = stopped.value.args
    given = {key: _plain(value) for key, value in vars(options).items() if key != "arguments"}
    made = store.make(
        name,
        True,
        records.MACHINE,
        records.session(),
        [],
        started=records.STARTED,
        arguments=options.arguments,
        options=given,
    )
    assert "secret" not in json.dumps(made.record)
    given = ["", *options.arguments]
    places = [before in ("--results", "--record", "--picture") for before in given]
    names = [word.rpartition("/")[2] for word in options.arguments]
    assert made.record["arguments"] == ["FILE" if p else one for p, one in zip(places[:-1], names, strict=True)]
    assert not {"results", "save", "picture"} & set(made.record["options"] or ())


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--results", "fleet-node-a", "-k", "o"], ["--results", "FILE", "-k", "o"]),
        (["--results=node-a", "--res=node-a", "--rec", "node-a"], ["--results=FILE", "--res=FILE", "--rec", "FILE"]),
        (["--picture", "ann/p", "--seconds=0.1"], ["--picture", "FILE", "--seconds=0.1"]),
        (["--rounds", "3", "--parts", "results"], ["--rounds", "3", "--parts", "results"]),
    ],
)
def test_where_files_went_is_nobodys_to_know(arguments: list[str], kept: list[str]) -> None:
    assert without_places(arguments, {"--results": "node-a", "sweep": "quick"}) == (kept, {"sweep": "quick"})


def test_records_are_made_in_one_place() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "bench").rglob("*.py")}
    assert [path.name for path, text in texts.items() if re.search(r'"arguments": (?!None)', text)] == ["store.py"]
