"""What rank 0 decides, without MPI: turns, silence, folders that can't be written, hostile names and texts."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import progress
from bench.errors import BadInput
from bench.fleet import gathering as module
from bench.fleet import rank as of_rank
from bench.fleet import session as of_session
from bench.fleet.folder import Folder
from bench.fleet.gathering import ENDED, Gathering
from bench.fleet.rank import ALIKE, SILENCE, Facts, Report
from bench.fleet.session import Outcome, Said, Session, environment, refused
from bench.fleet.tables import failures, lines
from support import records
from support.process import Run

HOSTILE = "<script>alert(1)</script>\x1b[2J/../../etc\n"
NOTHING = Said("", None, None)


class Fleet(Gathering):
    """Of ranks by their hosts' names, "host/kernel"; a clock that is set by hand."""

    def __init__(self, folder: Path, *hosts: str, turns: str = "kernel") -> None:
        self.said: list[str] = []
        self.shares: list[tuple[str, float | None]] = []
        places = Folder(folder, len(hosts))
        super().__init__(len(hosts), places, ALIKE[turns], {}, self.said.append, lambda *told: self.shares.append(told))
        self.facts = [Facts(*host.split("/"), None) for host in hosts]
        self.time = 0.0
        self._awake = lambda: self.time

    def hears(self, rank: int, outcome: Outcome | None = None, said: Said = NOTHING) -> str:
        return self.answer(rank, Report(self.facts[rank], f"results/fleet/rank{rank}", said, outcome))


def good() -> bytes:
    return json.dumps(records.make([records.product(1, 9)]).record).encode()


