"""Slurm of two nodes on this host: a job on each by ReFrame, and nothing is left.

Skipped by name where Slurm isn't installed or this process isn't root.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.needed import absent, needed
from support.process import ROOT

SCRIPT = ROOT / "integrations" / "slurm" / "two-nodes"
REFRAME = ROOT / "integrations" / "reframe"
RECORD = ROOT / "tests" / "record" / "record-2.json"
SBIN = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
ROOM = Path("/run/ridgeline-slurm")
SESSION = """#!/bin/sh
if [ "$3" = bench ]; then
    [ "{killed} $SLURMD_NODENAME" != "1 ridgeline-b" ] || (scancel $SLURM_JOB_ID && sleep 60)
    mkdir -p records/$SLURMD_NODENAME && exec cp {record} records/$SLURMD_NODENAME
fi
exec {python} "$@"
"""
pytestmark = pytest.mark.xdist_group("two-nodes")


def _script(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    every = [SCRIPT, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(every, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def nodes() -> Iterator[None]:
    """Up, and taken down afterwards; other people's are left alone."""
    for program in ("slurmctld", "slurmd", "munged", "sbatch"):
        if not shutil.which(program, path=SBIN):
            absent("slurm", f"{program} is not installed")
    if os.geteuid() or ROOM.exists():
        absent("slurm", "two nodes need root" if os.geteuid() else f"{ROOM} is there already")
    begun = _script("up")
    assert begun.returncode == 0, begun.stderr
    yield
    assert _script("down").returncode == 0


def test_nodes_come_and_go(nodes: None) -> None:
    """A job that runs doesn't keep them, and down works where there is nothing."""
    both = _script("run", "srun", "-N2", "-n2", "sh", "-c", "echo $SLURMD_NODENAME")
    assert sorted(both.stdout.split()) == ["ridgeline-a", "ridgeline-b"], both.stderr
    assert _script("up").stderr == f"two-nodes: {ROOM} is there: two-nodes down\n"
    assert _script("run", "sbatch", "--output=/dev/null", "--wrap=exec sleep 987").returncode == 0
    assert _script("down").returncode == _script("down").returncode == 0
    assert not ROOM.exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "slurmd -N ridgeline" not in left and str(ROOM) not in left and "sleep 987" not in left


@pytest.mark.parametrize("killed", [False, True])
def test_a_job_on_each_node(nodes: None, tmp_path: Path, killed: bool) -> None:
    """By ReFrame, which finds the nodes itself; the session copies a record. A killed job takes no other along."""
    needed("reframe")
    python = tmp_path / "python"
    python.write_text(SESSION.format(killed=int(killed), record=RECORD, python=sys.executable))
    python.chmod(0o755)
    given = ("-C", REFRAME / "settings.py", "-c", REFRAME / "ridgeline.py", "--system", "ridgeline:slurm", "--nocolor")
    how = ("-r", "--distribute", "-S", f"python={python}", "-S", f"lock={tmp_path}")
    done = _script("run", Path(sys.executable).with_name("reframe"), *given, *how, folder=tmp_path)
    kept = sorted(path.parent.name for path in tmp_path.glob("reframe/output/**/records/*/*.json"))
    assert "2/2" in done.stdout and kept == ["ridgeline-a", "ridgeline-b"][: 2 - killed], done.stdout + done.stderr
    assert done.returncode == killed and ("ON ridgeline-b CANCELLED" in done.stdout) == killed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "two-nodes up | run COMMAND... | down"),
        (["sideways"], "two-nodes up | run COMMAND... | down"),
        (["run"], "two-nodes: run what?"),
    ],
)
def test_how_it_is_called(arguments: list[str], said: str) -> None:
    ran = _script(*arguments)
    assert ran.returncode != 0 and ran.stderr == f"{said}\n"
