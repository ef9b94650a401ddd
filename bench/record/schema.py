"""The published schemas of the record format, and checking a document against them.

record.schema.json is the current version's. Operations and element types aren't listed in it: they are filled in from
the tables that define them, so that no new one can be missing.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
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
    quick = jsonschema.validators.extend(draft, {**_QUICK, "pattern": _pattern}, type_checker=kinds)
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


# --- what is plainly good isn't shown to jsonschema, which takes some 20 us for each value and has to say what is wrong

_TYPES = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)}
_SCALAR = {"type", "minimum", "maximum", "exclusiveMinimum", "maxLength", "pattern", "enum", "const", "description"}


def _good(schema_: Any, value: Any) -> bool:
    """Whether a text, a number or the like is plainly good; False: jsonschema has to look."""
    if not isinstance(schema_, dict) or not schema_.keys() <= _SCALAR:
        return False
    if "const" in schema_ or "enum" in schema_:
        return type(value) is str and value in schema_.get("enum", [schema_.get("const")])
    named = schema_.get("type", ())
    kind = type(value)
    if not any(kind in _TYPES.get(name, ()) for name in ([named] if isinstance(named, str) else named)):
        return False
    if kind is str:
        pattern = schema_.get("pattern")
        return len(value) <= schema_.get("maxLength", math.inf) and not (pattern and not re.fullmatch(pattern, value))
    return kind not in (int, float) or bool(
        schema_.get("minimum", -math.inf) <= value <= schema_.get("maximum", math.inf)
        and schema_.get("exclusiveMinimum", -math.inf) < value
    )


def _items(schema_: Any, values: Any) -> bool:
    """The same of a list; of numbers as a whole, for they are most of a record's values."""
    if not isinstance(values, list):
        return False
    if not values:
        return True
    if {type(x) for x in values} <= {int, float} and all(
        _good(schema_, x) for x in (values[0], min(values), max(values))
    ):
        return schema_["type"] == "number" or {type(x) for x in values} == {int}
    return all(_good(schema_, x) for x in values)


def _unless(keyword: str, good: Callable[[Any, Any], bool]) -> Callable[..., Iterator[Any]]:
    """jsonschema's keyword, for what isn't plainly good."""
    slow = jsonschema.Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, of: Any, instance: Any, schema_: Any) -> Iterator[Any]:
        found: Iterator[Any] = iter(()) if good(of, instance) else slow(validator, of, instance, schema_)
        return found

    return check


def _additional(validator: Any, of: Any, instance: Any, schema_: Any) -> Iterator[Any]:
    """Where no property has a name, all of them are additional."""
    plainly = (
        "properties" not in schema_ and isinstance(instance, dict) and all(_good(of, x) for x in instance.values())
    )
    slow = jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"]
    found: Iterator[Any] = iter(()) if plainly else slow(validator, of, instance, schema_)
    return found


def _properties(validator: Any, properties: Any, instance: Any, _: Any) -> Iterator[Any]:
    for name, of in properties.items() if isinstance(instance, dict) else ():
        if name in instance and not _good(of, instance[name]):
            yield from validator.descend(instance[name], of, path=name, schema_path=name)


_QUICK = {
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _unless("items", _items),
    "propertyNames": _unless("propertyNames", lambda of, x: isinstance(x, dict) and all(_good(of, key) for key in x)),
}


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checks("date-time", raises=ValueError)(_is_moment)
