"""The bandwidth probes against an independent C program: same bytes per call, rates of the same order."""

import shutil
from pathlib import Path
from statistics import median

import pytest

from kernels.operations import OPERATIONS
from support import stream_reference

pytestmark = pytest.mark.xdist_group("stream_reference")

SIZE = 4 << 20
ATTEMPTS = 4  # more of them where neighbours disturb the first


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the reference with")
    return stream_reference.build(tmp_path_factory.mktemp("stream"))


def test_bytes_are_counted_as_stream_does(programs: tuple[Path, Path]) -> None:
    """The program's own figures, once its sums have come out right."""
    moved, seconds = stream_reference.run_program(programs[0], SIZE // 8, threads=1, rounds=2)
    assert {len(each) for each in seconds.values()} == {2}
    for name, operation in stream_reference.KERNELS.items():
        assert OPERATIONS[operation].bytes({"n": SIZE // 8}, "f64") == moved[name]


def test_loops_are_as_fast_as_streams(programs: tuple[Path, Path]) -> None:
    """On the same arrays, in the same rounds, each runs at half to twice the rate of the plain loop."""
    for _ in range(ATTEMPTS):
        ratios = stream_reference.run_together(programs[1], SIZE // 8, threads=1, rounds=8)
        found = {name: median(each) for name, each in ratios.items()}
        if all(0.5 < ratio < 2 for ratio in found.values()):
            return
    pytest.fail(f"{found} in the last of {ATTEMPTS} attempts")
