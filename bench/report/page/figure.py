"""The rooflines of all machines for a paper: SVG by matplotlib, and PGF, which LaTeX sets in the paper's own type."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bench.errors import BadInput
from bench.quantities import spanned
from bench.record.intervals import Interval
from bench.report.page.columns import Machine, Report
from bench.report.page.document import axes, peaks
from bench.report.page.looks import LOOKS, Look
from bench.report.page.placed import Placed, placed
from bench.report.text import of_threads

LEVEL = "DRAM"
LONGEST = 40  # letters of a machine's name in a legend
Point = tuple[float, float]


class Line(NamedTuple):
    """A machine's roof and its points: rates in GFLOP/s and GB/s."""

    machine: Machine
    look: Look
    threads: int
    peak: Interval
    read: Interval
    ridge: Interval
    points: Sequence[Placed]

    def roof(self, low: float, high: float, which: str = "value") -> list[Point]:
        """At the ends and at the ridge."""
        peak, read = (getattr(of, which) for of in (self.peak, self.read))
        return [(x, min(peak, x * read)) for x in (low, peak / read, high)]


class Drawing(NamedTuple):
    """What is drawn: lines, and the exponents of both axes' ends."""

    type: str
    role: str
    lines: Sequence[Line]
    ends: Sequence[int]


def drawing(of: Report) -> Drawing:
    """Of f32, or of the first type that has roofs, on all cores where all machines have that. Raises BadInput where no
    record has both a peak and a memory roof.
    """
    known = axes(of.machines)
    names = [name.rsplit(" ", 2) for name in known if name.endswith(f" {LEVEL}")]
    if not names:
        raise BadInput("no record holds both a peak and a DRAM read roof")

    def having(role: str, type_: str) -> int:
        return sum(_line(i, m, role, type_, ()) is not None for i, m in enumerate(of.machines))

    role, type_, _ = max(names, key=lambda name: (name[1] == "f32", having(*name[:2]), name[0] == "all"))
    rows = [one for one in placed(of) if _shown(one, role, type_)]
    lines = [_line(i, machine, role, type_, rows) for i, machine in enumerate(of.machines)]
    return Drawing(type_, role, [line for line in lines if line], known[f"{role} {type_} {LEVEL}"])


def _shown(one: Placed, role: str, type_: str) -> bool:
    return (one.key.role, one.roof, one.row["level"], one.key.backend) == (role, type_, LEVEL, "c")


def _line(index: int, machine: Machine, role: str, type_: str, rows: Sequence[Placed]) -> Line | None:
    for threads, roofs in machine.metrics.roofs.items():
        known = peaks(roofs, machine)
        if machine.role_of(threads) == role and type_ in known and LEVEL in roofs.bandwidths:
            isa, peak = known[type_]
            rates = peak.scaled(1e-9), roofs.bandwidths[LEVEL].scaled(1e-9), roofs.ridge((type_, isa), LEVEL)
            mine = [one for one in rows if one.machine is machine]
            return Line(machine, LOOKS[index], threads, *rates, mine)
    return None


def _name(line: Line) -> str:
    machine = line.machine
    isa = machine.record["session"]["isa"]
    known = "" if isa in machine.name else f", {isa}"
    name = machine.name if len(machine.name) <= LONGEST else f"{machine.name[: LONGEST - 3]}..."
    return f"{machine.letter}: {name}{known}, {of_threads(line.threads)}"


X = "arithmetic intensity (FLOP per byte from memory)"
Y = "GFLOP/s"


def svg(of: Report) -> str:
    """matplotlib's, texts as texts."""
    try:
        from bench.report.plots import literal, plt
    except ModuleNotFoundError as error:
        raise BadInput(f"an SVG figure needs {error.name}: pip install 'ridgeline[pictures]'") from error
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.colors import to_rgba

    found = drawing(of)
    left, right, bottom, top = (10.0**end for end in found.ends)
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ridgeline"}):
        figure, of_axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        of_axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top), xlabel=X, ylabel=Y)
        of_axes.grid(True, which="major", color="0.9", lw=0.6)
        for line in found.lines:
            colour, dash = line.look.light, _dash(line.look)
            xs = sorted({x for which in ("value", "low", "high") for x, _ in line.roof(left, right, which)})
            low, high = ([min(getattr(line.peak, w), x * getattr(line.read, w)) for x in xs] for w in ("low", "high"))
            of_axes.fill_between(xs, low, high, color=to_rgba(colour, 0.15), lw=0)
            of_axes.axvspan(line.ridge.low, line.ridge.high, color=to_rgba(colour, 0.08), lw=0)
            of_axes.plot(*zip(*line.roof(left, right), strict=True), color=colour, lw=1.4, ls=dash)
            points = [(p.figures["intensity"], p.figures["gflops"]) for p in line.points]
            spans = [Interval(**g).shown for _, g in points]
            whiskers = [[of.value - of.low for of in spans], [of.high - of.value for of in spans]]
            looks: dict[str, Any] = {
                "fmt": line.look.marker,
                "color": colour,
                "ms": 4,
                "mew": 0,
                "elinewidth": 0.6,
                "alpha": 0.85,
            }
            name = f"{_name(line)}: ridge {spanned(line.ridge.value, line.ridge.low, line.ridge.high)}"
            of_axes.errorbar([x for x, _ in points], [g["value"] for _, g in points], whiskers, label=name, **looks)
        of_axes.legend(fontsize=7, loc="lower right", frameon=False)
        literal(figure)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
        plt.close(figure)
    return text.getvalue()


