"""The whole session as benchmarks: the roofs, the layers' products under them, and the walk across the ridge."""

import pytest

from bench.conftest import REPLAY

pytestmark = pytest.mark.benchmark(timer=REPLAY)


def test_roof(replay, roof):
    """The ceilings, FMA peak and memory's read bandwidth, as measured before the kernels."""
    replay(roof)


def test_layer(replay, measured):
    """Every matrix product of BERT's and GPT-2's layers, at every length of the sweep, in C, Numba and BLAS."""
    replay(measured)


def test_pointwise(replay, measured):
    """Pointwise operations, such as softmax and GELU, with its operands in a cache, in C and Numba."""
    replay(measured)


def test_walk(replay, measured):
    """The weight matrices with m walked across the ridge: where do achieved FLOP/s leave the slanted roof?"""
    replay(measured)
