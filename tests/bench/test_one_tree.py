"""One checkout at a time: bench, kernels and the tests are of one tree, or both are named."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.host import facts
from support.process import ALONE, ROOT, Run, run_python, unfinished

EDITABLE = f"""
import sys
from importlib.util import spec_from_file_location

class Redirect:
    def find_spec(self, name, path=None, target=None):
        folder = "{ROOT}/" + name
        if name in ("kernels", "bench", "ridgeline"):
            return spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])

sys.meta_path.insert(0, Redirect())
"""
"""sitecustomize.py of an environment where ROOT is installed editable: its packages go before sys.path's."""


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another checkout, in tmp_path, and a folder of PYTHONPATH that makes ROOT the one installed."""
    for name in ("kernels", "bench", "ridgeline", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unfinished)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = tmp_path / "environment"
    environment.mkdir()
    (environment / "sitecustomize.py").write_text(EDITABLE)
    return environment


@pytest.mark.parametrize(
    "command",
    [
        ["bench.layers", "--help"],
        ["pytest", "bench/", "--collect-only"],
        ["pytest", "tests", "--collect-only"],
    ],
    ids=" ".join,
)
def test_a_second_checkout_is_refused(second: Path, python: Run, command: list[str]) -> None:
    ran = python("-m", *command, PYTHONPATH=str(second))
    assert ran.returncode != 0
    lines = [line for line in ran.stderr.splitlines() if line]
    assert len(lines) == 1, ran.stderr
    assert {word.strip(",:") for word in lines[0].split()} >= {str(ROOT), str(second.parent)}


@pytest.mark.parametrize("command", [["bench.layers", "--help"], ["pytest", "bench/", "--sweep", "quick", "--co"]])
def test_the_only_checkout_is_not(second: Path, python: Run, command: list[str]) -> None:
    (second / "sitecustomize.py").write_text(ALONE)
    ran = python("-m", *command, PYTHONPATH=str(second))
    assert ran.returncode == 0, ran.stderr


def test_an_editable_install_runs_in_any_folder_but_another_checkout(second: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    inside = tmp_path / "tests"
    elsewhere.mkdir()
    for command in (["bench.layers", "--help"], ["ridgeline", "layers", "--help"]):
        environment = {"PYTHONPATH": str(second), "PYTHONSAFEPATH": "1"}
        assert run_python(elsewhere, "-m", *command, **environment).returncode == 0
        ran = run_python(inside, "-m", *command, **environment)
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
        assert str(ROOT) in ran.stderr and str(second.parent) in ran.stderr


def test_not_built(second: Path, python: Run) -> None:
    """A command that measures says in one line what to do."""
    (second / "sitecustomize.py").write_text(ALONE)
    for built in (second.parent / "kernels").glob("_native*.so"):
        built.unlink()
    ran = python("-m", "bench.stream", PYTHONPATH=str(second))
    assert ran.returncode != 0
    assert [line.partition(" the compiled part")[0] for line in ran.stderr.splitlines()] == ["kernels/_native,"]


@pytest.fixture
def repository(tmp_path: Path) -> Callable[[str, str], str]:
    """repository(name, file): makes a folder of that name in tmp_path, commits an empty file. Returns the commit."""

    def made(name: str, file: str) -> str:
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        git = ["git", "-C", str(tmp_path / name), "-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "--quiet"], ["add", file], ["commit", "--quiet", "-m", name]):
            subprocess.run([*git, *command], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:12]

    return made


def test_the_commit_is_that_of_the_code_that_runs(
    repository: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the repository whose hook runs, nor of one that a wheel was unpacked in."""
    own, other = repository("own", "bench/host/facts.py"), repository("other", "their.c")
    assert own != other
    monkeypatch.setattr(facts, "git", partial(facts.git, folder=tmp_path / "own"))
    monkeypatch.setattr(facts, "OWN", tmp_path / "own")
    for name, value in (
        ("GIT_DIR", tmp_path / "other" / ".git"),
        ("GIT_WORK_TREE", tmp_path / "other"),
        ("GIT_INDEX_FILE", tmp_path / "other" / ".git" / "index"),
        ("GIT_CEILING_DIRECTORIES", tmp_path),
    ):
        monkeypatch.setenv(name, str(value))
        assert facts.describe()["commit"] == own, name
    monkeypatch.setattr(facts, "git", partial(facts.git, folder=tmp_path / "other"))
    monkeypatch.setattr(facts, "OWN", tmp_path / "other")
    found = facts.describe()
    assert found["commit"] is None
    assert f"unknown: commit, {tmp_path / 'other'} is a checkout of something else" in found["notes"]


def test_a_module_of_other_sources_is_refused(second: Path, python: Run) -> None:
    """As after a git pull without a build; what isn't compiled reads records all the same."""
    (second / "sitecustomize.py").write_text(ALONE)
    shutil.copytree(ROOT / "csrc", second.parent / "csrc")
    read = "-m", "bench.layers", "--help"
    measure = "-c", "import kernels; kernels.find('gemv', 'f32', 'c')"
    assert python(*measure, PYTHONPATH=str(second)).returncode == 0
    with (second.parent / "csrc" / "per_isa" / "gemv.h").open("a") as file:
        file.write("/* changed */\n")
    ran = python(*measure, PYTHONPATH=str(second))
    last = ran.stderr.splitlines()[-1]
    assert str(second.parent / "csrc") in last and str(second.parent / "kernels" / "_native") in last
    assert python(*read, PYTHONPATH=str(second)).returncode == 0
