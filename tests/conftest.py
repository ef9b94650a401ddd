"""What several test files share: every kernel of the registry, and Python run as a user would, in another process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels import KERNELS, Kernel
from kernels.backends import c as native

TESTS = Path(__file__).parent
sys.path.append(str(TESTS))  # tests import the helpers beside them
REQUIRED = {isa for isa in os.environ.get("REQUIRE_ISA", "").split(",") if isa}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=KERNELS.values(), ids=str)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each row of the registry that runs here; the others are skipped, or fail where REQUIRE_ISA names their ISA."""
    row: Kernel = request.param
    assert set(native.ISAS) >= REQUIRED, f"REQUIRE_ISA={os.environ['REQUIRE_ISA']}, but this build has {native.ISAS}"
    if row.reason and row.isa in REQUIRED and not native.missing(row.operation, row.isa):
        pytest.fail(f"REQUIRE_ISA: {row.name}: {row.reason}")
    if row.reason:
        pytest.skip(f"{row.name}: {row.reason}")
    return row


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """python(*arguments, **environment): runs Python in an empty folder, with this project importable."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        outer = {name: value for name, value in os.environ.items() if name not in ("RIDGELINE_ISA", "REQUIRE_ISA")}
        paths = [str(TESTS.parent), *filter(None, [outer.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=outer | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
