"""The ReFrame check: what a job runs, what makes it pass, and its figures, with a session that copies a record.

Skipped by name where ReFrame is not installed. `.ci/run` has a job with a real session.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.record.store import load
from bench.report.classes import headline
from support.needed import needed
from support.process import ROOT, run_python

FOLDER = ROOT / "integrations" / "reframe"
RECORD = ROOT / "tests" / "record" / "record-2.json"
Job = Callable[..., subprocess.CompletedProcess[str]]

SESSION = """#!/bin/sh
# in place of the nodes' Python: a session copies what it is told to, everything else is real
echo "$@" >> {seen}
if [ "$3" = bench ]; then
    mkdir -p records/machine
    {session}
    exit
fi
exec {python} "$@"
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """job(session, *options): ReFrame's local scheduler, with shell commands in place of the session."""
    needed("reframe")
    python = tmp_path / "python"

    def run(session: str, *options: str) -> subprocess.CompletedProcess[str]:
        python.write_text(SESSION.format(seen=tmp_path / "seen", session=session, python=sys.executable))
        python.chmod(0o755)
        given = (
            "-C",
            FOLDER / "settings.py",
            "-c",
            FOLDER / "ridgeline.py",
            "--system",
            "ridgeline:local",
            "--nocolor",
        )
        own = ("-S", f"python={python}", "-S", f"lock={tmp_path}")  # not the lock of the machine, which may be busy
        return run_python(tmp_path, Path(sys.executable).with_name("reframe"), *given, *own, *(options or ("-r",)))

    return run


def test_a_job_without_a_run(job: Job, tmp_path: Path) -> None:
    """What would run: the session under the lock, once for each sweep that is asked for."""
    made = job("", "--dry-run", "-P", "sweep=quick,full", "-S", "threads=1,2", "-S", "keyword=ffn_up or o")
    assert made.returncode == 0 and "2/2" in made.stdout, made.stdout
    scripts = "".join(path.read_text() for path in tmp_path.glob("reframe/stage/**/rfm_job.sh"))
    for sweep in ("quick", "full"):
        wanted = f"--sweep {sweep} --threads 1,2 --results records -k 'ffn_up or o'"
        assert (
            f"exec 9< {tmp_path} && flock 9 || exit 1\n{tmp_path / 'python'} -m ridgeline bench {wanted}\n" in scripts
        )
    assert not (tmp_path / "seen").exists()


def test_a_good_record(job: Job, tmp_path: Path) -> None:
    """Its figures are the record's, and it is in the output folder as it was."""
    home = Path.home() / ".reframe"
    before = home.exists()
    done = job(f"cp {RECORD} records/machine/")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = list(tmp_path.glob("reframe/output/**/records/machine/*.json"))
    assert [path.read_bytes() for path in kept] == [RECORD.read_bytes()]
    short = headline(load(RECORD))
    assert short and short.peak and short.read and short.ridge
    said = {line.split()[1]: line.split()[2:] for line in done.stdout.splitlines() if line.startswith("P: ")}
    for name, figure, unit in (
        ("peak:", short.peak.scaled(1e-9), "GFLOP/s"),
        ("read_bandwidth:", short.read.scaled(1e-9), "GB/s"),
        ("ridge:", short.ridge, "FLOP/byte"),
        ("percent_of_roof_c:", short.percent["c"], "%"),
    ):
        assert float(said[name][0]) == pytest.approx(figure.value) and said[name][1] == unit
    assert home.exists() == before, "ReFrame's default folder was used"


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (f"head -c 9000 {RECORD} > records/machine/cut.json", "cut off"),
        (f'sed \'s/"threads": 1,/"threads": 2,/\' {RECORD} > records/machine/changed.json', "digest"),
        ("echo 'ERROR: no such layer' >&2; exit 4", "no record that could be checked: ERROR: no such layer"),
        ("exit 3", "no record that could be checked: no output"),
    ],
    ids=["cut off", "changed", "refused", "silent"],
)
def test_a_bad_one(job: Job, tmp_path: Path, session: str, reason: str) -> None:
    """It fails, says why in one line, and nothing of it is in the output folder."""
    done = job(session)
    assert done.returncode == 1
    (said,) = (line for line in done.stdout.splitlines() if "* Reason:" in line)
    assert "sanity error" in said and reason in said
    assert not list(tmp_path.glob("reframe/output/**/*.json"))


def test_hosts_by_ssh(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job for each of RIDGELINE_HOSTS."""
    monkeypatch.setenv("RIDGELINE_HOSTS", "one,two")
    listed = job("", "--system", "ridgeline:ssh", "--distribute", "--list")
    assert listed.returncode == 0 and all(f"nid={name} " in listed.stdout for name in ("one", "two")), listed.stdout
    assert json.loads(job("", "--system", "ridgeline:ssh", "--show-config=systems/0/partitions").stdout)
