"""Sessions that ended early, at every moment: what a command can show is kept and shown again, what it can't isn't."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import check, cli, roofline
from bench.compare import __main__ as compare
from bench.errors import BadInput
from bench.escape import __main__ as escape
from bench.escape.measuring import shows as escape_shows
from bench.ladder import __main__ as ladder
from bench.ladder.steps import climb
from bench.measure.run import NothingMeasured
from bench.measure.session import Session
from bench.memory import __main__ as memory
from bench.memory.experiment import compared
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.transformer import __main__ as transformer
from bench.transformer.rows import rows_of
from bench.wall import __main__ as wall
from bench.wall.hosts import has_roofs
from support import records
from support.runs import every_row, every_run

SAMPLES = ("seconds", "rounds", "starts", "visits")
SHOWN: dict[Callable[..., int], Callable[[Metrics], object]] = {
    escape.main: lambda metrics: escape_shows(metrics, list(escape.SECTIONS)),
    ladder.main: climb,
    memory.main: compared,
    transformer.main: rows_of,
    wall.main: has_roofs,
    **dict.fromkeys((check.main, compare.main, roofline.main), bool),
}
"""Each command that reads records, and of what a session leaves whether it is kept."""


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Metrics, Path]]:
    """A session's record as it grows: row by row, then run by run, the last one with a few samples."""
    climbed: Any = records.product(50, 30) | {"operation": "gemm_naive", "cold": [], "level": "L2"}
    rows: list[Any] = [records.fma(), records.read(), *every_row(), climbed]
    cut = [{**row, **{name: row[name][: 1 + 3 * (i % 2)] for name in SAMPLES}} for i, row in enumerate(rows)]
    found = [records.of([*rows[:i], cut[i]], complete=False) for i in range(len(rows))]
    runs, few = every_run(), every_run(1)
    found += [records.of(rows, runs=[*runs[:i], few[i]], complete=False) for i in range(len(runs))]
    folder = tmp_path_factory.mktemp("moments")
    for i, metrics in enumerate(found):
        store.save(metrics.record, folder / f"{i}.json")
    return [(metrics, folder / f"{i}.json") for i, metrics in enumerate(found)]


def keeps(shows: Callable[[Metrics], object], metrics: Metrics) -> bool:
    try:
        return bool(shows(metrics))
    except ValueError:
        return False


@pytest.mark.parametrize("main", SHOWN, ids=lambda main: main.__module__)
def test_what_is_kept_is_shown(
    main: Callable[..., int], moments: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "drawn", lambda draw: ([], False))
    found = []
    for i, (metrics, path) in enumerate(moments):
        found.append(keeps(SHOWN[main], metrics))
        try:
            status = main([str(path)] * (2 if main is compare.main else 1) + ["--json"] * (i % 2))
        except BadInput as error:
            assert not found[-1] and "nothing follows" not in str(error), error
        else:
            assert main is check.main or (found[-1] and status in (0, cli.CUT_SHORT))
        assert capsys.readouterr().err == ""
    assert found[-1]


def ended(start: Callable[[Session], None]) -> Callable[[Session], None]:
    """What a session does before Ctrl-C."""

    def then(session: Session) -> None:
        start(session)
        os.kill(os.getpid(), signal.SIGINT)

    return then


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (escape.main, ["--types", "bf16", "--backends", "c"]),
        (transformer.main, ["--backend", "c"]),
        (memory.main, ["--layers", "2", "--intervals", "1"]),
        (wall.main, []),
    ],
    ids=lambda value: getattr(value, "__module__", ""),
)
@pytest.mark.parametrize("rows", [[], [records.read()], [records.read(), records.fma()]], ids=len)
def test_what_is_not_kept_is_said(
    main: Callable[..., int], arguments: list[str], rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while the roofs are measured: of the wall's command they are what it shows."""
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(session: Session) -> None:
        session.rows += [{**row, "isa": session.isa} for row in rows]

    monkeypatch.setattr(Session, "start", ended(start))
    monkeypatch.setattr(cli, "drawn", lambda draw: ([], False))
    try:
        if main is wall.main and len(rows) == 2:
            assert main(["--threads", "1", "--record", "r.json"]) == cli.CUT_SHORT
            assert Path("r.json").exists()
            return
        with pytest.raises(NothingMeasured, match="no record is written"):
            main(["--threads", "1", "--record", "r.json", *arguments])
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
