"""Shards of a layer: what ranks sum is the whole layer's, however many they are; checked without MPI."""

import numpy as np
import pytest

from bench.errors import BadInput
from bench.parallel import shards
from bench.parallel.shards import all_shards, cached, error_bound, exact, share, whole
from bench.workloads.model import Model

GPT2 = Model("tiny GPT-2", 3, 48, 6, 192, 101, 96, decoder=True, fused_qkv=True, conv1d=True)
BERT = Model("tiny BERT", 3, 48, 6, 96, 101, 40, segments=2)
LENGTH = 9


def ran(model: Model, phase: str, ranks: int, part: int, faulty: bool = False) -> list[np.ndarray]:
    """What each of the ranks has after part `part`, the sums made here."""
    made = [all_shards(model, [phase], LENGTH, [ranks], rank, layers=2) for rank in range(ranks)]
    each = [one[phase, ranks] for one in made]
    for step in range(3):
        for one in each:
            one.chains[part][step].run()
        if step < 2:
            total = sum(one.summed for one in each[faulty:])
            for one in each:
                one.summed[...] = total
    return [one.state.copy() for one in each]


def expected(model: Model, phase: str, part: int, ranks: int) -> tuple[np.ndarray, float]:
    number = part // ranks
    past = cached(model, number, LENGTH) if phase == "decode" else None
    found = exact(model, whole(model, number).layers[0], shards.activations(model, phase, LENGTH), past)
    return found, error_bound(model, LENGTH, found)


@pytest.mark.parametrize(("model", "phase"), [(GPT2, "decode"), (GPT2, "prefill"), (BERT, "encode")])
@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_ranks_together_make_the_whole_layer(model: Model, phase: str, ranks: int) -> None:
    for part in (0, 2 * ranks - 1):  # of the first layer and of the second
        wanted, bound = expected(model, phase, part, ranks)
        for state in ran(model, phase, ranks, part):
            assert np.abs(state - wanted).max() <= bound


@pytest.mark.parametrize(("model", "phase"), [(GPT2, "decode"), (GPT2, "prefill"), (BERT, "encode")])
def test_a_rank_that_is_left_out_of_the_sum_is_seen(model: Model, phase: str) -> None:
    wanted, bound = expected(model, phase, 0, 3)
    assert np.abs(ran(model, phase, 3, 0, faulty=True)[0] - wanted).max() > 100 * bound


@pytest.mark.parametrize(
    ("ranks", "line"),
    [
        (4, "4 ranks: tiny GPT-2 has 6 heads, no multiple of that"),
        (5, "5 ranks: tiny GPT-2 has 6 heads, no multiple of that"),
    ],
)
def test_heads_that_cant_be_dealt_out_are_refused(ranks: int, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        share(GPT2, ranks)


def test_an_ffn_that_cant_be_dealt_out_is_refused() -> None:
    odd = Model("odd", 1, 48, 6, 95, 10, 10)
    with pytest.raises(BadInput, match="2 ranks: odd has 95 ffn, no multiple"):
        share(odd, 2)


def test_a_share_keeps_its_heads_as_wide_as_they_were() -> None:
    part = share(GPT2, 3)
    assert (part.heads, part.head_dim, part.heads_width, part.ffn, part.width) == (2, 8, 16, 64, 48)
