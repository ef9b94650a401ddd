"""What bench.ab prints: which builds, the answer in words, kernels, then rows; on a terminal or as Markdown."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from bench.ab.builds import Build
from bench.ab.cases import label
from bench.ab.judging import Page, Verdict
from bench.ab.measuring import Row
from bench.quantities import plural
from bench.report.columns import Column
from bench.report.tables import markdown, table
from bench.report.text import interval, seconds

UNSURE = "can't tell"
STYLES = {"faster": "green", "slower": "bold red", "same": "", UNSURE: "yellow"}


class Compared(NamedTuple):
    """A kernel, with the number of its rows, or one row."""

    name: str
    verdict: Verdict
    rows: int
    row: Row | None = None


def _word(one: Compared) -> Text:
    more = f" (about {plural(one.verdict.more, 'visit')} would)" if one.verdict.more else ""
    return Text(one.verdict.word + more, STYLES[one.verdict.word])


def _median(one: Compared, which: int) -> str:
    assert one.row
    return seconds(float(np.median([s for visit in one.row.visits for s in visit.seconds[which]])))


RATIO: Sequence[Column[Compared]] = (
    Column("B / A", lambda c: f"{c.verdict.ratio.value:.3f}", "B / A: B's speed over A's in the same rounds;"),
    Column(
        "interval",
        lambda c: interval(c.verdict.ratio.as_dict(), 3).partition(" ")[2],
        "interval: 95 %, t over visits.",
    ),
    Column("B is", _word, "faster, slower: under Holm's correction for all of the page.", left=True),
)
KERNELS: Sequence[Column[Compared]] = (
    Column("kernel", lambda c: c.name, left=True),
    Column("rows", lambda c: str(c.rows)),
    *RATIO,
)
ROWS: Sequence[Column[Compared]] = (
    Column("row", lambda c: c.name, left=True),
    Column("A", lambda c: _median(c, 0), "A, B: median time of a call."),
    Column("B", lambda c: _median(c, 1)),
    *RATIO,
)


def _kernels(page: Page) -> list[Compared]:
    count = [(row.case.operation, row.backend) for row, _ in page.rows]
    return [Compared(" ".join(name), verdict, count.count(name)) for name, verdict in page.kernels.items()]


def _rows(page: Page) -> list[Compared]:
    return [Compared(f"{label(row.case)} {row.backend}", verdict, 1, row) for row, verdict in page.rows]


def heads(builds: Sequence[Build]) -> Iterator[str]:
    """A line for each build, and what is to be known of both."""
    for letter, build in zip("AB", builds, strict=True):
        what = f"commit {build.commit[:12]}" if build.commit else "folder"
        yield f"{letter}: {build.given}: {what}, {build.module}, sha256 {build.sha256[:12]}"
    if builds[0].sha256 == builds[1].sha256:
        yield "Both have the same compiled module."


def warnings(builds: Sequence[Build]) -> Iterator[str]:
    """What is likely to be a mistake."""
    for letter, build in zip("AB", builds, strict=True):
        if build.stale:
            yield f"{letter}: {build.given}: {build.stale} is newer than its compiled module: build first"


def answer(page: Page, threshold: float) -> str:
    """Whether the change helped, in a sentence or two."""
    compared = [*_kernels(page), *(r for r in _rows(page) if page.kernels[_kernel(r)].word != r.verdict.word)]
    parts = []
    for word in ("faster", "slower"):
        found = [c for c in compared if c.verdict.word == word]
        if found:
            names = ", ".join(f"{c.name} {interval(c.verdict.ratio.as_dict())}" for c in found)
            parts.append(f"B is {word} in {names}.")
    words = [c.verdict.word for c in _kernels(page)]
    if not parts:
        parts.append("No kernel is faster or slower.")
    if words.count("same"):
        parts.append(f"The same within {threshold:g} %: {words.count('same')} of {plural(len(words), 'kernel')}.")
    if words.count(UNSURE):
        parts.append(f"Can't tell: {words.count(UNSURE)}; more visits may.")
    return " ".join(parts)


def _kernel(one: Compared) -> tuple[str, str]:
    assert one.row
    return one.row.case.operation, one.row.backend


def _missing(left_out: Sequence[Row]) -> Iterator[str]:
    for row in left_out:
        why = "; ".join(f"{'AB'[i]}: {reason}" for i, reason in row.missing.items()) or "too few visits"
        yield f"not compared: {label(row.case)} {row.backend} ({why})"


def show(out: Console, builds: Sequence[Build], page: Page, left_out: Sequence[Row], threshold: float) -> None:
    """The same as as_markdown(), for a terminal."""
    for line in heads(builds):
        out.print(line, markup=False, style="dim")
    if page.rows:
        out.print(table("Kernels", KERNELS, _kernels(page)))
        out.print(table("Rows", ROWS, _rows(page)))
        out.print(answer(page, threshold), markup=False)
    for line in _missing(left_out):
        out.print(line, markup=False, style="yellow")


def as_markdown(builds: Sequence[Build], page: Page, left_out: Sequence[Row], threshold: float) -> str:
    """To be pasted where a change is discussed."""
    lines = [answer(page, threshold), "", *(f"- {line}" for line in heads(builds)), ""] if page.rows else []
    if page.rows:
        lines += [*markdown(KERNELS, _kernels(page)), "", *markdown(ROWS, _rows(page)), ""]
    return "\n".join([*lines, *(f"- {line}" for line in _missing(left_out))])
