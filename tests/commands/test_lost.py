"""Measured, then lost: whatever fails or ends a command afterwards, the record is there, then tables, then pictures."""

import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.cli import BadInput, Parser, console, endings, shown
from bench.files import replacing
from bench.measure import run
from bench.measure.process import Process
from bench.measure.run import kept, measuring
from bench.progress import Bar
from bench.record import store
from support import records
from support.process import Run

NOTHING = Parser("test", "without options").parse_args([])
ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in a command; one of several test processes ignores it, and nohup SIGHUP."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)


def measured(folder: Path, ends: int | None = None) -> run.Kept:
    with measuring("test", NOTHING, [1], first="now") as session:
        session.rows.append(records.read())
        if ends:
            os.kill(os.getpid(), ends)
            raise AssertionError("the block goes on")
    return kept(session, Namespace(save=folder / "r.json"))


@pytest.mark.parametrize("number", ALL)
def test_a_signal_ends_the_measuring_and_keeps_it(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(one) for one in ALL]
    done = measured(tmp_path, ends=number)
    assert [signal.getsignal(one) for one in ALL] == before
    assert not done.metrics.record["complete"]
    assert store.load(tmp_path / "r.json").record == done.metrics.record
    assert "interrupted: what was measured so far follows" in capsys.readouterr().err


@pytest.mark.parametrize("number", ALL)
def test_a_signal_waits_for_the_record(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While figures are derived, and while it is written."""
    make, save = store.make, store.save

    def derived(*of: Any, **other: Any) -> Any:
        os.kill(os.getpid(), number)
        return make(*of, **other)

    def saved(record: Any, path: Path) -> None:
        with replacing(path) as file:
            file.write("half of it")
            os.kill(os.getpid(), number)
        save(record, path)

    monkeypatch.setattr(store, "make", derived)
    monkeypatch.setattr(run, "save", saved)
    done = measured(tmp_path)
    assert done.saved == tmp_path / "r.json"
    assert store.load(done.saved).record == done.metrics.record


def test_what_is_ignored_stays_ignored() -> None:
    """nohup, and a shell's background jobs."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with endings(signal.default_int_handler):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_killed_process_leaves_no_half_file(python: Run, tmp_path: Path) -> None:
    """Nor a whole one under another name, where the file system has files without a name."""
    (tmp_path / "old.json").write_text("old")
    code = "import os, sys; from pathlib import Path; from bench.files import replacing\n"
    code += (
        "with replacing(Path(sys.argv[1])) as file: file.write('x' * 100_000); file.flush(); os.kill(os.getpid(), 9)"
    )
    for name in ("new.json", "old.json"):
        assert python("-c", code, tmp_path / name).returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR))
    except (OSError, AttributeError):
        left = {name for name in left if not name.startswith(".")}
    assert left == {"old.json"}
    assert (tmp_path / "old.json").read_text() == "old"


