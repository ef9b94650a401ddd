"""kernels and bench are names that others have, too; the command ridgeline, and its session in any folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.process import ALONE, ROOT, TESTS, Run

BENCH = ROOT / "bench"
THEIRS = "raise RuntimeError('imported')"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An environment's folder, Ridgeline in it, without what no test here needs."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ALONE)
    shutil.copytree(ROOT / "ridgeline", folder / "ridgeline")
    for name in ("bench", "kernels"):
        (folder / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", folder / name)
    return folder


def _over(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def overwritten(site: Path) -> tuple[Path, Path]:
        (site / name / "__init__.py").write_text(THEIRS)
        return site / name / "__init__.py", site / "ridgeline"

    return overwritten


def _before(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def found_first(site: Path) -> tuple[Path, Path]:
        other = site.parent / "first" / name / "__init__.py"
        other.parent.mkdir(parents=True)
        other.write_text(THEIRS)
        return other, site / name / "__init__.py"

    return found_first


def _gone(site: Path) -> tuple[Path, Path]:
    (site / "kernels" / "__init__.py").unlink()
    return site / "kernels" / "__init__.py", site / "ridgeline"


CASES = {
    "kernels over ours": _over("kernels"),
    "bench over ours": _over("bench"),
    "kernels before ours": _before("kernels"),
    "bench before ours": _before("bench"),
    "uninstalled with theirs": _gone,
}


@pytest.mark.parametrize("case", CASES)
def test_what_has_our_names_is_told_from_ours(case: str, site: Path, python: Run) -> None:
    """In one line that has both paths, and without running the other one's code."""
    paths = CASES[case](site)
    search = f"{site.parent / 'first'}:{site}"
    for command in (["-m", "ridgeline", "layers"], ["-c", "import bench"]):
        if command[0] == "-c" and "bench" in case:
            continue  # it is theirs that is imported
        ran = python(*command, PYTHONPATH=search)
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1), ran.stderr
        assert all(str(path) in ran.stderr for path in paths), ran.stderr


def test_a_name_of_theirs_is_told_apart_from_a_typing_error(tmp_path: Path, python: Run) -> None:
    """As when transformers, in a checkout, takes this package for Hugging Face's."""
    environment = tmp_path / "environment"
    installed = environment / "kernels-0.18.2.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n")
    search = f"{ROOT}:{environment}"
    ran = python("-c", "from kernels import LayerRepository", PYTHONPATH=search)
    line = ran.stderr.splitlines()[-1]
    assert str(ROOT / "kernels" / "__init__.py") in line and str(environment / "kernels" / "__init__.py") in line
    own = "from kernels import operations, find, types; import kernels; print(hasattr(kernels, '__version__'))"
    assert python("-c", own, PYTHONPATH=search).stdout == "False\n"
    assert "AttributeError" in python("-c", "import kernels; kernels.fnd", PYTHONPATH=str(ROOT)).stderr


def test_the_command_runs_commands(python: Run) -> None:
    assert "ridgeline check " in python("-m", "ridgeline").stdout
    assert python("-m", "ridgeline", "layers", "--help").stdout.startswith("usage: ridgeline layers ")
    assert python("-m", "ridgeline", "--version").stdout.startswith("ridgeline")
    unknown = python("-m", "ridgeline", "laiers")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)
    missing = python("-m", "ridgeline", "check", "missing.json")
    assert (missing.returncode, "missing.json: No such file" in missing.stdout) == (1, True)


def test_the_session_runs_in_any_folder(tmp_path: Path, python: Run) -> None:
    """Whatever that folder's own settings of pytest are."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    arguments = ["--sweep", "quick", "--threads", "1", "--co", "-q", "-k", "test_roof"]
    ran = python("-m", "ridgeline", "bench", *arguments)
    assert (ran.returncode, "test_roof[read-1]" in ran.stdout) == (0, True), ran.stdout + ran.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"pytest.ini", ".benchmarks"}  # pytest-benchmark's


@pytest.mark.parametrize(
    "named", [["--pyargs", "bench"], ["--pyargs", "bench.test_session::test_roof"], [ROOT / "bench"]]
)
def test_options_are_known_with_the_plugin_installed(named: list[object], tmp_path: Path, python: Run) -> None:
    """And are registered once where pytest finds conftest.py by itself."""
    installed = tmp_path / "ridgeline-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: ridgeline\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nridgeline = ridgeline.plugin\n")
    options = ["--sweep", "quick", "--threads", "1", "--co", "-q", "-k", "test_roof"]
    ran = python("-m", "pytest", *named, *options, PYTHONPATH=f"{ROOT}:{TESTS}:{tmp_path}")
    assert (ran.returncode, "test_roof[read-1]" in ran.stdout) == (0, True), ran.stdout + ran.stderr
