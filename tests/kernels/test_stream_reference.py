"""The bandwidth probes against an independent C program: same bytes per call, rates of the same order."""

import shutil
from pathlib import Path

import pytest

from kernels.operations import OPERATIONS
from support import stream_reference

SIZE = 4 << 20
ROUNDS = (1, 2, 4, 8)  # more of them where neighbours disturb the first


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the reference with")
    return stream_reference.build(tmp_path_factory.mktemp("stream"))


def test_bandwidth_counts_as_stream_does(program: Path) -> None:
    """One of our variants of each kernel runs at half to twice the reference's rate, in one of a few attempts."""
    ratios: dict[str, float] = {}
    for rounds in ROUNDS:
        for name, result in stream_reference.compare(program, SIZE, threads=1, rounds=rounds).items():
            for operation in result.probes:
                assert OPERATIONS[operation].bytes({"n": SIZE // 8}, "f64") == result.bytes
            found = (rate / result.reference for rate in result.probes.values())
            ratios[name] = min(found, key=lambda ratio: max(ratio, 1 / ratio))
        if all(0.5 < ratio < 2 for ratio in ratios.values()):
            return
    pytest.fail(f"{ratios} in the best of {ROUNDS[-1]} rounds")
