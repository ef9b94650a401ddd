"""The published schemas of the record format, and checking a document against them.

record.schema.json is the current version's. Operations and element types aren't listed in it: they are filled in from
the tables that define them, so that no new one can be missing.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from bench.record.format import VERSION
from bench.record.probes import LOOPS
from kernels.operations import OPERATIONS
from kernels.types import TYPES

DERIVED = ("figures", "digest")
"""The fields that follow from the others."""

_PLAIN = {"type", "minimum", "maximum", "exclusiveMinimum"}


@cache
def schema(version: int = VERSION) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a version."""
    name = "record.schema.json" if version == VERSION else f"version_{version}/record-{version}.schema.json"
    found: dict[str, Any] = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    if version == VERSION:
        found["$defs"]["operation"]["enum"] = [*OPERATIONS, *LOOPS]
        found["$defs"]["type"]["enum"] = list(TYPES)
    return found


def invalid(record: Mapping[str, Any], version: int = VERSION, derived: bool = True) -> str | None:
    """The field that breaks the schema and how, in one line; None where it holds. derived: look at DERIVED, too."""
    worst = jsonschema.exceptions.best_match(_validator(version, derived).iter_errors(record))
    return f"{worst.json_path}: {' '.join(worst.message.split())[:200]}" if worst else None


@cache
def _validator(version: int, derived: bool) -> Any:
    found = schema(version)
    if not derived:
        found = found | {
            "required": [name for name in found["required"] if name not in DERIVED],
            "properties": found["properties"] | dict.fromkeys(DERIVED, True),
        }
    draft = jsonschema.Draft202012Validator
    kinds = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # a float is no index
    quick = jsonschema.validators.extend(draft, {"items": _items, "pattern": _pattern}, type_checker=kinds)
    return quick(_inlined(found, found.get("$defs", {})), format_checker=_FORMATS)


def _inlined(node: Any, known: Mapping[str, Any]) -> Any:
    """A schema with every reference replaced by what it means: looking one up takes jsonschema 0.1 ms each time."""
    if isinstance(node, list):
        return [_inlined(one, known) for one in node]
    if not isinstance(node, dict):
        return node
    meant = known[node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else {}
    return {key: _inlined(value, known) for key, value in {**meant, **node}.items() if key not in ("$ref", "$defs")}


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
    """jsonschema's "pattern", but a line break at the end, which Python's $ passes over, counts."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!a:.100} does not match {pattern!r:.40}")


def _items(validator: Any, items: Any, instance: Any, schema_: Any) -> Iterator[Any]:
    """jsonschema's "items", but an array of numbers is looked at as a whole: it has most of a record's values."""
    if isinstance(instance, list) and items.keys() <= _PLAIN and items.get("type") in ("number", "integer"):
        kinds = {int} if items["type"] == "integer" else {int, float}
        if not instance or (
            {type(x) for x in instance} <= kinds
            and items.get("minimum", min(instance)) <= min(instance)
            and max(instance) <= items.get("maximum", max(instance))
            and items.get("exclusiveMinimum", min(instance) - 1) < min(instance)
        ):
            return iter(())
    slow: Iterator[Any] = jsonschema.Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema_)
    return slow


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checks("date-time", raises=ValueError)(_is_moment)
