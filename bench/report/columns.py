"""The columns of the tables, one row each: heading, cell, what the caption says of it, alignment.

bench.report.tables turns them into a terminal's table, Markdown or CSV. Columns of a single command lie beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from rich.text import Text

from bench.record.row import Row, types_label
from bench.report.text import interval, ratio, seconds, spread

T = TypeVar("T")
STYLES = {"memory-bound": "cyan", "compute-bound": "magenta", "neither": "red", "undecided": "yellow"}
Cell = str | Text
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column of a table whose entries are Ts.

    heading  may have two lines
    cell     an entry's text; rich's Text where it has a colour
    caption  what the table's caption says of the column
    left     words: left-aligned, wrapped where the terminal is narrow. The others hold numbers
    once     on a terminal, only the first entry of a group shows it
    """

    heading: str
    cell: Callable[[T], Cell]
    caption: str = ""
    left: bool = False
    once: bool = False


class Measured(NamedTuple):
    """A row of a record and its metrics."""

    row: Row
    metrics: Mapping[str, Any]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Rows of one shape, one after the other, belong together."""
        dims = self.row["dims"]
        return dims.get("batch"), dims.get("m", 1), dims.get("n"), dims.get("k"), self.row["layers"]


def _rows(dims: Mapping[str, int]) -> str:
    return (f"{dims['batch']} x " if "batch" in dims else "") + str(dims.get("m", 1))


def sizes(dims: Mapping[str, int]) -> str:
    """ "12x128x64x128": a product's dimensions."""
    return "x".join(str(dims[d]) for d in ("batch", "m", "n", "k") if d in dims)


def kernel(row: Row) -> str:
    """ "gemm f32 numba": what was run, in which types, by whom."""
    return f"{row['operation']} {types_label(row)} {row['backend']}"


def _share(figure: Mapping[str, float] | None) -> str:
    return "-" if figure is None else f"{figure['value']:.0f} {spread(figure)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _verdict(one: Measured) -> Text:
    remark = one.metrics.get("error") or one.metrics.get("note")
    verdict = one.metrics["verdict"]
    style = "bold red" if "error" in one.metrics else STYLES[verdict]
    return Text(verdict + (f" - {remark}" if remark else ""), style)


THREADS: Column[Measured] = Column("threads", lambda o: str(o.row["threads"]))

KERNELS: Sequence[Column[Measured]] = (
    Column("layer", lambda o: "; ".join(o.row["layers"]), left=True, once=True),
    Column("m", lambda o: _rows(o.row["dims"])),
    Column("n", lambda o: str(o.row["dims"]["n"])),
    Column("k", lambda o: str(o.row["dims"].get("k", ""))),
    Column("kernel", lambda o: f"{kernel(o.row)}/{o.row['isa']}", left=True),
    Column("data", lambda o: f"{'cold' if o.row['cold'] else 'hot'} {o.row['level']}"),
    THREADS,
    Column("median", lambda o: seconds(o.metrics["seconds"]["value"])),
    Column("interval", lambda o: spread(o.metrics["seconds"]), "interval: 95 %, for many more visits."),
    Column("GFLOP/s", lambda o: f"{o.metrics['gflops']['value']:.1f}"),
    Column(
        "GB/s",
        lambda o: f"{o.metrics['gbps']['value']:.1f}",
        "GB/s and FLOP/B count what comes from where the data is: cold weights from DRAM, otherwise every operand "
        "once.",
    ),
    Column("FLOP/B", lambda o: f"{o.metrics['intensity']:.2f}"),
    Column(
        "% of roof",
        lambda o: _share(o.metrics.get("percent_of_roof")),
        "% of roof: median over rounds of the kernel's rate over the roof of the same round, min(peak, FLOP/B x "
        "read bandwidth of where the data is).",
    ),
    Column("grade", lambda o: o.metrics.get("grade", "-"), "grade: by how far the visits differ."),
    Column("verdict", _verdict, left=True),
)


class Ceiling(NamedTuple):
    """A roof: its name, its unit, its interval in that unit."""

    threads: int
    name: str
    unit: str
    rate: Mapping[str, float]
    best: float


CEILINGS: Sequence[Column[Ceiling]] = (
    Column("threads", lambda c: str(c.threads)),
    Column("ceiling", lambda c: c.name, left=True),
    Column("median", lambda c: f"{c.rate['value']:.1f} {c.unit}", "median over the rounds;"),
    Column("interval", lambda c: interval(c.rate, 1), "interval: 95 %, over visits and rounds;"),
    Column("best", lambda c: f"{c.best:.1f}", "best: of all samples"),
)


class Ridge(NamedTuple):
    """A ridge, of the ceilings or as kernels show it; None: undecided, and `remark` says why.

    ceilings  that of the ceilings, in FLOP/byte; flat: FLOP/s where the roof is level
    """

    record: str
    threads: int
    dtype: str
    of: str
    ridge: Mapping[str, float] | None
    ceilings: float
    flat: float
    remark: str

    @property
    def group(self) -> tuple[Any, ...]:
        return self.threads, self.dtype, self.ceilings


