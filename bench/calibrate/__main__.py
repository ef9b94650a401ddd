"""python -m bench.calibrate RECORDS...: how often bench.compare is wrong on one machine, and what it finds.

Takes sessions of one machine between which nothing changed: records, folders, or a file that --condense wrote. Every
pair is compared as it is, and again with each family of kernels slowed in one of the two.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.calibrate.tables import CLASSES, FOUND, RIDGES, TRIALS, found_entries
from bench.calibrate.trials import class_spreads, matrix, ridges, trials
from bench.cli import MADE, Parser, console, output, print_json, run
from bench.comparison import condensed
from bench.comparison.page import THRESHOLD
from bench.comparison.session import Session
from bench.comparison.sides import read
from bench.errors import BadInput
from bench.quantities import plural
from bench.record.folder import records_in
from bench.record.store import derived_from
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table

LEAST = 3


def sessions(paths: Sequence[Path]) -> list[Session]:
    """Of records, folders and condensed files. Raises BadInput where they aren't of one machine, or too few."""
    found: list[Session] = []
    for path in paths:
        if not path.is_dir() and condensed.is_one(path):
            found += condensed.load(path)
        else:
            found += [read(file) for file in records_in(path)]
    machines = dict.fromkeys(one.machine for one in found)
    if len(machines) > 1:
        raise BadInput(f"records of several machines: {', '.join(machines)}")
    if len(found) < LEAST:
        raise BadInput(f"{plural(len(found), 'session')}; it takes {LEAST}, or better ten")
    if not set.intersection(*(set(one.values) for one in found)):
        raise BadInput("no row is in all of these sessions")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("calibrate", "Try bench.compare on sessions of one machine between which nothing changed.")
    parser.add_argument("record", nargs="+", type=Path, help="records, folders of them, or a condensed file")
    parser.shapes.add_argument("--markdown", action="store_true", help="tables to paste")
    parser.add_argument(
        "--condense", type=output, metavar="FILE", help=f"write what was taken from the records here; {MADE}"
    )
    options = parser.parse_args(arguments)
    with derived_from(*options.record):
        return _calibrated(options)


def _calibrated(options: Any) -> int:
    known = sessions(options.record)
    of = matrix(known)
    tried = trials(of, math.log1p(THRESHOLD / 100))
    spread, ridge = class_spreads(of), ridges(known)
    head = _head(known, len(of.keys), len(set().union(*(one.values for one in known))))
    if options.condense:
        condensed.save(known, options.condense)
    if options.json:
        documents: dict[str, Any] = {
            "machine": known[0].machine,
            "sessions": len(known),
            "rows": len(of.keys),
            "trials": [_as_dict(one) for one in tried],
            "classes": [one.as_dict() for one in spread],
            "ridges": [one._asdict() for one in ridge],
        }
        print_json(documents)
        return 0
    tables: list[tuple[str, Sequence[Column[Any]], Sequence[Any]]] = [
        ("Called, though nothing changed", TRIALS, tried),
        ("One family slowed", FOUND, found_entries(tried)),
        ("Between sessions, standard deviation in %", CLASSES, spread),
        ("Ridges of the ceilings, in FLOP/byte", RIDGES, ridge),
    ]
    if options.markdown:
        print(head, end="\n\n")
        for title, columns, entries in tables:
            print(f"**{title}**", "\n".join(markdown(columns, entries)), sep="\n\n", end="\n\n")
            if notes := caption_of(columns):
                print(notes, end="\n\n")
    else:
        out = console()
        out.print(head)
        for title, columns, entries in tables:
            out.print(table(title, columns, entries))
    return 0


def _as_dict(one: Any) -> dict[str, Any]:
    return {**vars(one), "found": {percent: vars(found) for percent, found in one.found.items()}}


def _head(known: Sequence[Session], rows: int, every: int) -> str:
    grades = ", ".join(sorted(one.grade or "none" for one in known))
    left_out = f", {every - rows} left out that a session lacks" if every > rows else ""
    makings = len({one.group for one in known})
    mixed = (
        f". They differ in commit, ISA or options ({makings} kinds): that counts as false alarms" if makings > 1 else ""
    )
    return (
        f"{known[0].machine}: {plural(len(known), 'session')}, trust {grades}; {plural(rows, 'row')}{left_out}{mixed}"
    )


if __name__ == "__main__":
    run(main)
