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

from bench.record.format import VERSION
from bench.record.probes import LOOPS
from kernels.operations import OPERATIONS
from kernels.types import TYPES

DERIVED = ("figures", "digest")
"""The fields that follow from the others."""


@cache
def schema(version: int = VERSION) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a version."""
    name = "record.schema.json" if version == VERSION else f"../version_{version}/record-{version}.schema.json"
    found: dict[str, Any] = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    if version == VERSION:
        found["$defs"]["operation"]["enum"] = [*OPERATIONS, *LOOPS]
        found["$defs"]["type"]["enum"] = list(TYPES)
    return found


def holds(record: Mapping[str, Any]) -> bool:
    """Whether the current version's schema holds."""
    return _good(VERSION, True)(record)


def invalid(record: Mapping[str, Any], version: int = VERSION, derived: bool = True) -> str | None:
    """The field that breaks the schema and how, in one line; None where it holds. derived: look at DERIVED, too."""
    if _good(version, derived)(record):
        return None
    import jsonschema  # takes 0.1 s, and only says what is wrong

    worst = jsonschema.exceptions.best_match(_validator(version, derived).iter_errors(record))
    return f"{worst.json_path}: {' '.join(worst.message.split())[:200]}" if worst else None


@cache
def _schema(version: int, derived: bool) -> Any:
    """Without references."""
    found = schema(version)
    if not derived:
        found = found | {
            "required": [name for name in found["required"] if name not in DERIVED],
            "properties": found["properties"] | dict.fromkeys(DERIVED, True),
        }
    return _inlined(found, found.get("$defs", {}))


@cache
def _validator(version: int, derived: bool) -> Any:
    import jsonschema

    def matches(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
        """As jsonschema's "pattern", but a line break at the end, which Python's $ passes over, counts."""
        if isinstance(instance, str) and not re.fullmatch(pattern, instance):
            yield jsonschema.ValidationError(f"{instance!a:.100} does not match {pattern!r:.40}")

    draft = jsonschema.Draft202012Validator
    kinds = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # a float is no index
    strict = jsonschema.validators.extend(draft, {"pattern": matches}, type_checker=kinds)
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date-time")(_is_moment)
    return strict(_schema(version, derived), format_checker=formats)


def _inlined(node: Any, known: Mapping[str, Any]) -> Any:
    """A schema with every reference replaced by what it means: looking one up takes jsonschema 0.1 ms each time."""
    if isinstance(node, list):
        return [_inlined(one, known) for one in node]
    if not isinstance(node, dict):
        return node
    meant = known[node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else {}
    return {key: _inlined(value, known) for key, value in {**meant, **node}.items() if key not in ("$ref", "$defs")}


def _is_moment(value: object) -> bool:
    """Whether it is a date and a time with its offset from UTC; what is no text has another error."""
    if not isinstance(value, str):
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


# --- what is good isn't shown to jsonschema, which takes some 30 us a value: it says what is wrong

Test = Callable[[Any], bool]
_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None), "array": list}
_TYPES["object"] = dict
_KNOWN = {"$schema", "title", "description", "type", "const", "enum", "format", "pattern", "minLength", "maxLength"}
_KNOWN |= {"minimum", "maximum", "exclusiveMinimum", "items", "minItems", "maxItems", "uniqueItems", "oneOf"}
_KNOWN |= {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}


@cache
def _good(version: int, derived: bool) -> Test:
    return _test(_schema(version, derived))


def _test(of: Any) -> Test:
    """Whether a value keeps a schema without references, as a function; what it doesn't understand, nothing keeps."""
    if of is True:
        return lambda value: True
    if not isinstance(of, dict) or of.keys() - _KNOWN:
        return lambda value: False
    named = of.get("type", [])
    kinds = {_TYPES[name] for name in ([named] if isinstance(named, str) else named)}
    kinds |= {int} if float in kinds else set()
    words = {of["const"]} if "const" in of else set(of["enum"]) if "enum" in of else None
    either = [_test(one) for one in of.get("oneOf", ())]
    each = {str: _text(of), int: _number(of), float: _number(of), list: _list(of), dict: _object(of)}

    if words is None and not either:  # most of them

        def plain(value: Any) -> bool:
            kind = type(value)
            return (not kinds or kind in kinds) and (kind not in each or each[kind](value))

        return plain

    def good(value: Any) -> bool:
        kind = type(value)
        return bool(
            (not kinds or kind in kinds)
            and (words is None or (kind in (str, int) and value in words))
            and (kind not in each or each[kind](value))
            and (not either or sum(test(value) for test in either) == 1)
        )

    return good


def _text(of: Mapping[str, Any]) -> Test:
    least, most = of.get("minLength", 0), of.get("maxLength", math.inf)
    pattern = re.compile(of.get("pattern", ".*"), re.DOTALL)
    moment = of.get("format") == "date-time"
    return lambda value: (
        least <= len(value) <= most and pattern.fullmatch(value) is not None and (not moment or _is_moment(value))
    )


def _number(of: Mapping[str, Any]) -> Test:
    least, most = of.get("minimum", -math.inf), of.get("maximum", math.inf)
    above = of.get("exclusiveMinimum", -math.inf)
    return lambda value: least <= value <= most and above < value


def _list(of: Mapping[str, Any]) -> Test:
    least, most, unique = of.get("minItems", 0), of.get("maxItems", math.inf), of.get("uniqueItems", False)
    test = _test(of.get("items", True))

    def good(values: list[Any]) -> bool:
        if not least <= len(values) <= most or (unique and len({repr(x) for x in values}) < len(values)):
            return False
        if set(map(type, values)) in ({float}, {int}) and sum(values) < math.inf:  # most of a record; NaN has no order
            return test(min(values)) and test(max(values))
        return all(map(test, values))

    return good


def _object(of: Mapping[str, Any]) -> Test:
    least, most, needed = of.get("minProperties", 0), of.get("maxProperties", math.inf), set(of.get("required", ()))
    tests = {name: _test(one) for name, one in of.get("properties", {}).items()}
    other, key = of.get("additionalProperties", True), _test(of["propertyNames"]) if "propertyNames" in of else None
    rest = (lambda value: False) if other is False else _test(other)

    def good(value: Mapping[str, Any]) -> bool:
        if not least <= len(value) <= most or not needed <= value.keys() or (key and not all(map(key, value))):
            return False
        for name, one in value.items():  # noqa: SIM110, as all() of a generator is half as quick
            if not tests.get(name, rest)(one):
                return False
        return True

    return good
