"""The only result format: one JSON document per session, versioned; its schema is record.schema.json beside this file.

A record holds raw seconds. The figures in it are there for other tools to read: this project always derives them again.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from bench.errors import BadInput
from bench.files import replacing
from bench.record.metrics import Metrics

FORMAT = "ridgeline-record"
VERSION = 1
TOLERANCE = 1e-9  # relative: the same arithmetic on another machine may round another way


@cache
def schema() -> dict[str, Any]:
    """The published JSON schema (draft 2020-12)."""
    return json.loads(Path(__file__).with_name("record.schema.json").read_text())


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the digest itself, as canonical JSON."""
    body = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def make(
    command: str, complete: bool, machine: dict[str, Any], session: dict[str, Any], rows: list[dict[str, Any]]
) -> Metrics:
    """A finished record and what follows from it: figures derived, checked against the schema, digest set.

    complete: False where the session was interrupted. Raises BadInput naming the field that read() would refuse.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "complete": complete,
        "machine": machine,
        "session": session,
        "rows": rows,
    }
    if fault := invalid(record, but=("figures", "digest")):
        raise BadInput(f"the record can't be written: {fault}")
    metrics = Metrics(record)
    derived = {"figures": metrics.as_dict()}
    record["digest"] = digest(record | derived)
    if fault := invalid(derived | {"digest": record["digest"]}, but=tuple(record.keys() - {"digest"})):
        raise BadInput(f"the record can't be written: {fault}")
    record |= derived
    return metrics


def invalid(record: Mapping[str, Any], but: tuple[str, ...] = ()) -> str | None:
    """The field that breaks the schema and how, in one line; None where it holds. but: fields still missing."""
    worst = jsonschema.exceptions.best_match(_validator(but).iter_errors(record))
    return f"{worst.json_path}: {worst.message[:200]}" if worst else None


@cache
def _validator(but: tuple[str, ...]) -> Any:
    found = schema()
    required = [name for name in found["required"] if name not in but]
    return jsonschema.Draft202012Validator(found | {"required": required})


def save(record: Mapping[str, Any], path: Path) -> None:
    """Writes the record whole or not at all. Raises BadInput where it can't."""
    with replacing(path) as handle:
        json.dump(record, handle, indent=1)
        handle.write("\n")


def read(path: Path) -> dict[str, Any]:
    """The document, once its format, version and schema hold. Raises BadInput, in one line, for anything else."""
    try:
        record = json.loads(Path(path).read_text(), parse_constant=_refuse)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # undecodable, unparsable, cut off, nested without end
        raise BadInput(f"{path}: not JSON, or cut off: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput(f"{path}: not a {FORMAT}")
    if record.get("version") != VERSION:
        raise BadInput(f"{path}: version {record.get('version')!r}; this reads version {VERSION}")
    if fault := invalid(record):
        raise BadInput(f"{path}: {fault}")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def problems(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with a record that read() accepted: tampered data, figures that don't follow, rules broken."""
    found = []
    if record["digest"] != digest(record):
        found.append("the digest doesn't match: the record was changed after it was written")
    for i, row in enumerate(record["rows"]):
        if len(row["seconds"]) != len(row["rounds"]):
            found.append(f"row {i}: {len(row['seconds'])} samples but {len(row['rounds'])} rounds")
    if found:
        return found
    try:
        derived = Metrics(record).as_dict()
    except (KeyError, ValueError, ZeroDivisionError, TypeError) as error:
        return [f"its figures can't be derived: {error!r}"]
    _compare("figures", record["figures"], derived, found)
    found += [
        f"row {i} ({record['rows'][i]['operation']}): {figures['error']}"
        for i, figures in enumerate(derived["rows"])
        if "error" in figures
    ]
    return found


def _compare(where: str, stored: Any, derived: Any, found: list[str]) -> None:
    if len(found) > 20:
        return
    if isinstance(derived, dict) and isinstance(stored, dict) and derived.keys() == stored.keys():
        for key in derived:
            _compare(f"{where}.{key}", stored[key], derived[key], found)
    elif isinstance(derived, list | tuple) and isinstance(stored, list) and len(stored) == len(derived):
        for i, (a, b) in enumerate(zip(stored, derived, strict=True)):
            _compare(f"{where}[{i}]", a, b, found)
    elif isinstance(derived, float) and isinstance(stored, int | float) and not isinstance(stored, bool):
        if not abs(stored - derived) <= TOLERANCE * max(abs(stored), abs(derived)):
            found.append(f"{where} is {stored!r}; the raw seconds give {derived!r}")
    elif stored != derived:
        found.append(f"{where} is {str(stored)[:60]}; the raw seconds give {str(derived)[:60]}")


def load(path: Path) -> Metrics:
    """A record with its figures, derived anew. Raises BadInput where read() does or the record was changed."""
    record = read(path)
    if record["digest"] != digest(record):
        raise BadInput(f"{path}: the digest doesn't match: the record was changed after it was written")
    return Metrics(record)
