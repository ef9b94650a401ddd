"""Two MPI ranks, a few sizes; skipped by name without mpi4py, an MPI library or mpirun. And what is said without."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.check import checked
from bench.host import mpi as library
from bench.interconnect import __main__ as command
from bench.interconnect.member import PERIOD, _fill, _values
from bench.record.store import load
from support.needed import absent
from support.process import ROOT, Run, mpirun

RANKS, HASTY = (Path(__file__).with_name(name) for name in ("ranks.py", "hasty.py"))


def ran(count: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """mpirun -n count python arguments."""
    every, environment = mpirun(count, *arguments)
    return subprocess.run(every, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """Of ranks.py, on two ranks."""
    done = ran(2, RANKS)
    if "no MPI library" in done.stderr:
        absent("mpi", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_step_is_timed_and_its_values_are_right(answers: dict[str, Any]) -> None:
    assert len(answers["steps"]) == 8 * 2
    for one in answers["steps"]:
        lead = one["timed"][0]
        assert len(lead["ended"]) == len(lead["spent"]) == 3
        assert all(spent > 0 for spent in lead["spent"])
        assert all(b - a >= s for a, b, s in zip(lead["ended"], lead["ended"][1:], lead["spent"][1:], strict=False))
        compared, wrong = map(sum, zip(*one["checked"], strict=True))
        assert wrong == 0
        assert compared >= one["size"]


def test_a_wrong_value_is_counted(answers: dict[str, Any]) -> None:
    """Rank 1 sends one wrong value."""
    for one in answers["forged"]:
        assert sum(wrong for _, wrong in one["checked"]) >= 1, one


def test_sums_of_sums_stay_finite(answers: dict[str, Any]) -> None:
    """After 200 calls in place, of which each doubles what the one before left."""
    assert np.isfinite(answers["sums"]).all() and np.shape(answers["sums"]) == (2, 2)


def test_rotating_buffers_go_round(answers: dict[str, Any]) -> None:
    """After 3 x 2 + 1 messages of 64 KiB and more the place is another, and within the pool."""
    assert answers["slots"] > 1
    assert 0 <= answers["offset"] < answers["pool"] and answers["offset"] % 64 == 0


def test_what_fails_on_one_rank_is_told_by_rank_0(answers: dict[str, Any]) -> None:
    assert answers["failed"].startswith("rank 1: MemoryError")


def test_a_session_to_its_end(tmp_path: Path) -> None:
    """A record that bench.check takes, and tables, once."""
    done = ran(2, HASTY, "--fewer", "1000", "--largest", "4", "--record", tmp_path / "a.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 ranks on one host") == 1
    assert " MB of results compared, 0 wrong" in done.stdout and "#wrong" in done.stdout
    assert load(tmp_path / "a.json").record["complete"] and not checked(tmp_path / "a.json")["problems"]


def test_a_single_rank_is_one_line() -> None:
    done = ran(1, "-m", "bench.interconnect")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("bench.interconnect")]
    assert lines == ["bench.interconnect: one rank has nobody to send to: mpirun -n 2 python -m bench.interconnect"]


def test_bad_input_is_one_line_however_many_ranks() -> None:
    done = ran(2, "-m", "bench.interconnect", "--largest", "5")
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("bench.interconnect: --largest 5: a power of two") == 1


def test_without_mpi4py_there_is_help_and_one_line(python: Run, tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ModuleNotFoundError(\"No module named 'mpi4py'\", name='mpi4py')\n")
    asked = python("-m", "bench.interconnect", "--help", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert asked.returncode == 0 and asked.stdout.startswith("usage: python -m bench.interconnect")
    refused = python("-m", "bench.interconnect", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert refused.returncode == 2
    assert refused.stderr == (
        "bench.interconnect: mpi4py isn't installed: pip install 'ridgeline[mpi]', then mpirun -n 2 python -m "
        "bench.interconnect\n"
    )


def test_without_an_mpi_library_that_is_said(python: Run, tmp_path: Path) -> None:
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").write_text("class rc: pass\n")
    (tmp_path / "mpi4py/MPI.py").write_text("raise RuntimeError('cannot load MPI library\\nlibmpi.so: not found')\n")
    refused = python("-m", "bench.interconnect", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert refused.returncode == 2
    assert "mpi4py finds no MPI library (cannot load MPI library): install Open MPI or MPICH" in refused.stderr


@pytest.mark.parametrize(("name", "rank"), [("OMPI_COMM_WORLD_RANK", 3), ("PMI_RANK", 1), ("SLURM_PROCID", 0)])
def test_a_rank_knows_itself_from_its_launcher(name: str, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in library.RANKS:
        monkeypatch.delenv(other, raising=False)
    assert library.launched_rank() == 0
    monkeypatch.setenv(name, str(rank))
    assert library.launched_rank() == rank


def test_other_ranks_print_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert (ended.value.code, *capsys.readouterr()) == (0, "", "")


def test_values_are_those_of_their_place() -> None:
    """So a message that landed in the wrong buffer is wrong, also one that begins within a float."""
    whole = _values(0, 4096, 3)
    for at, size in ((0, 1), (1, 7), (64, 640), (1023, 17)):
        assert (_values(at, size, 3) == whole[at : at + size]).all()
    filled = np.zeros(4096, np.uint8)
    _fill(filled, 3)
    assert (filled == whole).all()
    floats = whole.view("f4")
    assert floats.min() == 3 and floats.max() == 3 * PERIOD and floats[0] != floats[16]
