"""bench.fleet on MPI ranks with small stand-ins for sessions; skipped by name without MPI."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from bench.fleet.session import LAUNCHERS
from bench.record.store import load
from support import records
from support.needed import absent
from support.process import mpirun

RANKS = Path(__file__).with_name("ranks.py")
HOW = ["good", "fails", "tampered", "future", "cut", "wrong", "nothing", "killed"]
"""How the sessions of ranks 0, 1, ... end; see stand_in.py."""
pytestmark = pytest.mark.xdist_group("fleet")


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def hosts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.stdout[self.stdout.index("{") :])["hosts"]
        return found

    @property
    def turns(self) -> list[list[str]]:
        """What stand_in.py noted: its process, its rank's, what, when."""
        return [line.split() for line in (self.folder / "turns").read_text(encoding="utf-8").splitlines()]


def started(folder: Path, how: dict[int, str], count: int, *arguments: object, **environment: str) -> subprocess.Popen:  # type: ignore[type-arg]
    rows = [records.fma(), records.read(), records.product(1, 9), records.product(64, 92)]
    made = {name: records.of(rows, complete=name == "complete").record for name in ("complete", "partial")}
    (folder / "made").write_text(json.dumps(made), encoding="utf-8")
    told = {"FLEET": json.dumps(how), "TURNS": str(folder / "turns"), "RECORDS": str(folder / "made"), **environment}
    every, known = mpirun(count, RANKS, *arguments, **told)
    pipe = subprocess.PIPE
    return subprocess.Popen(every, env=known, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str], folder: Path) -> Ended:
    """Within a minute: who hangs fails."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if "no MPI library" in err:
        absent("mpi", err.strip())
    return Ended(process.returncode, out, err, folder)


def ran(folder: Path, how: dict[int, str], count: int, *arguments: object) -> Ended:
    return ended(started(folder, how, count, *arguments), folder)


def noted(folder: Path, what: str, count: int) -> list[list[str]]:
    """The lines of stand-ins that began or ended, once there are so many."""
    file = folder / "turns"

    def found() -> list[list[str]]:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.split() for line in lines if f" {what} " in line]

    until(lambda: len(found()) >= count, f"{count} stand-ins {what}")
    return found()


def until(true: Callable[[], object], what: str) -> None:
    """Half a minute of this process at most."""
    for _ in range(1500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError(f"not so: {what}")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Every way in which a session can end, one rank each, all of one host."""
    return ran(tmp_path_factory.mktemp("many"), dict(enumerate(HOW)), len(HOW), "--json", "--", "--sweep", "quick")


def test_who_failed_is_named_with_the_reason(many: Ended) -> None:
    assert many.status == 1
    reasons = {how: host["reason"] for how, host in zip(HOW, many.hosts, strict=True)}
    assert reasons == {
        "good": None,
        "fails": r"exit status 1: MemoryError: \x1b[2Jno room for weights",
        "tampered": "the digest doesn't match: the record was changed after it was written",
        "future": "version 99; this reads versions 1 and 2",
        "cut": reasons["cut"],
        "wrong": "exit status 1: 1 failed, 231 passed",
        "nothing": "its session wrote no record",
        "killed": "ended by SIGKILL",
    }
    assert reasons["cut"].startswith("not JSON, or cut off: ")
    for reason in filter(None, reasons.values()):
        assert reason in many.stderr
    assert "\x1b" not in many.stderr


def test_good_records_are_kept_and_others_apart(many: Ended) -> None:
    for how, host in zip(HOW, many.hosts, strict=True):
        path = Path(many.folder, host["record"]) if host["record"] else None
        if how in ("good", "wrong"):
            assert path and path.suffix == ".json"
            assert load(path).record["digest"] == load(many.folder / host["on_its_host"]).record["digest"]
            figures = host["peak"]["value"], host["read_bandwidth"]["value"], host["ridge"]["value"], host["trust"]
            assert figures == (pytest.approx(100), pytest.approx(20), pytest.approx(5), "A")
        elif how in ("tampered", "future", "cut"):
            assert path and path.suffix == ".refused" and path.is_file()
            assert host["trust"] is None and "peak" not in host
        else:
            assert path is None and Path(many.folder, host["on_its_host"]).is_dir()
    assert not list(many.folder.rglob("*.unchecked"))


def test_the_page_has_the_good_ones(many: Ended) -> None:
    text = (many.folder / "fleet/report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "Made Up" in text


def test_ranks_of_one_host_take_turns_outside_of_mpi(many: Ended) -> None:
    times: dict[str, dict[str, float]] = {}
    for process, _, what, when, launched in many.turns:
        times.setdefault(process, {})[what] = float(when)
        assert launched == "0", "a session sees what a launcher told its rank"
    each = sorted((one["began"], one["ended"]) for one in times.values())
    assert len(each) == len(HOW)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(each))
    assert {"OMPI_", "PMIX_", "PMI_"} <= {*LAUNCHERS}


