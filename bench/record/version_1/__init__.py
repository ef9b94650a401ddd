"""Records of version 1, as version 2 has them. One dtype was all operands'; what they didn't keep is None.

Their figures followed other rules (a median over the best roof of the whole session), so they are left out.
"""

from collections.abc import Mapping
from typing import Any, cast

from bench.record.format import FORMAT, VERSION, Record, digest
from bench.record.placement import judged
from bench.record.row import make_row


def upgraded(old: Mapping[str, Any]) -> Record:
    """The record as version 2, once the schema of version 1 held. Its digest is good if the old one was.

    Raises KeyError, TypeError or ValueError for rows that version 1's schema lets through.
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
        "session": _session(old["session"]),
        "rows": [_row(row) for row in old["rows"]],
        "figures": None,
    }
    new["digest"] = digest(new) if old["digest"] == digest(old) else old["digest"]
    return cast(Record, new)


def _session(old: Mapping[str, Any]) -> dict[str, Any]:
    unknown = {"fma_together": None, "read_together": None}
    return {
        "forced": None,
        **{name: value for name, value in old.items() if name not in ("pages", "pings")},
        "placements": [{**ping, **unknown, "found": judged({**ping, **unknown})} for ping in old["pings"]],
    }


def _row(old: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in old.items() if name not in ("kind", "operation", "dtype", "backend")}
    return make_row(old["kind"], old["operation"], old["dtype"], old["backend"], **rest, starts=None)
