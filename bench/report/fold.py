"""A terminal's table with nothing cut: headings wrap, then words; then a row goes on in a second line."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Column, Table
from rich.text import Text

from bench.cli import ASCII

GAP, INDENT = 2, 4
CAPTION = 80  # columns that a caption takes where there are so many, however narrow the table
WORD = re.compile(r"\[[^]]*\]|\S+")  # of a heading: "[95 %]" is one


class _Part:
    """A column: what stands in it, the width that it needs and the one that it would like."""

    def __init__(self, column: Column, text: Callable[[Any], Text]) -> None:
        self.justify, self.numbers = column.justify, column.no_wrap
        self.heading, self.cells = text(column.header).plain, [text(cell) for cell in column.cells]
        self.lengths = [cell.cell_len for cell in self.cells]
        words = [word for cell in self.cells for word in ([cell.plain] if self.numbers else cell.plain.split())]
        self.narrow = max(map(cell_len, [*words, *WORD.findall(self.heading), " "]))
        self.wide = max([self.narrow, *self.lengths, *map(cell_len, self.heading.splitlines())])


class _Band:
    """What stands on one line of each row: parts and widths. What is left goes to words first, the longest of them."""

    def __init__(self, parts: Sequence[_Part], indent: int, most: int) -> None:
        self.parts, self.indent = parts, indent
        self.widths = [min(part.narrow, most - indent) for part in parts]
        for _ in range(most - self.taken):
            could = [i for i, part in enumerate(parts) if self.widths[i] < part.wide]
            if could:
                self.widths[max(could, key=lambda i: (not parts[i].numbers, parts[i].wide / self.widths[i]))] += 1

    @property
    def taken(self) -> int:
        return self.indent + sum(self.widths) + GAP * (len(self.widths) - 1)

    @cached_property
    def lines(self) -> int:
        """Those of all rows together, about."""
        each = ([-(-n // width) for n in part.lengths] for part, width in zip(self.parts, self.widths, strict=True))
        return sum(map(max, zip(*each, strict=True)))


class Folding(Table):
    """rich's, without rules. Columns that find no place beside the others are put below them, indented."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Any:
        most = options.max_width

        def text(of: Any, style: str = "") -> Text:
            made: Text = of.copy() if isinstance(of, Text) else console.render_str(str(of), style=style)
            return Text(made.plain.translate(ASCII), made.style) if options.ascii_only else made

        bands = _folded([_Part(column, text) for column in self.columns], most)
        if self.title:
            yield from _wrapped(console, text(self.title, "table.title"), most)
        for band in bands:
            blocks = [_heading(part, width) for part, width in zip(band.parts, band.widths, strict=True)]
            yield from _lines(band, blocks, "table.header")
        for i, row in enumerate(self.rows):
            for band in bands:
                blocks = [
                    list(part.cells[i].wrap(console, width, justify=part.justify, overflow="fold"))
                    for part, width in zip(band.parts, band.widths, strict=True)
                ]
                yield from _lines(band, blocks, row.style)
        if self.caption:
            width = max([CAPTION, *(band.taken for band in bands)])
            yield from _wrapped(console, text(self.caption, "table.caption"), min(most, width))


def _wrapped(console: Console, text: Text, width: int) -> Iterator[Text]:
    for line in text.wrap(console, width):
        line.rstrip()
        yield line


def _folded(parts: Sequence[_Part], most: int) -> list[_Band]:
    """The columns, in their order, on as few lines as there can be; then in as few bands, as narrow ones."""
    best: list[tuple[tuple[int, int, int], list[_Band]]] = [((0, 0, 0), [])]
    for end in range(1, len(parts) + 1):
        found = []
        for begin in range(end):
            band = _Band(parts[begin:end], min(INDENT, most // 4) if begin else 0, most)
            if band.taken <= most or begin == end - 1:
                (lines, count, width), before = best[begin]
                found.append(((lines + band.lines, count + 1, max(width, band.taken)), [*before, band]))
        best.append(min(found, key=lambda one: one[0]))
    return best[-1][1]


def _heading(part: _Part, width: int) -> list[Text]:
    """Its lines, broken only between words, the last of them at the bottom."""
    lines: list[str] = []
    for given in part.heading.splitlines():
        line = ""
        for word in WORD.findall(given):
            if line and cell_len(line) + 1 + cell_len(word) > width:
                lines.append(line)
                line = ""
            line += f" {word}" if line else word
        lines.append(line)
    return [Text(line.rjust(width) if part.numbers else line) for line in lines]


def _lines(band: _Band, blocks: Sequence[Sequence[Text]], style: Any) -> Iterator[Text]:
    """A row's lines in one band, none where it is empty; of headings the last ones are beside each other."""
    height = max(map(len, blocks))
    blocks = [[Text()] * (height - len(block)) * (style == "table.header") + list(block) for block in blocks]
    for line in zip_longest(*blocks, fillvalue=Text()):
        made = Text(" " * band.indent, style=style or "")
        for one, width in zip(line, band.widths, strict=True):
            made.append_text(one).append(" " * (width - one.cell_len + GAP))
        made.rstrip()
        if made:
            yield made
