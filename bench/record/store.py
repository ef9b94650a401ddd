"""Records as files: made and written, read and checked; nothing else writes or reads them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bench.errors import BadInput
from bench.files import replacing
from bench.record.format import FORMAT, VERSION, Circumstances, Machine, Record, digest
from bench.record.metrics import Metrics
from bench.record.row import Row, faults
from bench.record.runs.faults import all_faults
from bench.record.runs.run import Run
from bench.record.schema import invalid
from bench.record.version_1 import upgraded

TOLERANCE = 1e-9  # relative: the same arithmetic on another machine may round another way


def make(
    command: str,
    complete: bool,
    machine: Machine,
    session: Circumstances,
    rows: list[Row],
    *,
    started: datetime,
    arguments: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    runs: Sequence[Run] = (),
) -> Metrics:
    """A finished record and what follows from it: checked against the schema, figures derived, digest set.

    complete  False where the session was interrupted
    started   with a time zone; rows' starts count from it

    Raises BadInput naming the field that read() would refuse.
    """
    record = cast(
        Record,
        {
            "format": FORMAT,
            "version": VERSION,
            "command": command,
            "arguments": list(arguments),
            "options": dict(options or {}),
            "started": started.isoformat(timespec="milliseconds"),
            "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "complete": complete,
            "machine": machine,
            "session": session,
            "rows": rows,
            **({"runs": list(runs)} if runs else {}),
        },
    )
    if fault := invalid(record, derived=False):
        raise BadInput(f"the record can't be written: {fault}")
    metrics = Metrics(record)
    record["figures"] = metrics.as_dict()
    record["digest"] = digest(record)
    if fault := invalid(record):
        raise BadInput(f"the record can't be written: {fault}")
    return metrics


def save(record: Record, path: Path) -> None:
    """Writes the record whole or not at all. Raises BadInput where it can't."""
    with replacing(path) as handle:
        json.dump(record, handle, indent=1)
        handle.write("\n")


def read(path: Path) -> Record:
    """The document, once its format, version and schema hold; version 1 as version 2 has it.

    Raises BadInput, in one line, for anything else.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # undecodable, unparsable, cut off, nested without end
        raise BadInput(f"{path}: not JSON, or cut off: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput(f"{path}: not a {FORMAT}")
    version = record.get("version")
    if version not in (1, VERSION) or isinstance(version, bool):
        raise BadInput(f"{path}: version {version!r}; this reads versions 1 and {VERSION}")
    if fault := invalid(record, version):
        raise BadInput(f"{path}: {fault}")
    if version == 1:
        try:
            record = upgraded(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{path}: version 1, but its rows or figures aren't: {error!r}") from error
        if fault := invalid(record, derived=False):
            raise BadInput(f"{path}: read as version {VERSION}: {fault}")
    return cast(Record, record)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def problems(record: Record) -> list[str]:
    """What is wrong with a record that read() accepted: tampered data, figures that don't follow, rules broken."""
    if found := _faults(record):
        return found
    try:
        derived = Metrics(record).as_dict()
    except (KeyError, ValueError, ZeroDivisionError, TypeError) as error:
        return [f"its figures can't be derived: {error!r}"]
    if record["figures"] is not None:
        _compare("figures", record["figures"], derived, found)
    found += [
        f"row {i} ({record['rows'][i]['operation']}): {figures['error']}"
        for i, figures in enumerate(derived["rows"])
        if "error" in figures
    ]
    return found


def _faults(record: Record) -> list[str]:
    """Why nothing can be derived from a record that read() accepted."""
    changed = record["digest"] != digest(record)
    found = ["the digest doesn't match: the record was changed after it was written"] if changed else []
    found += [f"row {i}: {fault}" for i, row in enumerate(record["rows"]) for fault in faults(row)]
    return found + list(all_faults(record.get("runs", [])))


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
    """A record with its figures, derived anew. Raises BadInput where read() does, or nothing can be derived from it."""
    record = read(path)
    if found := _faults(record):
        raise BadInput(f"{path}: {found[0]}")
    return Metrics(record)
