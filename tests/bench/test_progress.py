"""The line of progress: it tells what is measured."""

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