@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_is_replaced_whole(nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a file has to have a name."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "folder" / ("é" * 100)
    for text in ("first", "second, ±"):
        with replacing(path) as file:
            file.write(text)
        assert path.read_bytes() == text.encode()
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write("third")
        raise ZeroDivisionError
    assert [one.read_bytes() for one in path.parent.iterdir()] == ["second, ±".encode()]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("number", ALL)
def test_a_library_s_process_leaves_signals_to_the_session(number: int) -> None:
    """Slurm, systemd and a terminal send them to all processes of a job: a session that lost one keeps nothing."""
    process = Process("other", sorted(os.sched_getaffinity(0))[:1], dict)
    try:
        assert process._ask("get", "key", 1) == 1
        assert process._process.pid
        os.kill(process._process.pid, number)
        assert process._ask("get", "key", 2) == 2
    finally:
        process.close()


# --- a disk that is full, and other places that take nothing


@pytest.fixture
def no_place(tmp_path: Path) -> Path:
    """A folder that is none."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


def test_a_record_without_its_place_lies_elsewhere(
    no_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    done = measured(no_place)
    assert done.failed
    assert done.saved and done.saved.parent.parent == tmp_path
    assert store.load(done.saved).record == done.metrics.record
    (line,) = capsys.readouterr().err.splitlines()
    assert f"can't write {no_place}/r.json: " in line
    assert line.endswith(f"the record is {done.saved}")


def test_without_any_place_the_tables_follow(
    no_place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.tempfile, "tempdir", str(no_place))
    done = measured(no_place)
    status = shown(Namespace(json=False), True, {}, lambda out: out.print("table"), done.saved, failed=done.failed)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "table\n", 1)


def _raise(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadInput("can't write p.png: No space left on device"), "can't write p.png: No space left on device"),
        (PermissionError(13, "Permission denied", "/cache"), "/cache: Permission denied"),
        (RuntimeError("latex\nfailed"), "the picture can't be drawn: RuntimeError: latex failed"),
    ],
)
@pytest.mark.parametrize("json", [False, True])
def test_a_picture_takes_nothing_with_it(
    error: Exception, said: str, json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"a": 1}
    status = shown(Namespace(json=json), True, document, lambda o: o.print("table"), Path("r.json"), _raise(error))
    out, err = capsys.readouterr()
    assert out.split() == (["{", '"a":', "1,", '"pictures":', "[]", "}"] if json else ["table", "record:", "r.json"])
    assert (status, err.count("\n"), err.partition(": ")[2]) == (2, 1, f"{said}\n")


def test_tables_take_no_picture_with_them() -> None:
    drawn: list[Path] = []

    def draw() -> list[Path]:
        drawn.append(Path("p.png"))
        return drawn

    full = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        shown(Namespace(json=False), True, {}, _raise(full), Path("r.json"), draw)
    assert drawn


@pytest.mark.parametrize("terminal", [True, False])
def test_nobody_has_to_see_the_progress(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """stderr on a full disk, or a terminal that was closed."""
    monkeypatch.setattr("bench.progress.PLAIN_SECONDS", 0.0)
    with open("/dev/full", "w") as full:
        bar = Bar(Console(file=full, force_terminal=terminal, force_interactive=terminal))
        bar("now", 0.1)
        bar("then", 0.2)
        bar.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_reader_of_progress_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """2>&1 | head -1."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        monkeypatch.setattr("bench.progress.PLAIN_SECONDS", 0.0)
        Bar(console(stderr=True))("now", 0.1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)


# --- in processes


def _ran(python: Run, command: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """python -m bench.COMMAND in a shell, which redirects as it is told."""
    code = f"import subprocess, sys; sys.exit(subprocess.call('exec {{}} -m bench.{command} {redirection}'.format("
    return python("-c", f"{code}sys.executable), shell=True, executable='/bin/bash'))", **environment)


PEAK = "peak --seconds 0.001 --threads 1 --isa generic --dtype f32 --record r.json"


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">/dev/full", 2, "bench.peak: output: No space left on device\n"),
        ("--json >/dev/full", 2, "bench.peak: output: No space left on device\n"),
        ("2>&- | tail -n 1", 0, ""),
        ("2>/dev/full >/dev/null", 0, ""),
    ],
)
def test_an_output_takes_no_record_with_it(
    python: Run, tmp_path: Path, redirection: str, status: int, said: str
) -> None:
    ran = _ran(python, PEAK, redirection)
    assert (ran.returncode, ran.stderr) == (status, said)
    assert store.load(tmp_path / "r.json").rows


def test_other_tools_settings_are_theirs(python: Run, tmp_path: Path) -> None:
    """Jupyter's MPLBACKEND, LaTeX and fonts of a matplotlibrc, Python's own encoding: pictures as ever, not a word."""
    rc = tmp_path / "rc"
    rc.write_text("text.usetex: True\nfont.family: Nothing\nsavefig.dpi: 1\n")
    store.save(
        records.make([records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92))]).record, tmp_path / "r.json"
    )
    other = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(rc)}
    other |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = _ran(python, "roofline r.json --picture p", **other)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "+-" in ran.stdout and "\\x" not in ran.stdout
    assert (tmp_path / "p.png").stat().st_size > 10_000
