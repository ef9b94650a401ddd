"""The line of progress: it tells what is measured."""

import random
from argparse import Namespace
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.escape.chip import measuring as chip
from bench.escape.layers import measuring as layers
from bench.escape.sparsity import measuring as sparsity
from bench.host.placement import isa_in_use
from bench.measure.groups import Group
from bench.measure.session import Session
from bench.measure.suite import kernels_for, stored_kernels
from bench.peers.measuring import attention_cases, stored_cases, weight_cases
from bench.progress import Forecast
from bench.workloads.sweep import SWEEPS, layer_cases, pointwise_cases, walk_cases

ESCAPE = Namespace(types=["bf16", "i4g32"], activations=["8", "f32"], layer="")


def escaped(section: Any) -> list[Group]:
    session = cast(Session, SimpleNamespace(isa=isa_in_use()))
    return list(section.groups(session, ESCAPE, {1: ["c"], 2: ["c"]}))


def suite(which: Callable[[Any], Sequence[Any]]) -> list[Group]:
    found = which(SWEEPS["full"])
    return [Group.of(case, "f32", 1, kernels_for(case, "f32", isa_in_use(), backends=["c"])) for case in found]


def peers() -> list[Group]:
    isa = isa_in_use()
    native = [
        Group.of(case, "f32", 1, kernels_for(case, "f32", isa, backends=["c"]))
        for case in weight_cases(False) + attention_cases()
    ]
    stored = [
        Group.of(case, "f32", 1, stored_kernels(case, [element], isa, backends=["c"]))
        for case in stored_cases(False)
        for element in ("i8", "i4g32")
    ]
    return [*native, *stored]


@pytest.mark.parametrize(
    "groups",
    [
        lambda: escaped(layers),
        lambda: escaped(chip),
        lambda: escaped(sparsity),
        lambda: suite(layer_cases),
        lambda: suite(walk_cases),
        lambda: suite(pointwise_cases),
        peers,
    ],
    ids=["layers", "chip", "sparsity", "sweep", "walk", "pointwise", "peers"],
)
def test_it_names_the_layer_and_tells_groups_apart(groups: Callable[[], list[Group]]) -> None:
    found = groups()
    for group in found:
        assert group.label.startswith(f"{group.cases[0].layers[0]} m=")
        assert f", {group.threads} thread" in group.label
    labels = [(group.cases[0].operation, group.label) for group in dict.fromkeys(found)]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("thought", [0.2, 1.0, 20.0])
def test_the_time_left_is_right_after_a_tenth(thought: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long parts were thought to take; what is slow at first is quick later; one compiles for a minute."""
    now = [0.0]
    monkeypatch.setattr("bench.progress.time.perf_counter", lambda: now[0])
    forecast, took = Forecast(0.0), dict[tuple[int, int], float]()
    for visit in range(3):
        for part in random.Random(visit).sample(range(24), 24):
            kind, seconds = ("sparse", 10.0) if part % 2 else ("native", 1.0)
            took[visit, part] = seconds * (1 if visit == 0 else 0.4) * (1 + 0.2 * (part % 3)) + 60 * (
                (visit, part) == (0, 3)
            )
            forecast.plan((visit, part), kind, visit == 0, thought * seconds * (1 if visit == 0 else 0.5))
    total = sum(took.values())
    for key, seconds in took.items():
        share = forecast.share()
        if now[0] > total / 10 and now[0] < 0.97 * total:
            left = now[0] * (1 - share) / share
            assert 1 / 1.5 < left / (total - now[0]) < 1.5, (key, left, total - now[0])
        now[0] += seconds
        forecast.done(key, seconds)
    assert forecast.share() == 1