RIDGE: Column[Ridge] = Column("ridge [95 %]", lambda r: interval(r.ridge) if r.ridge else "undecided")

RIDGES: Sequence[Column[Ridge]] = (
    Column("threads", lambda r: str(r.threads), once=True),
    Column("dtype", lambda r: r.dtype, left=True, once=True),
    Column("of", lambda r: r.of, left=True),
    RIDGE,
    Column("of ceilings'", lambda r: f"{r.ridge['value'] / r.ceilings:.2f}" if r.ridge else "-"),
    Column("levels off at", lambda r: f"{r.flat / 1e9:.1f} GFLOP/s" if r.ridge else "-"),
    Column("remark", lambda r: r.remark, left=True),
)


def _stores(one: Measured) -> str:
    operation, _, flavour = one.row["operation"].partition("_")
    plain = "none" if operation == "read" else "regular"
    return {"": plain, "nt": "non-temporal"}.get(flavour, f"none; {flavour} streams")


def _write_allocate(one: Measured) -> str:
    ratio = one.metrics["gbps_write_allocate"]["value"] / one.metrics["gbps"]["value"]
    return f"{one.metrics['best_gbps'] * ratio:.2f}"


def _pages(one: Measured) -> str:
    share = one.row["huge_pages"]
    if share is None:
        return "-"
    return "2 MiB" if share > 0.95 else "4 KiB" if share < 0.05 else f"{100 * share:.0f} % of 2 MiB"


BANDWIDTHS: Sequence[Column[Measured]] = (
    Column("kernel", lambda o: o.row["operation"].partition("_")[0], left=True),
    Column("stores", _stores, left=True),
    Column("backend", lambda o: "{backend}/{isa}".format_map(o.row), left=True),
    THREADS,
    Column("level", lambda o: o.row["level"], left=True),
    Column("MiB/array", lambda o: f"{o.row['dims']['n'] * 8 / 2**20:.3g}"),
    Column("pages", _pages),
    Column(
        "best GB/s",
        lambda o: f"{o.metrics['best_gbps']:.2f}",
        "GB/s = 1e9 bytes/s. best and median count STREAM's bytes;",
    ),
    Column("+ write-allocate", _write_allocate, "+ write-allocate adds the lines that regular stores read first."),
    Column("median", lambda o: f"{o.metrics['gbps']['value']:.2f}"),
    Column("interval", lambda o: spread(o.metrics["gbps"])),
    Column("samples", lambda o: str(len(o.row["seconds"]))),
)


# --- beside other libraries: entries of bench.report.libraries


def comparison_columns(backends: Sequence[str]) -> Sequence[Column[Entry]]:
    """Per cent of the bound, by backend."""

    def percent(backend: str) -> Column[Entry]:
        return Column(backend, lambda e: _percent(e["percent"].get(backend)))

    return (
        Column("operation", lambda e: e["operation"], left=True),
        Column("shape", lambda e: sizes(e["dims"])),
        Column(
            "bound",
            lambda e: "-" if e["bound_gflops"] is None else f"{e['bound_gflops']:.1f}",
            "bound: min(peak, FLOP/B x read bandwidth) in GFLOP/s, medians. "
            "Per cent: median over rounds of the rate over the roof of the same round.",
        ),
        *map(percent, backends),
        Column(
            "C / best",
            lambda e: ratio(e["over_best"]),
            "C / best: speed of C over the fastest library's, medians of samples taken in turn; weights are cold.",
        ),
        Column("best library", lambda e: e["best_library"], left=True),
    )


RATIOS = {"over_best": "C / best library", "numba_over_c": "Numba / C"}


def _by_m(name: str, lengths: Sequence[int], digits: int) -> Sequence[Column[Entry]]:
    """A column per m of the mapping entry[name], whose keys are texts."""

    def column(m: int) -> Column[Entry]:
        return Column(f"m = {m}", lambda e: f"{e[name][str(m)]:.{digits}f}" if str(m) in e[name] else "-")

    return [column(m) for m in lengths]


def mean_columns(lengths: Sequence[int]) -> Sequence[Column[Entry]]:
    """Geometric means of speed, at every m and over all."""
    return (
        Column("threads", lambda e: str(e["threads"])),
        Column("types", lambda e: e["types"], left=True),
        Column("class", lambda e: e["class"], left=True),
        Column("ratio", lambda e: RATIOS[e["ratio"]], left=True),
        *_by_m("by_m", lengths, 2),
        Column("all", lambda e: f"{e['all']:.2f}"),
    )


def cost_columns(lengths: Sequence[int]) -> Sequence[Column[Entry]]:
    """Seconds per FLOP over the smallest m's, as m grows."""
    return (
        Column("threads", lambda e: str(e["threads"])),
        Column("types", lambda e: e["types"], left=True),
        Column("n x k", lambda e: f"{e['n']}x{e['k']}"),
        *_by_m("relative", lengths, 3),
    )
