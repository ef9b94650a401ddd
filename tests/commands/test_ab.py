"""bench.ab: builds found and compiled, two processes in turn, and what is said of their times."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.ab import builds, cases
from bench.ab.judging import judge
from bench.ab.measuring import Processes, Row, Visit
from bench.ab.tables import as_markdown, warnings
from bench.errors import BadInput
from support.process import ROOT, Run, unfinished

QUICK = ["--seconds", "0.02", "--visits", "2"]


# --- from end to end


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another folder with this tree's kernels."""
    shutil.copytree(ROOT / "kernels", tmp_path / "other" / "kernels", ignore=unfinished)
    return tmp_path / "other"


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_two_folders(python: Run, other: Path) -> None:
    ran = python("-m", "bench.ab", ROOT, other, "-k", "gemm_prepacked,softmax", *QUICK, "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["complete"] and not found["left_out"]
    assert [found["builds"][letter]["tree"] for letter in "AB"] == [str(ROOT), str(other)]
    assert len({found["builds"][letter]["sha256"] for letter in "AB"}) == 1
    assert [k["operation"] for k in found["kernels"]] == ["gemm_prepacked", "softmax"]
    assert [row["row"].split()[0] for row in found["rows"]] == ["gemm_prepacked", "gemm_prepacked", "softmax"]
    for row in found["rows"]:
        assert row["verdict"] in ("faster", "slower", "same", "can't tell")
        assert row["ratio"]["low"] <= row["ratio"]["value"] <= row["ratio"]["high"]
        assert len(row["samples"]) == len(row["visits"]) == 2
        for visit in row["samples"]:
            assert len(visit["seconds"][0]) == len(visit["seconds"][1]) >= 3
            assert min(map(min, visit["seconds"])) > 0


def test_wrong_results_and_missing_kernels(python: Run, other: Path) -> None:
    """The first are refused by name, the second left out by name."""
    changed(
        other / "kernels" / "backends" / "c.py",
        "            _check_run(error)\n\n    call.keep = given",
        "            _check_run(error)\n"
        "        if operation == 'softmax':\n"
        "            out.flat[3] += 1\n\n"
        "    call.keep = given",
    )
    changed(
        other / "kernels" / "registry.py",
        "    _forced()\n    return pick",
        "    _forced()\n    if operation == 'bias':\n        raise KeyError(operation)\n    return pick",
    )
    ran = python("-m", "bench.ab", ROOT, other, "-k", "softmax", *QUICK)
    assert (ran.returncode, ran.stdout) == (2, "")
    error = ran.stderr.splitlines()[-1]
    assert f"softmax 12x128x128 c: B, {other}: 1 of 196608 elements are wrong, the first at [0, 0, 3]" in error
    ran = python("-m", "bench.ab", ROOT, other, "-k", "bias,gelu", *QUICK, "--markdown")
    assert ran.returncode == 0, ran.stderr
    assert "not compared: bias 128x2304 c (B: no such kernel)" in ran.stdout
    assert "| gelu c | 1 |" in ran.stdout


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    cases.write(tmp_path, cases.cases("bias"), "f32")
    build = builds.find(str(ROOT))
    processes = Processes([build, build], tmp_path, 1, 1)
    with processes.visit(0) as pair:
        pids = [child.pid for child in pair.children]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        processes.close()
        with pytest.raises(BadInput, match="its process is gone"):
            pair.children[0].ask("hello")
    assert len(set(pids)) == 2


# --- builds


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """repository(files) commits them, and returns the commit; bench.ab takes it for its own."""
    folder = tmp_path / "repository"
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    monkeypatch.setattr(builds, "OWN", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def commit(files: dict[str, str]) -> str:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    yield commit


CMAKE = "cmake_minimum_required(VERSION 3.25)\nproject(x NONE)\n"
MAKES = 'file(WRITE "${CMAKE_SOURCE_DIR}/kernels/_native.abi3.so" "code")\n'


def test_a_revision_is_built_once(repository: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository({"kernels/__init__.py": "", "CMakeLists.txt": CMAKE + MAKES})
    built = builds.find("HEAD")
    assert (built.commit, built.module.read_text(), built.stale) == (commit, "code", None)
    assert [path.name for path in built.tree.parent.iterdir()] == [built.tree.name]
    monkeypatch.setattr(builds, "_compile", None)
    assert builds.find(commit[:10]).tree == built.tree


@pytest.mark.parametrize(
    ("cmake", "message"),
    [
        ('message(FATAL_ERROR "no luck")\n', r"HEAD: the build failed: CMake Error.* \(all of it: .*\.log\)"),
        ("", "HEAD: its build made no kernels/_native"),
        (None, "HEAD: no kernels in it"),
    ],
)
def test_what_cannot_be_built(repository: Callable[..., str], cmake: str | None, message: str) -> None:
    files = {"CMakeLists.txt": CMAKE + (cmake or "")} | ({} if cmake is None else {"kernels/__init__.py": ""})
    repository(files)
    with pytest.raises(BadInput, match=message) as caught:
        builds.find("HEAD")
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "ridgeline" / "ab"
    assert not any(path.is_dir() for path in cache.iterdir())
    for log in cache.iterdir():
        assert "no luck" in log.read_text()
        assert str(log) in str(caught.value)


def test_what_is_neither_folder_nor_revision(repository: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nosuch: neither a folder nor a revision of "):
        builds.find("nosuch")
    with pytest.raises(BadInput, match="no kernels in it"):
        builds.find(str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    with pytest.raises(BadInput, match="isn't built"):
        builds.find(str(tmp_path))


def test_sources_that_are_newer_than_the_module(other: Path) -> None:
    build = builds.find(str(other))
    assert build.stale is None
    (other / "csrc").mkdir()
    (other / "csrc" / "plan.c").touch()
    os.utime(other / "csrc" / "plan.c", (2e9, 2e9))
    assert build.stale == "csrc/plan.c"
    assert (
        list(warnings([build, build]))[1] == f"B: {other}: csrc/plan.c is newer than its compiled module: build first"
    )


# --- what is said, from made-up times

SPREAD = 0.01  # between the visits of a row, in the mean


def visited(rows: list[Row], random: np.random.Generator, speed: dict[str, float], visits: int = 6) -> list[Row]:
    """Rows with visits whose ratios scatter, each row's by another amount and with heavy tails."""
    for row in rows:
        own = SPREAD * random.lognormal(0, 0.4)
        for _ in range(visits):
            log = np.log(speed.get(row.case.operation, 1.0)) + own * random.standard_t(6)
            rounds = log + 0.01 * random.standard_normal(9)
            a = 1e-3 * random.lognormal(0, 0.3, 9)  # what the machine does meets both
            row.visits.append(Visit(((a).tolist(), (a / np.exp(rounds)).tolist()), [False] * 9))
    return rows


def rows() -> list[Row]:
    return [Row(case, "c") for case in cases.cases()]


def test_false_alarms() -> None:
    """At most one page in twenty has anything called, and one row in twenty."""
    random = np.random.default_rng(1)
    pages = [judge(visited(rows(), random, {}), 0.0) for _ in range(200)]
    called = [[v.word in ("faster", "slower") for _, v in page.rows] for page in pages]
    alarms = [any(word in page.words for word in ("faster", "slower")) for page in pages]
    assert np.mean(called) <= 0.05
    assert np.mean(alarms) <= 0.08  # 0.05, and two standard errors of 200 pages


def test_power() -> None:
    """A kernel that is 5 % slower is found, and so is another that is faster; the others are not called."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(100):
        page = judge(visited(rows(), random, {"gemv": 1 / 1.05, "gemm": 1.1}), 2.0)
        found.append(page.kernels["gemv", "c"].word == "slower" and page.kernels["gemm", "c"].word == "faster")
    assert np.mean(found) >= 0.9


def test_intervals_cover() -> None:
    random = np.random.default_rng(3)
    pages = [judge(visited(rows(), random, {"gelu": 1.05}), 2.0) for _ in range(100)]
    covered = [
        v.ratio.low <= (1.05 if row.case.operation == "gelu" else 1.0) <= v.ratio.high
        for page in pages
        for row, v in page.rows
    ]
    assert 0.9 <= np.mean(covered) <= 0.99


def test_rounds_without_a_cpu_are_left_out_where_they_are_few() -> None:
    visit = Visit(([1.0] * 5, [1.0, 9.0, 9.0, 1.0, 1.0]), [False, True, True, False, False])
    assert visit.good == [0, 3, 4]
    visit.marked[0] = True
    assert visit.good == [0, 1, 2, 3, 4]


# --- the command, around made-up times


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., tuple[int, str]]:
    """command(speed, visits, stop, *arguments): (status, stdout) where B has this speed, and Ctrl-C comes after."""
    module = import_module("bench.ab.__main__")

    def call(speed: float, visits: int, stop: bool, *arguments: str) -> tuple[int, str]:
        def measure(both: Any, rows: list[Row], *_: Any) -> None:
            visited(rows, np.random.default_rng(4), {"gelu": speed}, visits)
            if stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(module, "measure", measure)
        status = module.main([str(ROOT), str(ROOT), *arguments])
        return status, capsys.readouterr().out

    return call


def test_exit_status(command: Any) -> None:
    assert command(0.8, 6, False)[0] == 0
    assert command(0.8, 6, False, "--fail-slower")[0] == 1
    assert command(1.25, 6, False, "--fail-slower")[0] == 0


def test_answer_in_words(command: Any) -> None:
    _, out = command(1.25, 6, False)
    assert "B is faster in gelu c 1.2" in out.replace("\n", " ")
    assert "Both have the same compiled module." in out


def test_ctrl_c_keeps_what_was_measured(command: Any) -> None:
    status, out = command(1.25, 4, True, "--json")
    assert status == 130
    found = json.loads(out)
    assert not found["complete"]
    assert {k["operation"]: k["verdict"] for k in found["kernels"]}["gelu"] == "faster"
    with pytest.raises(KeyboardInterrupt):
        command(1.25, 0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-k", "gem"], "-k gem: no such operation; there are gemv, "),
        (["--backend", "blas"], "--backend blas: c, numba or c,numba"),
        (["--visits", "1"], "--visits 1: 2 to 100"),
        (["--threshold", "x"], "--threshold x: per cent, 0 to 50"),
    ],
)
def test_refusals(command: Any, arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        command(1.0, 2, False, *arguments)


def test_patterns_choose_operations() -> None:
    assert {c.operation for c in cases.cases("gemm_batch*,layer_norm")} == {"gemm_batch", "gemm_batch_t", "layer_norm"}
    assert {c.m for c in cases.cases("gemm")} == {8, 128, 512}


def test_markdown_is_a_page() -> None:
    build = builds.find(str(ROOT))
    page = judge(visited(rows(), np.random.default_rng(5), {"gemv": 0.5}), 2.0)
    text = as_markdown([build, build], page, [], 2.0)
    assert text.startswith("B is slower in gemv c 0.5")
    assert text.count("\n| g") + text.count("\n| s") == len(page.kernels) + len(page.rows)
