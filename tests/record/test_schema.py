"""The published schema: it knows everything that can be measured, describes every field, bounds every value."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from bench.host.facts import describe
from bench.measure.session import machine_facts
from bench.record import format as formats
from bench.record.placement import Found
from bench.record.probes import LOOPS, PROBES
from bench.record.row import Kind, Level, Row, make_row
from bench.record.runs.run import Accuracy, PartFigures, Run, RunFigures
from bench.record.schema import invalid, schema
from kernels import KERNELS
from kernels.backends import libraries
from kernels.operations import LINEAR, OPERATIONS
from kernels.types import TYPES
from support import battery, records

BOUNDS = {
    "string": {"maxLength", "pattern"},
    "number": {"maximum"},
    "integer": {"maximum"},
    "array": {"maxItems"},
}


def test_every_kernel_and_library_can_be_recorded() -> None:
    """Else a new operation, type or library would fail in the user's session, when its record is written."""
    for kernel in (*KERNELS.values(), *libraries.rows()):
        operation = OPERATIONS[kernel.operation]
        dims = dict.fromkeys(operation.dimensions, 8)
        kind: Kind = "kernel" if operation.flops(dims) else "probe"
        row = make_row(kind, kernel.operation, kernel.types, kernel.backend, kernel.isa, 1, dims=dims)
        row |= {"seconds": [1.0], "rounds": [0], "visits": [0], "starts": [0.0]}
        assert records.of([row]).record["rows"] == [row], kernel.name


def test_every_operation_and_type_is_known() -> None:
    """They are filled in from their tables, whatever the published file lists."""
    known = schema()["$defs"]
    assert known["operation"]["enum"] == [*OPERATIONS, *LOOPS]
    assert known["type"]["enum"] == list(TYPES)
    assert not set(OPERATIONS) & set(LOOPS)
    assert set(PROBES) <= {*OPERATIONS, *LOOPS}


def test_version_1_is_frozen() -> None:
    """What it listed stays readable: every operation and dtype of it is still known."""
    row = schema(1)["properties"]["rows"]["items"]["properties"]
    assert set(row["operation"]["enum"]) <= {*OPERATIONS, *LOOPS}
    assert set(row["dtype"]["enum"]) <= set(TYPES)


def test_words_are_those_of_the_types() -> None:
    row = schema()["$defs"]["row"]["properties"]
    assert row["kind"]["enum"] == list(get_args(Kind))
    assert row["level"]["enum"] == list(get_args(Level))
    assert schema()["$defs"]["grade"]["enum"] == list(get_args(formats.Grade))
    figures = schema()["$defs"]["row_figures"]["properties"]
    assert figures["verdict"]["enum"] == list(get_args(formats.Verdict))
    assert schema()["$defs"]["run"]["properties"]["linear"]["enum"] == list(LINEAR)
    pairs = schema()["$defs"]["session"]["properties"]["placements"]["items"]["properties"]
    assert pairs["found"]["enum"] == list(get_args(Found))


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (formats.Record, None),
        (formats.Machine, "machine"),
        (formats.Circumstances, "session"),
        (Row, "row"),
        (formats.RowFigures, "row_figures"),
        (formats.Figures, "figures"),
        (Run, "run"),
        (RunFigures, "run_figures"),
        (PartFigures, "part_figures"),
        (Accuracy, "accuracy"),
    ],
)
def test_fields_are_those_of_the_types(typed: Any, name: str | None) -> None:
    described = schema()["$defs"][name] if name else schema()
    assert set(described["properties"]) == set(get_type_hints(typed))
    always = {"seconds", "best_seconds"} if typed is formats.RowFigures else typed.__required_keys__
    assert set(described["required"]) == always
    assert described["additionalProperties"] is False


def test_this_machine_can_be_recorded() -> None:
    document = records.make([]).record
    for facts in (machine_facts(), describe() | {"build": {}}):
        assert invalid({**document, "machine": facts}) is None


def fields(node: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within the schema, with where it stands."""
    if isinstance(node, dict):
        if "type" in node and not isinstance(node["type"], dict):
            yield path, node
        for key, value in node.items():
            if key not in ("enum", "const", "required"):
                yield from fields(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from fields(value, f"{path}[{i}]")


def test_every_value_is_bounded() -> None:
    seen = 0
    for path, field in fields(schema()):
        kinds = [field["type"]] if isinstance(field["type"], str) else field["type"]
        for kind in kinds:
            wanted = BOUNDS.get(kind, set())
            assert not wanted or wanted & field.keys(), f"{path}: a {kind} without {wanted}"
        if "object" in kinds:
            assert field.get("additionalProperties") is False or "maxProperties" in field, path
        seen += 1
    assert seen > 100


def test_good_records_are_not_shown_to_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes ten times as long; it is asked what is wrong, once something is."""
    document: Any = battery.whole()
    monkeypatch.setattr("jsonschema.exceptions.best_match", lambda errors: pytest.fail("jsonschema was asked"))
    assert invalid(document) is None
    monkeypatch.undo()
    for change in ({"version": True}, {"complete": 1}, {"rows": [{}]}, {"ended": "2026-02-30T10:00:00+00:00"}):
        assert invalid(document | change)
