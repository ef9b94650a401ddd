"""Sessions of one machine in a small file: what a comparison takes from their records, without samples.

Ten sessions of a thousand rows take some 400 kB. It can't be checked as a record can; each session has its record's
digest.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.comparison.families import Key
from bench.comparison.session import Session, Value
from bench.errors import BadInput
from bench.files import read_text, replacing, says

FORMAT = "ridgeline-sessions"
VERSION = 1
DIGITS = 5  # behind the point, of logarithms: 0.001 %
FIELDS = ("name", "machine", "started", "grade", "isa", "cores", "roofs", "facts", "digest")


def save(sessions: Sequence[Session], path: Path) -> None:
    """Raises BadInput where the file can't be written."""
    keys = sorted(set().union(*(one.values for one in sessions)))
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(one.name)) for one in sessions])
    document = {
        "format": FORMAT,
        "version": VERSION,
        "rows": keys,
        "sessions": [_packed(one, keys, folder) for one in sessions],
    }
    with replacing(path) as handle:
        json.dump(document, handle, separators=(",", ":"))
        handle.write("\n")


def _packed(one: Session, keys: Sequence[Key], folder: str) -> dict[str, Any]:
    """Its name is the path from the folder that all records are in: where that is, is nobody's business."""
    nothing = Value(*[math.nan] * 4)
    columns = zip(*(one.values.get(key, nothing) for key in keys), strict=True)
    values = {
        name: [round(x, DIGITS) if math.isfinite(x) else None for x in column]
        for name, column in zip(Value._fields, columns, strict=True)
    }
    facts = {name: getattr(one, name) for name in FIELDS} | {"name": os.path.relpath(one.name, folder)}
    return {**facts, "group": list(one.group), "values": values}


def is_one(path: Path) -> bool:
    """Whether the file says that it is one."""
    return says(path, FORMAT)


def load(path: Path) -> list[Session]:
    """Raises BadInput for a file that save() didn't write."""
    text = read_text(path)
    try:
        document = json.loads(text)
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise BadInput(f"{path}: not version {VERSION} of {FORMAT}")
        keys = [_key(row) for row in document["rows"]]
        return [_unpacked(one, keys) for one in document["sessions"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: not a {FORMAT}: {error!r}") from error


def _key(row: Sequence[Any]) -> Key:
    key = Key(*row)
    return key._replace(dims=tuple((str(name), int(size)) for name, size in key.dims))


def _unpacked(one: Mapping[str, Any], keys: Sequence[Key]) -> Session:
    columns = [[math.nan if x is None else float(x) for x in one["values"][name]] for name in Value._fields]
    values = {key: Value(*row) for key, row in zip(keys, zip(*columns, strict=True), strict=True)}
    known = {key: value for key, value in values.items() if math.isfinite(value.speed)}
    return Session(**{name: one[name] for name in FIELDS}, group=tuple(one["group"]), values=known)
