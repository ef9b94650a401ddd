"""Tables from columns, for a terminal, as Markdown or as CSV; and those that every command prints the same way."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from rich.table import Table

from bench.errors import plain
from bench.record.metrics import Metrics
from bench.record.roofs import peak_label, peak_unit
from bench.report.columns import (
    BANDWIDTHS,
    CEILINGS,
    KERNELS,
    RIDGES,
    Ceiling,
    Cell,
    Column,
    Measured,
    Ridge,
)
from bench.report.fold import Folding

T = TypeVar("T")


def _plain(cell: Cell) -> str:
    return plain(cell)


def escaped(cell: Cell) -> str:
    """A cell that stays one, without HTML, code or links."""
    return re.sub(r"([|`<]|\](?=\())", r"\\\1", _plain(cell))


def _csv(cell: Cell) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = _plain(cell)
    return text if text[:1] not in ("=", "+", "-", "@") or re.fullmatch(r"-|[+-][\d.,]+( ?%)?", text) else f"'{text}"


def caption_of(columns: Sequence[Column[T]], notes: str = "") -> str:
    """A table's notes, then what its columns have to say."""
    return " ".join(filter(None, [notes, *(column.caption for column in columns)]))


def table(
    title: str,
    columns: Sequence[Column[T]],
    entries: Sequence[T],
    notes: str = "",
    group: Callable[[T], Any] | None = None,
    ruled: bool = True,
    style: Callable[[T], str | None] = lambda entry: None,
) -> Table:
    """A terminal's table.

    notes  the caption's beginning
    group  entries with equal keys, one after the other, belong together; ruled: with a line between two groups
    style  an entry's, in rich's words
    """
    made = Folding(title=title or None, caption=caption_of(columns, notes) or None)
    for column in columns:
        made.add_column(column.heading, justify="left" if column.left else "right", no_wrap=not column.left)
    last: Any = None
    for i, entry in enumerate(entries):
        key = group(entry) if group else None
        first = i == 0 or group is None or key != last
        if group and ruled and first and i:
            made.add_section()
        cells = (column.cell(entry) if first or not column.once else "" for column in columns)
        made.add_row(*cells, style=style(entry))
        last = key
    return made


def telling(columns: Sequence[Column[T]], entries: Sequence[T]) -> list[Column[T]]:
    """The columns without those that have nothing but dashes."""
    return [one for one in columns if not entries or any(plain(one.cell(entry)) != "-" for entry in entries)]


def markdown(columns: Sequence[Column[T]], entries: Sequence[T]) -> list[str]:
    """The lines of GitHub's kind of table."""
    headings = (column.heading.replace("\n", " ") for column in columns)
    return [
        "| " + " | ".join(headings) + " |",
        "|" + "|".join("---" if column.left else "--:" for column in columns) + "|",
        *("| " + " | ".join(escaped(column.cell(entry)) for column in columns) + " |" for entry in entries),
    ]


def csv_text(columns: Sequence[Column[T]], entries: Sequence[T]) -> str:
    """Headings and cells, separated by commas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.heading.replace("\n", " ") for column in columns)
    writer.writerows([_csv(column.cell(entry)) for column in columns] for entry in entries)
    return text.getvalue()


# --- of a record


def kernels_of(metrics: Metrics) -> list[Measured]:
    """Every kernel row, in the order of the record."""
    return [Measured(*pair) for pair in metrics.pairs if pair[0]["kind"] == "kernel"]


def kernels_table(metrics: Metrics) -> Table:
    """One line per kernel row: layer, shape, time with interval, rates, intensity, share of roof, verdict."""
    return table("Kernels", KERNELS, kernels_of(metrics), group=lambda one: one.shape)


def ceilings_of(metrics: Metrics) -> Iterator[Ceiling]:
    for threads, roofs in metrics.roofs.items():
        for (dtype, isa), peak in roofs.peaks.items():
            best = roofs.best_peaks[dtype, isa] / 1e9
            yield Ceiling(threads, peak_label(dtype, isa), peak_unit(dtype), peak.scaled(1e-9).as_dict(), best)
        for level, rate in roofs.bandwidths.items():
            best = roofs.best_bandwidths[level] / 1e9
            yield Ceiling(threads, f"read {level}", "GB/s", rate.scaled(1e-9).as_dict(), best)


def roofs_table(metrics: Metrics) -> Table:
    """The ceilings of every thread count."""
    return table("Roofs", CEILINGS, list(ceilings_of(metrics)))


def ridges_of(metrics: Metrics, record: str = "") -> Iterator[Ridge]:
    """The ceilings' ridges, each with those that kernels were measured to have; of several ISAs' the one in use."""
    for threads, roofs in metrics.roofs.items():
        for (dtype, isa), ridge in roofs.ridges.items():
            peak, ours = roofs.peaks[dtype, isa].value, isa == metrics.record["session"]["isa"]
            yield Ridge(record, threads, dtype, f"ceilings ({isa})", ridge.as_dict(), ridge.value, peak, "")
            for measured in metrics.measured_ridges if ours or len(roofs.ridges) == 1 else ():
                if (measured["threads"], measured["type"]) == (threads, dtype):
                    of, remark = f"kernels: {measured['backend']}", measured["reason"] or ""
                    found, flat, types = measured["ridge"], measured["flat"], measured["types"]
                    yield Ridge(record, threads, types, of, found, ridge.value, flat, remark)


def ridges_table(metrics: Metrics) -> Table:
    """The ceilings' ridge and the one that each backend's kernels have, with the ratio of the two."""
    notes = (
        "ceilings: the median over rounds of peak / DRAM read bandwidth. Kernels, the measured ridge: where GEMMs "
        "leave their slanted roof, fitted over m and all weight matrices, cold."
    )
    return table("Ridge, in FLOP/byte", RIDGES, list(ridges_of(metrics)), notes, lambda one: one.group, ruled=False)


def bandwidths_table(metrics: Metrics) -> Table:
    """Bandwidth probes in both byte conventions."""
    return table("Bandwidth", BANDWIDTHS, [Measured(*pair) for pair in metrics.pairs if "gbps" in pair[1]])
