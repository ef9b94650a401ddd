"""Where this checkout is, and what runs its Python in another process."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.needed import absent, needed

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent

ALONE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

sys.meta_path[:] = BuiltinImporter, FrozenImporter, PathFinder
"""
"""sitecustomize.py of an environment without an editable install, whatever this one has."""
OURS = ("RIDGELINE_ISA", "REQUIRE_ISA", "PYTEST_XDIST_")  # what names of variables begin with

Run = Callable[..., subprocess.CompletedProcess[str]]

unfinished = shutil.ignore_patterns("*.pyc.*")
"""Of shutil.copytree(): bytecode that is being written. What is finished is copied, too, and needn't be made again."""


def run_python(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with this project and tests/support importable; no forced ISA but one given here.

    A pytest in there does without Hypothesis, which is imported, for a second, to say that nothing is to be said.
    """
    outer = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    paths = [str(ROOT), str(TESTS), *filter(None, [outer.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=outer | {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": "-p no:hypothesispytest"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def mpirun(count: int, *arguments: object, **environment: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of Python on so many ranks, none bound, with this project and tests/support importable.

    Skips the test by name without mpi4py or mpirun. MPICH's wheel has its own mpirun beside Python.
    """
    needed("mpi4py")
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    launcher = shutil.which("mpirun", path=beside) or absent("mpirun", "mpirun is not in PATH")
    mca = {"rmaps_base_oversubscribe": "1", "mpi_yield_when_idle": "1", "hwloc_base_binding_policy": "none"}
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    shared = {f"OMPI_MCA_{name}": value for name, value in mca.items()}  # with other tests, and CPUs
    shared |= {"MPIR_CVAR_POLLS_BEFORE_YIELD": "1"}  # MPICH's
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    every = [str(launcher), "-n", str(count), sys.executable, *map(str, arguments)]
    return every, {**os.environ, **as_root, **shared, **paths, **environment}


def limit_address_space(room: int) -> None:
    """Lets this process map so many bytes more, and no others."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize")) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + room,) * 2)
