"""Every kernel row of every machine, in a line: the table of CSV, and of the page's own export."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bench.comparison.families import Key, key_of
from bench.comparison.page import Outcome
from bench.record.format import RowFigures
from bench.record.row import Row, multiplied
from bench.report.columns import Column, sizes
from bench.report.page.columns import Machine, Report
from kernels.operations import SCALAR_GEMMS


class Placed(NamedTuple):
    """A row on its machine, and how it compares with the first machine's; None: it has no partner there."""

    machine: Machine
    key: Key
    row: Row
    figures: RowFigures
    outcome: Outcome | None

    @property
    def contestant(self) -> str:
        """Whose kernel: "c", "c prepacked", "blas", "c/avx2" where that isn't the session's ISA."""
        return self.key.backend + (" prepacked" if self.row["operation"] == "gemm_prepacked" else "")

    @property
    def roof(self) -> str:
        """The type whose peak it is held against."""
        known = self.machine.metrics.roofs.get(self.row["threads"])
        held = known.peak_of(self.row) if known else None
        return held.peak[0] if held else multiplied(self.row)

    @property
    def verdict(self) -> str:
        return "above its roof" if "error" in self.figures else self.figures["verdict"]

    @property
    def remark(self) -> str | None:
        return self.figures.get("error") or self.figures.get("note")


def placed(of: Report, without: Sequence[str] = ()) -> Iterator[Placed]:
    """Machine by machine; GEMM's lower rungs, which are slow on purpose, aren't among them.

    without  classes of rows to leave out
    """
    for i, machine in enumerate(of.machines):
        outcomes = {row.key: row.outcome for row in of.pages[i - 1].rows} if i else {}
        for row, figures in machine.metrics.pairs:
            if row["kind"] == "kernel" and row["operation"] not in SCALAR_GEMMS:
                key = key_of(row, machine.record)
                if key.class_ not in without:
                    yield Placed(machine, key, row, figures, outcomes.get(key))


def short(value: float, kept: int = 4) -> float:
    """So many digits; what is too large for any chart is 1e300."""
    rounded = float(f"{min(max(value, -1e300), 1e300):.{kept}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _number(value: Any) -> str:
    return "" if value is None else f"{short(value):g}" if abs(value) >= 1e-4 else f"{value:.3e}"


def _of(name: str, which: str = "value") -> Callable[[Placed], str]:
    def cell(one: Placed) -> str:
        figures: Any = one.figures
        return _number(figures[name][which]) if name in figures else ""

    return cell


def _outcome(name: str) -> Callable[[Placed], str]:
    return lambda one: _number(getattr(one.outcome, name)) if one.outcome else ""


ROWS: Sequence[Column[Placed]] = (
    Column("operation", lambda p: p.row["operation"], left=True),
    Column("types", lambda p: p.key.types, left=True),
    Column("whose", lambda p: p.contestant, left=True),
    Column("dims", lambda p: sizes(p.row["dims"]), left=True),
    Column("layer", lambda p: "; ".join(p.row["layers"]), left=True),
    Column("class", lambda p: p.key.class_, left=True),
    Column("threads", lambda p: p.key.role, left=True),
    Column("machine", lambda p: f"{p.machine.letter} {p.machine.name}", left=True),
    Column("level", lambda p: p.row["level"], left=True),
    Column("FLOP/byte", lambda p: _number(p.figures["intensity"])),
    Column("GFLOP/s", _of("gflops")),
    Column("low", _of("gflops", "low")),
    Column("high", _of("gflops", "high")),
    Column("GB/s", _of("gbps")),
    Column("seconds", _of("seconds")),
    Column("% of roof", _of("percent_of_roof")),
    Column("low", _of("percent_of_roof", "low")),
    Column("high", _of("percent_of_roof", "high")),
    Column("verdict", lambda p: p.verdict, left=True),
    Column("grade", lambda p: p.figures.get("grade", "-"), left=True),
    Column("remark", lambda p: p.remark or "", left=True),
    Column("times A", _outcome("ratio")),
    Column("low", _outcome("low")),
    Column("high", _outcome("high")),
    Column("is", lambda p: p.outcome.word if p.outcome else "", left=True),
)
