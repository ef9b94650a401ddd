"""The whole session as benchmarks: the roofs, the layers' products under them, and the walk across the ridge."""

from collections.abc import Callable

import pytest

from bench.conftest import REPLAY
from bench.record.row import Row

Replay = Callable[[Row | None], None]

pytestmark = pytest.mark.benchmark(timer=REPLAY)


def test_roof(replay: Replay, roof: Row | None) -> None:
    """The ceilings, FMA peak and memory's read bandwidth, as measured before the kernels."""
    replay(roof)


def test_layer(replay: Replay, measured: Row | None) -> None:
    """Every matrix product of BERT's and GPT-2's layers, at every length of the sweep, in C, Numba and BLAS."""
    replay(measured)


def test_pointwise(replay: Replay, measured: Row | None) -> None:
    """Pointwise operations, such as softmax and GELU, with its operands in a cache, in C and Numba."""
    replay(measured)


def test_walk(replay: Replay, measured: Row | None) -> None:
    """The weight matrices with m walked across the ridge: where do achieved FLOP/s leave the slanted roof?"""
    replay(measured)
