"""What ends a session of two ranks too early: Ctrl-C, a rank that dies. Its record is there and whole, nobody hangs."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.host.mpi import RANKS
from bench.record.store import load
from support.needed import absent
from support.process import mpirun

Job = subprocess.Popen[str]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """A session of minutes that has written its record once."""
    every, environment = mpirun(2, Path(__file__).with_name("hasty.py"), "--record", "a.json")
    pipe = subprocess.PIPE
    begun = subprocess.Popen(
        every, env=environment, cwd=tmp_path, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        for _ in range(600):
            if begun.poll() is not None or (tmp_path / "a.json").exists():
                break
            time.sleep(0.1)
        if begun.poll() is not None:
            said = begun.communicate()[0]
            if "no MPI library" in said:
                absent("mpi", said.strip())
            pytest.fail(said)
        yield begun
    finally:
        if begun.poll() is None:
            os.killpg(begun.pid, signal.SIGKILL)


def _ended(job: Job, folder: Path) -> str:
    """What was said; the record is whole and says that it isn't complete, and nothing half-written is left."""
    said, _ = job.communicate(timeout=30)
    assert job.returncode != 0
    record = load(folder / "a.json").record
    assert not record["complete"] and any(row["seconds"] for row in record["rows"] if row["level"] == "link")
    assert [path.name for path in folder.iterdir()] == ["a.json"]
    return said


def test_ctrl_c_keeps_the_record(job: Job, tmp_path: Path) -> None:
    job.send_signal(signal.SIGINT)
    _ended(job, tmp_path)


def test_a_rank_that_dies_ends_all_and_is_named(job: Job, tmp_path: Path) -> None:
    """Open MPI names the rank, MPICH the process."""
    process = next(one for one in psutil.Process(job.pid).children(recursive=True) if _rank(one) == "1")
    process.kill()
    said = _ended(job, tmp_path)
    assert "process rank 1" in said or f"PID {process.pid} " in said, said


def _rank(process: psutil.Process) -> str | None:
    known = process.environ()
    return next((known[name] for name in RANKS if name in known), None)
