"""python -m bench.compare A... -- B...: what became faster or slower, by more than sessions of one machine differ.

Sides are records or folders of them. Without --, records of one machine, ISA, CPUs, commit, options and roles of
threads are one side. The first side is the yardstick.
"""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from rich.text import Text

from bench.cli import Parser, complain, console, print_json, run
from bench.comparison.page import TELL, THRESHOLD, Page, RowOutcome, Side, compare
from bench.comparison.sides import sides
from bench.errors import BadInput
from bench.record.folder import Refused, in_short
from bench.record.store import derived_from
from bench.report.columns import Column
from bench.report.sides import (
    CALLED,
    FAMILIES,
    ROWS,
    SIDES,
    counted,
    difference_columns,
    differences,
    extremes,
    lines,
    pivot,
    pivot_columns,
    roof,
)
from bench.report.tables import caption_of, csv_text, markdown, table

T = TypeVar("T")
DIVIDER = "\0"  # argparse would swallow --


def _side_as_dict(side: Side) -> dict[str, Any]:
    first = side.sessions[0]
    roles = dict.fromkeys(role for one in side.sessions for role in one.roofs)
    return {
        "side": side.letter,
        "files": [one.name for one in side.sessions],
        "machine": side.machine,
        "started": [one.started for one in side.sessions],
        "grades": [one.grade for one in side.sessions],
        "isa": first.isa,
        "cores": first.cores,
        "roofs": {role: {name: roof(side, role, name) for name in ("peak", "read", "ridge")} for role in roles},
    }


def _page_as_dict(page: Page) -> dict[str, Any]:
    return {
        "a": page.a.letter,
        "b": page.b.letter,
        "one_machine": page.one_machine,
        "moved": page.moved,
        "replicates": page.replicates,
        "families": [
            {**f.family._asdict(), "class_": f.family.class_, "rows": f.rows, **f.outcome.as_dict()}
            for f in page.families
        ],
        "rows": [_row_as_dict(row) for row in page.rows],
        "unlike": [one._asdict() for one in page.unlike],
        "one_visit": page.once,
        "only_a": [key.text for key in page.only_a],
        "only_b": [key.text for key in page.only_b],
    }


def _row_as_dict(row: RowOutcome) -> dict[str, Any]:
    key = {**row.key._asdict(), "dims": dict(row.key.dims), "class": row.key.class_}
    sides = ([value.seconds for value in side] for side in (row.a, row.b))
    return {"row": key, "seconds": list(sides), **row.outcome.as_dict()}


def _called(page: Page, options: Any) -> list[RowOutcome]:
    return list(page.rows) if options.rows else extremes(page.rows)


def _show(every: Sequence[Side], pages: Sequence[Page], options: Any) -> None:
    out = console()
    many = len(pages) > 1
    out.print(table("Sides", SIDES, every))
    out.print(table("What differs", difference_columns(every), differences(every)))
    if many:
        out.print(table("Families on every side", pivot_columns(pages), pivot(pages)))
    for page in pages:
        out.print(Text(counted(page), "bold"))
        if page.families and (options.rows or not many):
            out.print(table(f"Families: {page.b.letter} against {page.a.letter}", FAMILIES, page.families))
        rows = _called(page, options)
        if rows:
            out.print(table("Rows" if options.rows else "Rows called", ROWS if options.rows else CALLED, rows))
        for line in lines(page, options.rows, options.unmatched):
            out.print(Text(line))


def _markdown(every: Sequence[Side], pages: Sequence[Page], options: Any) -> None:
    def titled(title: str, columns: Sequence[Column[T]], entries: Sequence[T]) -> None:
        notes = caption_of(columns)
        print(*filter(None, [f"### {title}", "\n".join(markdown(columns, entries)), notes]), sep="\n\n", end="\n\n")

    titled("Sides", SIDES, every)
    titled("What differs", difference_columns(every), differences(every))
    if len(pages) > 1:
        titled("Families on every side", pivot_columns(pages), pivot(pages))
    for page in pages:
        print(f"{counted(page)}.\n")
        if page.families:
            titled(f"Families: {page.b.letter} against {page.a.letter}", FAMILIES, page.families)
        if rows := _called(page, options):
            titled(f"Rows: {page.b.letter} against {page.a.letter}", ROWS, rows)
        print(*(f"- {line.strip()}" for line in lines(page, options.rows, options.unmatched)), "", sep="\n")


def _csv(pages: Sequence[Page], options: Any) -> None:
    """One table of all sides: families, or with --rows rows."""

    def text(columns: Sequence[Column[T]], of: Sequence[Sequence[T]]) -> str:
        headed = [Column("against A", lambda pair: pair[0], left=True), *map(_second, columns)]
        entries = [(page.b.letter, entry) for page, entries in zip(pages, of, strict=True) for entry in entries]
        return csv_text(headed, entries)

    if options.rows:
        sys.stdout.write(text(ROWS, [page.rows for page in pages]))
    else:
        sys.stdout.write(text(FAMILIES, [page.families for page in pages]))


def _second(column: Column[T]) -> Column[tuple[str, T]]:
    return Column(column.heading, lambda pair: column.cell(pair[1]), left=column.left)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("compare", "Compare sides, each of one session or several; the first is the yardstick.")
    parser.add_argument("record", nargs="+", type=Path, help="records or folders; -- between the sides")
    parser.add_argument(
        "--threshold", type=_percent, default=f"{THRESHOLD:g}", metavar="PERCENT", help="called from here"
    )
    parser.add_argument("--rows", action="store_true", help="all rows, not only those that are called")
    parser.add_argument("--unmatched", action="store_true", help="name every row that has no partner")
    parser.add_argument("--fail-slower", action="store_true", help="exit 1 where a kernel or a model is slower")
    parser.shapes.add_argument("--markdown", action="store_true", help="tables to paste")
    parser.shapes.add_argument("--csv", action="store_true", help="the families, or with --rows the rows")
    words = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args([DIVIDER if word == "--" else word for word in words])
    if str(options.record[-1]) == DIVIDER or str(options.record[0]) == DIVIDER:
        raise BadInput("a side without a record: write A... -- B...")
    groups = groupby(options.record, key=lambda path: str(path) == DIVIDER)
    given = [list(group) for divider, group in groups if not divider]
    with derived_from(*(path for group in given for path in group)):
        return _compared(given, options)


def _compared(given: Sequence[Sequence[Path]], options: Any) -> int:
    refused, copies = list[Refused](), list[Refused]()
    every = sides(given, refused.append, copies.append)
    for one in refused:
        complain(f"{one.path}: {one.reason}")
    if copies:
        complain(in_short(copies))
    others = every[1:]
    pages = [compare(every[0], other, options.threshold, len(others)) for other in others]
    if not any(page.rows for page in pages):
        counts = (f"{len(p.only_a)} only in {p.a.letter}, {len(p.only_b)} only in {p.b.letter}" for p in pages)
        raise BadInput(f"the sides share no measurement: {'; '.join(counts)}")
    if options.json:
        sought = max(TELL, options.threshold)
        document = {"threshold_percent": options.threshold, "sought_percent": sought}
        print_json({**document, "sides": [*map(_side_as_dict, every)], "pages": [*map(_page_as_dict, pages)]})
    elif options.csv:
        _csv(pages, options)
    elif options.markdown:
        _markdown(every, pages, options)
    else:
        _show(every, pages, options)
    return 2 if refused else int(options.fail_slower and any(page.slower for page in pages))


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise BadInput(f"--threshold {text}: more than 0, at most 100")
    return value


if __name__ == "__main__":
    run(main)
