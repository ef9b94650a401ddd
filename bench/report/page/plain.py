"""The report as text: Markdown with the page's words and tables, CSV with every kernel row of every machine."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.report.columns import Column
from bench.report.page.columns import Machine, Report
from bench.report.page.history import histories, moved
from bench.report.page.placed import ROWS, Placed, placed
from bench.report.page.tables import (
    RIDGES,
    ROOFS,
    TRUST,
    WALLS,
    kernels_ridges,
    model_columns,
    models_of,
    noise_of,
    roofs_of,
)
from bench.report.page.words import answer, follows, incomparable, walls
from bench.report.sides import FAMILIES, difference_columns, differences, pivot, pivot_columns
from bench.report.tables import caption_of, csv_text, escaped, markdown, telling


def csv(of: Report) -> str:
    return csv_text(ROWS, list(placed(of)))


def text(of: Report) -> str:
    """Markdown."""
    return "\n\n".join(filter(None, _parts(of))) + "\n"


def _items(said: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in said)


def _section(title: str, columns: Sequence[Column[Any]], entries: Sequence[Any]) -> str:
    if not entries:
        return ""
    columns = telling(columns, entries)
    return "\n\n".join(filter(None, [f"## {title}", "\n".join(markdown(columns, entries)), caption_of(columns)]))


def _parts(of: Report) -> Iterator[str]:
    machines = of.machines
    sides = [machine.side for machine in machines]
    yield "# Which machine hits the memory wall where, and why"
    yield from map(escaped, answer(of)[:1])
    if of.refused:
        yield "## Left out: no good records\n\n" + _items([f"{one.path}: {one.reason}" for one in of.refused])
    yield _section("The machines", WALLS, walls(machines))
    if cautions := incomparable(of):
        yield f"## What can't be compared\n\n{_items(cautions)}"
    yield _section("What differs", difference_columns(sides), differences(sides))
    if said := follows(of):
        yield f"## What follows\n\n{_items(said)}"
    if len(of.pages) > 1:
        yield _section("Families on every machine", pivot_columns(of.pages), pivot(of.pages))
    for page in of.pages:
        yield _section(f"{page.b.letter} against {page.a.letter}, by family", FAMILIES, page.families)
    yield _section("Roofs", ROOFS, [roof for machine in machines for roof in roofs_of(machine)])
    yield _section("Ridges that kernels show, in FLOP/byte", RIDGES, kernels_ridges(machines))
    yield _section("Whole models", model_columns(machines), models_of(machines))
    if lines := histories(of):
        yield f"## Over time\n\n{_items(moved(lines))}"
    yield _section("Trust and noise", TRUST, [noise_of(machine) for machine in machines])
    yield _section("Kernels, in % of roof", kernel_columns(machines), list(by_key(placed(of)).values()))


# --- kernels, a column for every machine

Across = dict[str, Placed]
"""A kernel's rows by the letters of the machines that have it."""


def by_key(rows: Iterator[Placed]) -> dict[Any, Across]:
    found: dict[Any, Across] = {}
    for one in rows:
        found.setdefault((one.key, one.row["level"]), {})[one.machine.letter] = one
    return found


def kernel_columns(machines: Sequence[Machine]) -> Sequence[Column[Across]]:
    def first(column: Column[Placed]) -> Column[Across]:
        return Column(column.heading, lambda across: column.cell(next(iter(across.values()))), left=column.left)

    def of(letter: str) -> Column[Across]:
        def cell(across: Across) -> str:
            share = across[letter].figures.get("percent_of_roof") if letter in across else None
            return f"{share['value']:.0f}" if share else "-"

        return Column(letter, cell)

    fixed = [column for column in ROWS if column.heading in ("operation", "types", "whose", "dims", "threads", "level")]
    return (*map(first, fixed), *(of(machine.letter) for machine in machines))
