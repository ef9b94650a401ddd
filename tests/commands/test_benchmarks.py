"""pytest bench/ as a command: what it selects, checks and refuses."""

from pathlib import Path

import pytest

from support.process import ROOT, Run

BENCH = ["-m", "pytest", ROOT / "bench", "-p", "no:cacheprovider"]


def test_benchmark_ids_are_unique(python: Run) -> None:
    ran = python(*BENCH, "--collect-only", "-q", "--sweep", "full", "--threads", "1")
    ids = [line for line in ran.stdout.splitlines() if "::" in line]
    assert ran.returncode == 0
    assert len(ids) > 100
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("case", ["layer and gemm_f32-c and m32 and n768", "pointwise and numba and n128"])
def test_benchmarks_check_without_timing(python: Run, tmp_path: Path, case: str) -> None:
    ran = python(*BENCH, "--benchmark-disable", "--sweep", "quick", "--threads", "1", "-k", case)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("option", [["--threads", "0"], ["--dtype", "f16"]])
def test_bad_options_of_benchmarks_are_one_line(python: Run, option: list[str]) -> None:
    ran = python(*BENCH, "--collect-only", *option)
    lines = [line for line in ran.stderr.splitlines() if line]
    assert (ran.returncode, len(lines)) == (4, 1)
    assert option[0] in lines[0]


def test_roofs_can_be_chosen_alone(python: Run) -> None:
    ran = python(*BENCH, "--collect-only", "-q", "--sweep", "quick", "--threads", "1", "-k", "test_roof")
    ids = [line.partition("::")[2] for line in ran.stdout.splitlines() if "::" in line]
    assert ids == ["test_roof[peak_f32-1]", "test_roof[read-1]"]


def test_benchmarks_are_looked_for_where_they_are(python: Run) -> None:
    """Without a folder pytest takes tests/, skips all of it and says nothing."""
    ran = python("-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, ROOT / "tests", "--benchmark-only")
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "pytest bench/ --benchmark-only" in ran.stderr
    assert ran.stderr.strip().count("\n") == 0
