"""Settings of other tools that a process inherits: what they touch is left out by name, the rest is measured."""

import json
import os
from pathlib import Path

import pytest

from support.process import ROOT, Run, run_python

REFUSED = {
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_OPT": "0",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "+sse2",
    "NUMBA_BOUNDSCHECK": "1",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_NUM_THREADS": "0",
}
"""Under which Numba makes other code, or none."""

HARMLESS = {
    "NUMBA_DISABLE_JIT": "0",
    "NUMBA_BOUNDSCHECK": "0",
    "NUMBA_THREADING_LAYER": "tbb",
    "NUMBA_THREADING_LAYER_PRIORITY": "workqueue",
    "NUMBA_CACHE_DIR": "/proc/none",
    "NUMBA_FULL_TRACEBACKS": "1",
    "PYTHONOPTIMIZE": "2",
}


@pytest.mark.parametrize("name", REFUSED)
def test_numba_under_another_tools_settings_is_refused_by_name(name: str, python: Run) -> None:
    code = """
import kernels
from kernels.registry import unusable
print(unusable("numba"))
print({row.backend for row in kernels.available()} == {"c", "blas"}, kernels.find("gemm", "f32", "c").reason)
try:
    kernels.find("gemm", "f32", "numba")
except kernels.UnavailableISA as error:
    print(error)
"""
    ran = python("-c", code, **{name: REFUSED[name]})
    reason, others, found = ran.stdout.splitlines()
    assert reason.startswith("numba: ") and f"{name}={REFUSED[name]}" in reason
    assert others == "True None"
    assert f"{name}={REFUSED[name]}" in found


def test_settings_that_change_nothing_are_no_reason(python: Run) -> None:
    code = """
import numpy as np, kernels
a = np.ones((2, 3), np.float32)
print(kernels.find("gemm", "f32", "numba")(a, a.T.copy(), threads=2).sum())
"""
    ran = python("-c", code, **HARMLESS, NUMBA_NUM_THREADS="2")
    assert ran.stdout == "12.0\n", ran.stderr


def test_the_rows_of_the_others_go_on(tmp_path: Path, python: Run) -> None:
    """With as many threads as Numba is allowed its rows are there, with more only the others'."""
    arguments = ["--threads", "1,2", "--size", "0.1", "--seconds", "0.005", "--record", "r.json"]
    ran = python("-m", "bench.stream", *arguments, NUMBA_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stderr
    assert (
        ran.stderr.count("left out: numba with 2 threads: NUMBA_NUM_THREADS=1\n") == ran.stderr.count("left out") == 1
    )
    rows = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["rows"]
    found = {(row["backend"], row["threads"]) for row in rows if row["operation"] == "copy"}
    assert found == {("c", 1), ("c", 2), ("numba", 1)}


def test_nothing_left_is_bad_input(python: Run) -> None:
    ran = python("-m", "bench.stream", "--backend", "numba", NUMBA_DISABLE_JIT="1")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert "NUMBA_DISABLE_JIT=1" in ran.stderr


def test_the_session_leaves_out_what_cannot_run(python: Run) -> None:
    options = ["--sweep", "quick", "--threads", "1,2", "--co"]
    ran = python("-m", "pytest", ROOT / "bench", *options, "-k", "test_walk", NUMBA_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stdout
    assert "left out: numba with 2 threads: NUMBA_NUM_THREADS=1" in ran.stdout
    ids = [line for line in ran.stdout.splitlines() if "gemm_f32" in line]
    found = {
        (backend, t)
        for backend in ("c", "numba", "blas")
        for t in (1, 2)
        for i in ids
        if f"-{backend}-" in i and f"-t{t}]" in i
    }
    assert found == {("c", 1), ("c", 2), ("numba", 1), ("blas", 1), ("blas", 2)}


PAIRS = "from bench.measure.pairs import measure_pairs; print(len(measure_pairs({}, 0)))"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: no pair")
def test_what_cpus_share_is_measured_on_a_forced_isa(tmp_path: Path) -> None:
    """A session of several threads began with an error where RIDGELINE_ISA asked for less than the CPU has."""
    done = run_python(tmp_path, "-c", PAIRS.format(sorted(os.sched_getaffinity(0))[:2]), RIDGELINE_ISA="generic")
    assert (done.stdout.strip(), done.stderr) == ("1", "")