def test_ranks_under_one_kernel_take_turns(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2", "c/1")
    assert [fleet.hears(rank) for rank in range(3)] == ["go", "go", "wait"]
    assert fleet.hears(0, Outcome("exit status 1", "here", None)) == "wait"
    assert fleet.hears(2) == "go"
    assert not fleet.over


def test_or_those_of_one_name(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/1", "a/1", turns="host")
    assert [fleet.hears(rank) for rank in range(3)] == ["go", "go", "wait"]


def test_who_is_silent_is_given_up_and_the_next_has_its_turn(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2", "b/2")
    assert [fleet.hears(rank) for rank in range(3)] == ["go", "go", "wait"]
    fleet.time = SILENCE + 1
    assert (fleet.hears(0), fleet.hears(2)) == ("wait", "wait")
    fleet.watch({})
    assert fleet.hosts[1].state == ENDED and fleet.hosts[1].reason == f"its rank sent nothing for {SILENCE:.0f} s"
    assert fleet.hears(2) == "go"
    assert failures(lines(fleet)) == [
        f"b, rank 1: its rank sent nothing for {SILENCE:.0f} s; on its host results/fleet/rank1"
    ]
    assert fleet.hears(1) == "stop"  # it speaks again
    fleet.hears(1, Outcome("interrupted", "there", good()))
    fleet.settle()
    assert fleet.hosts[1].path and fleet.hosts[1].path.suffix == ".json"


def test_who_is_known_to_be_dead_is_lost_at_once(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2")
    fleet.hears(0, Outcome(None, "here", good()))
    fleet.watch({1: "can't be reached"})
    assert fleet.over and fleet.hosts[1].reason == "its rank can't be reached"


def test_a_rank_of_another_version_is_named_and_waits(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2")
    assert [fleet.answer(1, None) for _ in range(2)] == ["wait"] * 2
    assert fleet.hosts[1].reason == "its rank runs another version of Ridgeline"
    assert fleet.hears(0) == "go"


def test_an_interrupt_ends_all(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2", "b/2")
    for rank in range(3):
        fleet.hears(rank)
    assert not fleet.idle()
    fleet.interrupt()
    assert fleet.idle()  # a launcher leaves a second: what has arrived is looked at
    assert [fleet.hears(rank) for rank in range(3)] == ["stop"] * 3
    assert [host.reason for host in fleet.hosts] == [None, None, "interrupted before its turn"]
    assert not fleet.over


def test_nothing_is_checked_while_rank_0s_host_measures(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1", "b/2", "a/1")
    for rank in range(3):
        fleet.hears(rank)
    fleet.hears(1, Outcome(None, "there", good()))
    assert not fleet.idle() and list(tmp_path.rglob("*.unchecked"))
    fleet.hears(0, Outcome(None, "here", good()))
    assert not fleet.idle()  # the turn of rank 2
    fleet.hears(2, Outcome(None, "here", good()))
    assert fleet.idle()
    fleet.settle()
    assert len(list(tmp_path.rglob("*.json"))) == 3 and not list(tmp_path.rglob("*.unchecked"))


def test_the_time_left_counts_those_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    fleet = Fleet(tmp_path, "a/1", "a/1")
    fleet.hears(0)
    fleet.hears(1)
    fleet.watch({})
    assert fleet.shares[-1] == ("0 of 2 done, 1 measuring", None)
    now[0] += 30
    fleet.hears(0, said=Said("gemm ffn_up", 0.75, 10.0))
    fleet.watch({})  # 10 s are left, and 40 of the other
    assert fleet.shares[-1] == ("0 of 2 done, 1 measuring; a, rank 0: 75 %, gemm ffn_up", 0)
    now[0] += 4
    fleet.hears(0, said=Said("roofs again", None, None))
    fleet.watch({})  # 6 s and 40
    assert fleet.shares[-1] == ("0 of 2 done, 1 measuring; a, rank 0: roofs again", pytest.approx(4 / 50))


def test_no_room_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"can't write {10**9} records to {tmp_path}: "):
        Folder(tmp_path, 10**9)
    assert not list(tmp_path.iterdir())


def test_a_record_that_cannot_be_written_here_is_named_where_it_is(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a/1")
    (tmp_path / "a").write_text("no folder", encoding="utf-8")
    fleet.hears(0)
    fleet.hears(0, Outcome(None, "results/there.json", good()))
    (said,) = failures(lines(fleet))
    assert said.startswith(f"a: can't write {tmp_path}/a/") and said.endswith("; on its host results/there.json")


def test_names_of_hosts_are_harmless(tmp_path: Path) -> None:
    facts = of_rank.facts(HOSTILE)
    assert facts.host.isprintable() and len(facts.host) <= 80
    fleet = Fleet(tmp_path / "fleet", "a/1")
    fleet.facts = [facts]
    fleet.hears(0)
    fleet.hears(0, Outcome("exit status 1: \x1b[31m", "here", good()))
    fleet.settle()
    (record,) = tmp_path.rglob("*.json")
    assert record.parent.parent == tmp_path / "fleet"
    assert all(text.isprintable() for text in [*fleet.said, *failures(lines(fleet))])


def test_what_was_left_unchecked_is_checked_later(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 1)
    names = [folder.write(host, 0, text) for host, text in (("a", good()), ("b", b"[]"), ("c", b"\xff\xfe"))]
    found = {path: judged.reason for path, judged in folder.settle()}
    assert found == {names[0]: None, names[1]: "not a ridgeline-record", names[2]: found[names[2]]}
    kinds = {path.parent.name: path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {"a": ".json", "b": ".refused", "c": ".refused"}
    assert list(folder.present()) == ["a"]


def test_an_interrupted_record_is_still_missing(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 1)
    part = records.of([records.fma(), records.read(), records.product(1, 9)], complete=False).record
    folder.write("a", 0, json.dumps(part).encode())
    assert [judged.reason for _, judged in folder.settle()] == [None]
    assert folder.present() == {}


def test_a_session_knows_nothing_of_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_ID", "SLURM_PROCID", "MPI_LOCALRANKID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert not any(name.endswith(("RANK", "_ID", "PROCID", "RANKID")) for name in environment() if "MP" in name)
    assert "SLURM_PROCID" not in environment() and environment()["OMP_NUM_THREADS"] == "2"


def test_a_session_waits_for_another_that_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `flock FOLDER COMMAND` holds it; a session beside it is only started on request."""
    monkeypatch.setattr(of_rank, "LOCK", str(tmp_path))
    monkeypatch.setattr(of_session, "command", lambda folder, options: [sys.executable, "-c", "pass"])
    rank, beside = (of_rank.Rank(n, "a", tmp_path / "results", [], 60.0, alone) for n, alone in ((0, True), (1, False)))
    other = subprocess.Popen(["flock", tmp_path, "cat"], stdin=subprocess.PIPE)
    try:
        while subprocess.run(["flock", "--nonblock", tmp_path, "true"]).returncode == 0:
            of_session.time.sleep(0.02)
        rank.obey("go")
        beside.obey("go")
        assert (rank.report().folder, rank.report().said) == (None, of_rank.LOCKED)
        assert beside.report().folder
    finally:
        other.communicate()
    while not rank.report().outcome:
        of_session.time.sleep(0.02)
    assert rank.report().folder
    assert subprocess.run(["flock", "--nonblock", tmp_path, "true"]).returncode == 0


def test_a_session_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that doesn't listen, too."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    monkeypatch.setattr(of_session, "command", lambda folder, options: [sys.executable, "-c", deaf])
    monkeypatch.setattr(of_session, "GRACE", 0.3)
    session = Session(tmp_path, 3, [], 1.0)
    while session.running():
        of_session.time.sleep(0.02)
    outcome = session.outcome()
    assert outcome.reason == "it took more than 0.0167 minutes" and outcome.record is None
    assert Path(outcome.place).parent == tmp_path / "fleet" and outcome.place.endswith("-rank3")


def test_options_of_the_session_are_tried(tmp_path: Path) -> None:
    reason = refused(tmp_path, ["--threads", "9999"])
    assert reason and reason.startswith("exit status 4: ERROR: --threads 9999: this process may use ")


@pytest.mark.parametrize(
    ("status", "errors", "output", "why"),
    [
        (4, "usage: a\npytest.main(): error: --sweep quirk\n  rootdir: /\n", "", "pytest.main(): error: --sweep quirk"),
        (1, "    9 s   40 %, 0:10 left: gemm\n", "1 failed, 2 passed\n\n", "1 failed, 2 passed"),
        (1, "\nno room\n    9 s  gemm\n", "ended", "no room"),
    ],
)
def test_the_reason_is_the_line_that_tells_most(status: int, errors: str, output: str, why: str) -> None:
    assert of_session._why(status, errors, output) == f"exit status {status}: {why}"
    assert of_session._why(-9, "", "") == "ended by SIGKILL"


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("  130 s   45 %, 2:10 left: gemm, f32", Said("gemm, f32", 0.45, 130.0)),
        ("   50 s    0 %, ? left: gemm", Said("gemm", 0.0, None)),
        ("   12 s  roofs, 2 threads", Said("roofs, 2 threads", None, None)),
        ("a warning", Said("", None, None)),
    ],
)
def test_progress_is_read_as_sessions_write_it(
    last: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_session, "command", lambda folder, options: [sys.executable, "-c", "pass"])
    session = Session(tmp_path, 0, [], 60.0)
    while session.running():
        of_session.time.sleep(0.02)
    (session.folder / "errors.txt").write_text(f"{last}\n", encoding="utf-8")
    assert session.said() == said


def test_its_own_bar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pattern is that of bench.progress."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    text = StringIO()
    out = Console(file=text, force_interactive=False, width=180)
    bar = progress.Bar(out)
    bar("roofs")
    bar("gemm", 0.5)
    found = [of_session.PROGRESS.fullmatch(line) for line in text.getvalue().splitlines()]
    assert (
        [one and one["text"] for one in found] == ["roofs", "gemm"] and found[1] and found[1]["share"].strip() == "50 %"
    )


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU can't be bound to fewer")
def test_a_rank_that_is_bound_says_so(python: Run) -> None:
    script = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nfrom bench.fleet import rank\n"
    bound = python("-c", f"{script}print(rank.facts('a').bound)")
    mine = sorted(os.sched_getaffinity(0))
    assert bound.stdout.startswith(f"1 of {len(mine)} CPUs ({mine[0]} of "), bound.stderr
    assert of_rank.facts("a").bound is None


def test_a_host_without_room_is_named(tmp_path: Path) -> None:
    rank = of_rank.Rank(1, "b", Path("/proc/results"), [], 60.0, alone=False)
    rank.obey("go")
    outcome = rank.report().outcome
    assert outcome and (outcome.reason or "").startswith("can't write /proc/results") and outcome.record is None
