"""What a report can be written as, by the suffix of its file."""

from collections.abc import Callable, Mapping

from bench.report.page.columns import Report
from bench.report.page.figure import pgf, svg
from bench.report.page.html import html
from bench.report.page.plain import csv, text

WRITERS: Mapping[str, Callable[[Report], str]] = {".html": html, ".md": text, ".csv": csv, ".svg": svg, ".pgf": pgf}
