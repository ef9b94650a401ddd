"""What several test files share: every kernel of the registry, and Python run as a user would, in another process."""

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

import bench  # noqa: F401 (refuses the kernels of another checkout)
from kernels import KERNELS, Kernel, _native
from kernels.backends import c as native
from support.process import ROOT, Run, run_python

for name in ("COLUMNS", "LINES"):  # readline, which test processes import, sets them to 80 and 24
    os.environ.pop(name, None)

REQUIRED = {isa for isa in os.environ.get("REQUIRE_ISA", "").split(",") if isa}


@pytest.fixture(params=KERNELS.values(), ids=str)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each row of the registry that runs here; the others are skipped, or fail where REQUIRE_ISA names their ISA."""
    row: Kernel = request.param
    assert set(native.BUILT) >= REQUIRED, f"REQUIRE_ISA={os.environ['REQUIRE_ISA']}, but this build has {native.BUILT}"
    if row.reason and row.isa in REQUIRED and not native.missing(row.operation, row.isa):
        pytest.fail(f"REQUIRE_ISA: {row.name}: {row.reason}")
    if row.reason:
        pytest.skip(f"{row.name}: {row.reason}")
    return row


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """python(*arguments, **environment): runs Python in an empty folder, with this project importable."""
    return partial(run_python, tmp_path)


@pytest.fixture(scope="session")
def machine_code() -> str:
    """The compiled module's, of all ISAs, as objdump prints it; skipped without it, and on other than x86-64."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    command = ["objdump", "-d", "--no-show-raw-insn", _native.__file__]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "file format elf64-x86-64" not in code:
        pytest.skip("another architecture")
    return code


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Numba's kernels are for one of several test processes: two that compile at once wait for each other.

    Groups of --dist loadgroup are also what would import, or measure, the same again in each process.
    """
    for item in items:
        if "numba" in item.name:
            item.add_marker(pytest.mark.xdist_group("numba"))
        elif "machine_code" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("machine code"))


def pytest_configure(config: pytest.Config) -> None:
    """--benchmark-only without a folder means bench/, but pytest would look here, skip everything and be done."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if config.getoption("benchmark_only", False) and ROOT / "bench" not in [*named, *(p.parent for p in named)]:
        raise pytest.UsageError("--benchmark-only: no benchmarks in tests/; it is `pytest bench/ --benchmark-only`")
