"""Records of version 1, as version 2 has them. One dtype was all operands'; what they didn't keep is None."""

from collections.abc import Mapping
from typing import Any, cast

from bench.record.format import FORMAT, VERSION, Record, digest
from bench.record.row import make_row

_REASONS = {
    "a straight line explains the points as well as a roof with a knee": "a straight line explains the points as well "
    "as a roof with a ridge",
    "fewer than two points on one side of the bend": "fewer than two points on one side of the ridge",
}


def upgraded(old: Mapping[str, Any]) -> Record:
    """The record as version 2, once the schema of version 1 held. Its digest is good if the old one was.

    Raises KeyError, TypeError or ValueError for rows or figures that version 1's schema lets through.
    """
    new: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "command": old["command"],
        "arguments": None,
        "options": None,
        "started": None,
        "ended": old["created"],
        "complete": old["complete"],
        "machine": old["machine"],
        "session": {"forced": None, "pages": None, **old["session"]},
        "rows": [_row(row) for row in old["rows"]],
        "figures": _figures(old["figures"]),
    }
    new["digest"] = digest(new) if old["digest"] == digest(old) else old["digest"]
    return cast(Record, new)


def _row(old: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in old.items() if name not in ("kind", "operation", "dtype", "backend")}
    return make_row(old["kind"], old["operation"], old["dtype"], old["backend"], **rest, starts=None)


def _figures(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in old.items() if name != "knees"},
        "rows": [_renamed(row, percent_of_roof_then="percent_of_roof_at_that_moment") for row in old["rows"]],
        "ceilings": [
            {
                name: [_renamed(one, dtype="type") for one in value] if isinstance(value, list) else value
                for name, value in ceiling.items()
            }
            for ceiling in old["ceilings"]
        ],
        "measured_ridges": [
            {
                **_renamed(knee, dtype="type"),
                "types": knee["dtype"],
                "reason": _REASONS.get(knee["reason"], knee["reason"]),
            }
            for knee in old["knees"]
        ],
    }


def _renamed(old: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in old.items()}
