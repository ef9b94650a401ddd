"""One checkout at a time: bench, kernels and the tests are of one tree, or both are named."""

import shutil
from pathlib import Path

import pytest

from support.process import ROOT, Run

EDITABLE = f"""
import sys
from importlib.util import spec_from_file_location

class Redirect:
    def find_spec(self, name, path=None, target=None):
        folder = "{ROOT}/" + name
        if name in ("kernels", "bench"):
            return spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])

sys.meta_path.insert(0, Redirect())
"""
"""sitecustomize.py of an environment where ROOT is installed editable: its packages go before sys.path's."""

ALONE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

sys.meta_path[:] = BuiltinImporter, FrozenImporter, PathFinder
"""
"""sitecustomize.py of an environment without an editable install, whatever this one has."""


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another checkout, in tmp_path, and a folder of PYTHONPATH that makes ROOT the one installed."""
    for name in ("kernels", "bench", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
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


def test_an_editable_install_runs_in_any_folder(second: Path, python: Run) -> None:
    ran = python("-m", "bench.layers", "--help", PYTHONPATH=str(second), PYTHONSAFEPATH="1")
    assert ran.returncode == 0, ran.stderr


def test_not_built(second: Path, python: Run) -> None:
    """A command that measures says in one line what to do."""
    (second / "sitecustomize.py").write_text(ALONE)
    for built in (second.parent / "kernels").glob("_native*.so"):
        built.unlink()
    ran = python("-m", "bench.stream", PYTHONPATH=str(second))
    assert ran.returncode != 0
    assert [line.partition(" the compiled part")[0] for line in ran.stderr.splitlines()] == ["kernels/_native,"]