def _dash(look: Look) -> object:
    lengths = [float(one) / 1.5 for one in look.dash.split()]
    return (0, lengths) if lengths else "-"


# --- PGF


def pgf(of: Report) -> str:
    """A picture of pgfplots: LaTeX with \\usepackage{pgfplots} takes it by \\input."""
    return "\n".join(_pgf(drawing(of))) + "\n"


MARKS = {"o": "*", "s": "square*", "^": "triangle*", "D": "diamond*", "v": "triangle*", "P": "+", "X": "x"}
MARKS |= {"*": "star", "p": "pentagon*", "h": "otimes*"}


def _pgf(found: Drawing) -> Iterator[str]:
    left, right, bottom, top = (10.0**end for end in found.ends)
    yield "% made by python -m bench.report; needs \\usepackage{pgfplots} and \\pgfplotsset{compat=1.18}"
    yield "\\begin{tikzpicture}"
    for i, line in enumerate(found.lines):
        yield f"\\definecolor{{machine{i}}}{{HTML}}{{{line.look.light[1:]}}}"
    yield "\\begin{loglogaxis}[width=\\linewidth, height=0.66\\linewidth, grid=major, legend cell align=left,"
    yield "  legend style={draw=none, font=\\scriptsize, at={(0.5,-0.2)}, anchor=north},"
    yield f"  xmin={left:g}, xmax={right:g}, ymin={bottom:g}, ymax={top:g}, xlabel={{{tex(X)}}}, ylabel={{{tex(Y)}}}]"
    for i, line in enumerate(found.lines):
        yield from _pgf_line(i, line, left, right)
    yield "\\end{loglogaxis}"
    yield "\\end{tikzpicture}"


def _pgf_line(index: int, line: Line, left: float, right: float) -> Iterator[str]:
    colour = f"machine{index}"
    band = [*line.roof(left, right, "high"), *reversed(line.roof(left, right, "low"))]
    yield f"\\addplot[draw=none, fill={colour}, fill opacity=0.15, forget plot] coordinates {{{_coordinates(band)}}};"
    dash = line.look.dash.split()
    pattern = " ".join(f"{'on' if i % 2 == 0 else 'off'} {float(one) / 2:g}pt" for i, one in enumerate(dash))
    style = f", dash pattern={pattern}" if dash else ""
    yield f"\\addplot[{colour}, thick{style}] coordinates {{{_coordinates(line.roof(left, right))}}};"
    ridge = line.ridge
    yield f"\\addlegendentry{{{tex(_name(line))}: ridge {spanned(ridge.value, ridge.low, ridge.high)}}}"
    if line.points:
        turned = ", every mark/.append style={rotate=180}" if line.look.marker == "v" else ""
        style = f"only marks, mark={MARKS[line.look.marker]}, mark size=1.3pt, {colour}{turned}, forget plot"
        rates = [(p.figures["intensity"], p.figures["gflops"]["value"]) for p in line.points]
        yield f"\\addplot[{style}] coordinates {{{_coordinates(rates)}}};"


def _coordinates(points: Sequence[Point]) -> str:
    return " ".join(f"({x:.5g},{y:.5g})" for x, y in points)


_SPECIAL = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
_SPECIAL |= {sign: f"\\{sign}" for sign in "#$%&_{}"}
_SPECIAL |= {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}"}


def tex(text: str) -> str:
    """Text that LaTeX sets as it is; what isn't ASCII, by its number."""

    def one(match: re.Match[str]) -> str:
        sign = match.group()
        return _SPECIAL[sign] if sign in _SPECIAL else f"\\symbol{{{ord(sign)}}}"

    return re.sub(r"[\\~^#$%&_{}<>|]|[^\x20-\x7e]", one, text)
