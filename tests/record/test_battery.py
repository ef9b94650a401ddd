"""The battery: whatever a file holds, one clear line, a non-zero exit, no traceback, no hang, and never "good"."""

import itertools
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIG_DFL, SIGALRM, alarm, signal

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench import check, roofline
from bench.calibrate import __main__ as calibrate
from bench.compare import __main__ as compare
from bench.errors import BadInput
from bench.interconnect import __main__ as interconnect
from bench.ladder import __main__ as ladder
from bench.memory import __main__ as memory
from bench.parallel import __main__ as parallel
from bench.peers import __main__ as peers
from bench.record import store
from bench.report import __main__ as report
from bench.transformer import __main__ as transformer
from bench.wall import __main__ as wall
from support import battery, odd
from support.fuzz import thinned
from support.process import ROOT, Run

LEAST = 250
THINNED = thinned(7)  # of 1,600 bad values of fields one in so many is tried: all take 20 s
pytestmark = pytest.mark.xdist_group("battery")
SECONDS = 300  # whatever takes longer hangs
GOOD = battery.whole()
ODD = list(odd.odd())
OUTPUT: dict[Callable[..., object], list[str]] = {report.main: ["-o", "r.html"]}


@contextmanager
def soon() -> Iterator[None]:
    """Ends the process, by a signal, where something hangs in C."""
    before = signal(SIGALRM, SIG_DFL)
    alarm(SECONDS)
    try:
        yield
    finally:
        alarm(0)
        signal(SIGALRM, before)


def refused(read: Callable[[], object]) -> str:
    """The one line with which something is refused; "" where it isn't."""
    try:
        with soon():
            read()
    except BadInput as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("battery")
    found = list(battery.special(folder))
    for i, (name, content) in enumerate(battery.documents(GOOD, THINNED)):
        path = folder / f"{i}.json"
        path.write_bytes(content)
        found.append((name, path))
    return found


def test_what_the_battery_begins_with_is_good(tmp_path: Path) -> None:
    store.save(GOOD, tmp_path / "r.json")  # type: ignore[arg-type]
    assert store.problems(store.load(tmp_path / "r.json")) == []


def test_every_file_is_refused_in_one_line(files: list[tuple[str, Path]]) -> None:
    assert len(files) >= LEAST
    assert len({path.read_bytes() for name, path in files if not name.startswith("special")}) >= LEAST
    assert min(Counter(name.split(":")[0] for name, _ in files).values()) >= 10
    for name, path in files:
        line = refused(lambda path=path: store.load(path))
        assert line, f"{name}: taken for a record"
        assert line.isprintable(), f"{name}: {line!a}"
        assert len(line) < 600, f"{name}: {len(line)} characters"
        assert "nothing follows from it" not in line, f"{name}: not seen before it broke something: {line}"


def test_check_calls_none_good(files: list[tuple[str, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    some = files[:: thinned(7)]
    with soon():
        assert check.main([str(path) for _, path in some]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= len(some)
    assert not [line for line in lines if ": good" in line or not line.isprintable()]


@pytest.mark.parametrize(
    "main",
    [
        compare.main,
        calibrate.main,
        roofline.main,
        wall.main,
        interconnect.main,
        parallel.main,
        ladder.main,
        peers.main,
        memory.main,
        transformer.main,
        report.main,
    ],
    ids=lambda main: main.__module__,
)
def test_commands_refuse_them(main: Callable[..., object], files: list[tuple[str, Path]], tmp_path: Path) -> None:
    """By the same reader, so a few will do: those of every class."""
    good = tmp_path / "good.json"
    store.save(GOOD, good)  # type: ignore[arg-type]
    for name, path in files[:: thinned(41)]:
        arguments = [str(good), str(path)] if main is compare.main else [str(path)]
        arguments += [str(tmp_path / one) if one.endswith("html") else one for one in OUTPUT.get(main, ())]
        assert refused(lambda arguments=arguments: main(arguments)), f"{name}: not refused"


@pytest.mark.parametrize("command", ["check", "compare", "calibrate", "roofline", "wall", "ladder", "peers"])
def test_as_a_user_would_see_it(command: str, files: list[tuple[str, Path]], python: Run, tmp_path: Path) -> None:
    for name, path in files[:: len(files) // 4] if command == "check" else files[:1]:
        arguments = [path, path] if command == "compare" else [path]
        ran = python("-m", f"bench.{command}", *arguments)
        assert ran.returncode in (1, 2), name
        assert len((ran.stdout + ran.stderr).splitlines()) == 1, f"{name}: {ran.stdout}{ran.stderr}"
        assert list(tmp_path.iterdir()) == []


def test_every_command_that_reads_records_has_the_guard() -> None:
    for path in (ROOT / "bench").rglob("*.py"):
        words = path.read_text()
        if 'if __name__ == "__main__":' in words and re.search(
            r"record\.store import .*\bload\b|import.*\bsides\b", words
        ):
            assert "with derived_from(" in words, path


@pytest.mark.parametrize(
    ("main", "every"),
    [
        *(
            (main, 1)
            for main in (
                check.main,
                compare.main,
                interconnect.main,
                parallel.main,
                ladder.main,
                peers.main,
                memory.main,
                transformer.main,
            )
        ),
        (roofline.main, 14),
        (wall.main, 14),
        (report.main, 3),
    ],
    ids=lambda value: getattr(value, "__module__", ""),
)
def test_what_nobody_measured_is_shown_or_refused(
    main: Callable[..., int], every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that keep every rule of the schema, of extreme and senseless measurements: no exception, no warning."""
    monkeypatch.chdir(tmp_path)
    for canvas, write in ((FigureCanvasAgg, "print_png"), (FigureCanvasSVG, "print_svg")):  # takes a second each
        monkeypatch.setattr(canvas, write, lambda self, file: file.write(b"drawn"))
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: None)
    for name, document in itertools.islice(ODD, 0, None, thinned(every)):
        Path("r.json").write_text(json.dumps(document))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            line = refused(lambda: main([*(["r.json"] * (1 + (main is compare.main))), *OUTPUT.get(main, ())]))
        assert "nothing follows from it" not in line, f"{name}: {line}"
