"""Records as files: made and written, read and checked; nothing else writes or reads them."""

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bench.errors import BadInput, plain
from bench.files import parse_json, parse_plain, read_bytes, replacing, text_of, whole, without_folders, without_places
from bench.quantities import plural
from bench.record.demands.rows import unfit
from bench.record.demands.session import name, unlikely
from bench.record.format import FORMAT, VERSION, Circumstances, Interconnect, Machine, Record, digest, earlier_digest
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.record.runs.faults import all_faults
from bench.record.runs.run import Run
from bench.record.schema import holds, invalid
from bench.record.trust import ABOVE
from bench.record.version_1 import upgraded

CHANGED = "the digest doesn't match: the record was changed after it was written"
MOST = 20  # problems of one record that are listed
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
    interconnect: Interconnect | None = None,
) -> Metrics:
    """A finished record and what follows from it: checked against the schema, figures derived, digest set.

    complete  False where the session was interrupted
    started   with a time zone; rows' starts count from it

    Texts are kept as bench.errors.plain() has them, arguments and options as without_places() and without_folders().
    Raises BadInput naming the field that read() would refuse.
    """
    given, chosen = without_places(arguments, options or {})
    record = cast(
        Record,
        {
            "format": FORMAT,
            "version": VERSION,
            "command": command,
            "arguments": _plainly(without_folders(given)),
            "options": _plainly(without_folders(chosen)),
            "started": started.isoformat(timespec="milliseconds"),
            "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "complete": complete,
            "machine": _plainly(machine),
            "session": _plainly(session),
            "rows": rows,
            **({"runs": list(runs)} if runs else {}),
            **({"interconnect": _plainly(interconnect)} if interconnect else {}),
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


def _plainly(value: Any) -> Any:
    """A document with its texts printable: what an argument or a file of /proc holds mustn't end a session."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(key): _plainly(one) for key, one in value.items()}
    return [_plainly(one) for one in value] if isinstance(value, list | tuple) else value


def save(record: Record, path: Path) -> None:
    """Writes the record whole or not at all. Raises BadInput where it can't."""
    with replacing(path) as handle:
        json.dump(record, handle, indent=1)
        handle.write("\n")


def read(path: Path) -> Record:
    """The document, once its format, version and schema hold; version 1 as version 2 has it.

    Raises BadInput, in one line, for anything else.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Record, bool]:
    """The same, and whether its digest is that of its values."""
    raw = read_bytes(path)
    if good := _plainly_good(raw):
        return good, True
    record, unchanged = _parsed(raw, path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput(f"{path}: not a {FORMAT}")
    version = record.get("version")
    if type(version) is not int or version not in (1, VERSION):
        raise BadInput(f"{path}: version {repr(version)[:40]}; this reads versions 1 and {VERSION}")
    with derived_from(path):
        if fault := invalid(record, version):
            raise BadInput(f"{path}: {fault}")
        if version == 1:
            record = upgraded(record)
            if fault := invalid(record, derived=False):
                raise BadInput(f"{path}: read as version {VERSION}: {fault}")
    return cast(Record, record), unchanged


def _plainly_good(raw: bytes) -> Record | None:
    """A record of this version in which nothing is to be refused, in a fifth of the time; None: it needs a look."""
    found = parse_plain(raw)
    try:
        this = isinstance(found, dict) and found.get("format") == FORMAT and holds(found)
        if not this or found["digest"] != digest(found):
            return None
    except Exception:  # it is looked at where it can be said why
        return None
    return cast(Record, found | {"options": whole(found["options"])})


def intact(path: Path) -> Record:
    """A record with the figures that it stores, which aren't derived again: for many records at once.

    Raises BadInput as read(), for another digest, and for figures of another number of rows.
    """
    record, unchanged = _read(path)
    if not unchanged:
        raise BadInput(f"{path}: {CHANGED}")
    if record["figures"] and len(record["figures"]["rows"]) != len(record["rows"]):
        raise BadInput(f"{path}: its figures.rows and rows are not as many")
    return record


def parsed(path: Path) -> Any:
    """A file's JSON, whole numbers as int however they are written; in a record the digest by today's rule.

    Raises BadInput where it isn't JSON, or a key stands twice in an object.
    """
    return _parsed(read_bytes(path), path)[0]


def _parsed(raw: bytes, path: Path) -> tuple[Any, bool]:
    """The same, and whether its digest is that of its values."""
    text = text_of(raw, path)
    found, unchanged = parse_json(text, path), False
    try:
        if isinstance(found, dict) and isinstance(found.get("digest"), str):
            today = digest(found)
            if found["digest"] != today and found["digest"] == earlier_digest(json.loads(text)):
                found["digest"] = today
            unchanged = found["digest"] == today
    except (ValueError, RecursionError) as error:  # a number that has no digest
        raise BadInput(f"{path}: not JSON, or cut off: {error}") from error
    return found, unchanged


@contextmanager
def derived_from(*paths: Path) -> Iterator[None]:
    """The one guard around whatever follows from records that were read, in every command that reads some.

    What schema and digest let through may still be nothing to work with: an exception becomes BadInput, naming the
    files and where in the code. Without files it is the code's own.
    """
    try:
        yield
    except (BadInput, OSError):
        raise
    except Exception as error:
        if not paths:
            raise
        ours = [at for at in traceback.extract_tb(error.__traceback__) if "bench" in Path(at.filename).parts]
        where = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}: {str(error)[:200]}"
        raise BadInput(f"{', '.join(map(str, paths))}: nothing follows from it: {where}") from error


def problems(metrics: Metrics) -> list[str]:
    """What is wrong with a record that load() accepted, each in one line: what can't have been measured, figures that
    don't follow, more rows above their roof than chance brings.
    """
    record, derived = metrics.record, metrics.as_dict()
    found = list(unlikely(record))
    if record["figures"] is not None:
        _compare("figures", record["figures"], derived, found)
    wrong = above(metrics)
    if len(wrong) > ABOVE * sum(row["kind"] == "kernel" for row in record["rows"]):
        found += wrong
    more = [f"and {plural(len(found) - MOST, 'problem')} more"] if len(found) > MOST else []
    return [*map(plain, found[:MOST]), *more]


def above(metrics: Metrics) -> list[str]:
    """The rows that lie above their roof, each with its likely cause."""
    return [f"{name(i, row)}: {f['error']}" for i, (row, f) in enumerate(metrics.pairs) if "error" in f]


def _faults(record: Record, unchanged: bool) -> list[str]:
    """Why nothing can be derived from a record that read() accepted."""
    found = [] if unchanged else [CHANGED]
    found += [f"row {i}: {fault}" for i, row in enumerate(record["rows"]) for fault in unfit(row)]
    return found + list(all_faults(record.get("runs", [])))


def _compare(where: str, stored: Any, derived: Any, found: list[str]) -> None:
    if len(found) > MOST:
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
    """A record with its figures, derived anew. Raises BadInput where read() does, or nothing can be derived from it.

    What else is made of them belongs into derived_from().
    """
    record, unchanged = _read(path)
    with derived_from(path):
        if found := _faults(record, unchanged):
            raise BadInput(
                f"{path}: {found[0]}" + (f", and {plural(len(found) - 1, 'fault')} more" if found[1:] else "")
            )
        metrics = Metrics(record)
        _ = metrics.trust
    return metrics


@contextmanager
def shown_again(path: Path, copy: Path | None) -> Iterator[Metrics]:
    """A record that a command shows instead of measuring; first it is written to `copy`, too, where one is asked for.

    The block is one under derived_from().
    """
    metrics = load(path)
    with derived_from(path):
        if copy:
            save(metrics.record, copy)
        yield metrics