def test_what_is_missing_is_measured_once_more(many: Ended, tmp_path: Path) -> None:
    """Of three ranks of this host two have good records: "wrong" came to its end, too."""
    (tmp_path / "fleet").symlink_to(many.folder / "fleet")
    again = ran(tmp_path, {}, 3, "--json", "--missing")
    assert again.status == 0, again
    assert sorted(host["there_before"] for host in again.hosts) == [False, True, True]
    assert len(again.turns) == 2  # began and ended


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Two ranks at once whose sessions take a minute, and their processes."""
    job = started(tmp_path, {0: "long", 1: "long"}, 2, "--json", "--turns", "host", FLEET_HOSTS="a,b")
    ranks = [int(line[1]) for line in noted(tmp_path, "began", 2)]
    yield job, ranks
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)


def partial(folder: Path) -> list[Path]:
    """The sessions' own records, once they are there."""
    return [path for path in (folder / "results").rglob("*.json") if not load(path).record["complete"]]


def test_ctrl_c_keeps_what_was_measured(two: tuple[subprocess.Popen[str], list[int]], tmp_path: Path) -> None:
    job, _ = two
    job.send_signal(signal.SIGINT)
    done = ended(job, tmp_path)
    assert done.status != 0
    assert "interrupted: sessions end, and each keeps on its own host what it measured: a in results/" in done.stderr
    until(lambda: len(partial(tmp_path)) == 2, "each session's own record is there")


def test_a_killed_rank_takes_nothing_along(two: tuple[subprocess.Popen[str], list[int]], tmp_path: Path) -> None:
    """Launchers end the whole job then; no session runs on, each keeps what it has, and nothing is cut."""
    job, ranks = two
    os.kill(next(rank for rank in ranks if _rank_of(rank) == 1), signal.SIGKILL)
    done = ended(job, tmp_path)
    assert done.status != 0
    until(lambda: len(partial(tmp_path)) == 2, "each session's own record is there")
    for path in (tmp_path / "fleet").rglob("*.json*"):
        assert load(path)


def test_nobody_waits_for_a_rank_that_is_silent(tmp_path: Path) -> None:
    """Stopped, it still is a process, which no launcher misses."""
    quick = {"FLEET_HOSTS": "a,b,c", "FLEET_SILENCE": "2"}
    job = started(tmp_path, {1: "long"}, 3, "--json", "--turns", "host", **quick)
    silent = next(int(one[1]) for one in noted(tmp_path, "began", 3) if _rank_of(int(one[1])) == 1)
    os.kill(silent, signal.SIGSTOP)
    done = ended(job, tmp_path)
    assert done.status == 1
    assert [host["reason"] for host in done.hosts] == [None, "its rank sent nothing for 2 s", None]
    assert Path(tmp_path, done.hosts[1]["on_its_host"]).is_dir()
    assert len(list((tmp_path / "fleet").rglob("*.json"))) == 2 and (tmp_path / "fleet/report.html").exists()


def _rank_of(process: int) -> int:
    known = psutil.Process(process).environ()
    return next(int(known[name]) for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK") if name in known)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--", "--sweep=quirk"],
            "no session starts with these options: exit status 1: ERROR: --sweep: invalid choice",
        ),
        (["--", "--results=x"], "-- --results: --results belongs before --"),
        (["--gathered", "/proc/fleet"], "can't write /proc/fleet"),
        (["--minutes", "0"], "--minutes 0: more than 0"),
    ],
)
def test_what_cannot_work_is_refused_first(arguments: list[str], reason: str, tmp_path: Path) -> None:
    done = ran(tmp_path, {}, 2, *arguments)
    assert done.status == 2
    assert sum(line.startswith("bench.ranks: ") for line in done.stderr.splitlines()) == 1
    assert f"bench.ranks: {reason}" in done.stderr
    assert not (tmp_path / "turns").exists()


def test_one_rank_is_told_how() -> None:
    every, known = mpirun(1, "-m", "bench.fleet")
    done = subprocess.run(every, env=known, capture_output=True, text=True, timeout=60)
    if "no MPI library" in done.stderr:
        absent("mpi", done.stderr.strip())
    assert done.returncode == 2 and "mpirun -n 2 python -m bench.fleet" in done.stderr


def test_help_needs_no_mpi() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.fleet", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--gathered" in done.stdout
