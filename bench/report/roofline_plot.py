"""The roofline as a picture: log-log, one panel per thread count and dtype, the y axis ending at the peak.

Where integers were multiplied, too, their types' roofs are drawn in the panel of the type that they are summed in.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.errors import BadInput
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.roofs import peak_label, peak_unit
from bench.record.row import arithmetic, family
from bench.report.labels import Labels, Place
from bench.report.plots import LOOKS, literal, plt, write
from bench.report.text import interval, of_threads
from kernels.operations import OPERATIONS, SCALAR_GEMMS
from kernels.types import TYPES

ANNOTATED_M = (1, 8, 32, 128, 512)
BESIDE = 1.03  # contestants with one intensity stand side by side, so that each one's whiskers can be seen
ABOVE = 1.25  # of the peak: where the y axis ends
M_PLACES = ((0, "center"), (-4, "right"), (4, "left"))
SHORT = 110  # characters of a reason


class Point(NamedTuple):
    """A kernel row: whose, where, rows of activations, operation."""

    contestant: str
    intensity: float
    gflops: Interval
    m: int
    operation: str


def peak_text(type_: str, isa: str, rate: float) -> str:
    """ "FMA peak f32 avx2: 98 GFLOP/s"."""
    return f"{peak_label(type_, isa)}: {rate / 1e9:.0f} {peak_unit(type_)}"


def _points(metrics: Metrics, threads: int, dtype: str) -> tuple[list[Point], list[Point]]:
    """Products with cold weights, and pointwise operations."""
    cold, pointwise = [], []
    for row, f in metrics.pairs:
        if (row["kind"], row["threads"], arithmetic(row)) != ("kernel", threads, dtype):
            continue
        rate, m = Interval(**f["gflops"]), row["dims"].get("m", 1)
        point = Point(family(row), f["intensity"], rate, m, row["operation"])
        if OPERATIONS[row["operation"]].terms is None:
            pointwise.append(point)
        elif row["cold"] and row["operation"] not in SCALAR_GEMMS:  # they would stretch the axis
            cold.append(point)
    return cold, pointwise


class Panel:
    """One thread count and type. draw() comes first; label() when the page is laid out, for it measures."""

    def __init__(self, axes: Axes, metrics: Metrics, threads: int, dtype: str) -> None:
        self.axes, self.metrics, self.threads, self.dtype = axes, metrics, threads, dtype
        self.roofs = metrics.roofs[threads]
        found = self.roofs.peak(dtype, metrics.record["session"]["isa"])
        assert found, "roofline() draws only what has a peak"
        self.isa, self.top = found[0], found[1].value / 1e9
        self.ridge = self.roofs.ridges[dtype, self.isa]
        integers = dict.fromkeys(t for t, _ in self.roofs.peaks if t != dtype and TYPES[t].accumulator == dtype)
        peaks = [(t, peak) for t in integers if (peak := self.roofs.peak(t, self.isa))]
        self.others = {peak_text(t, isa, of.value): of.value / 1e9 for t, (isa, of) in peaks}
        self.highest = max([self.top, *self.others.values()])
        self.points, self.pointwise = _points(metrics, threads, dtype)

    def draw(self) -> None:
        axes, both = self.axes, self.points + self.pointwise
        slope = self.roofs.bandwidths["DRAM"].value / 1e9
        left = min([p.intensity for p in both] + [self.ridge.value / 16]) / 1.5
        right = max([p.intensity for p in both] + [self.ridge.value * 16, 2 * self.highest / slope]) * 1.5
        axes.set(
            xscale="log",
            yscale="log",
            xlim=(left, right),
            ylim=(
                min([p.gflops.value for p in both] + [left * slope]) / 2,
                max([p.gflops.value for p in both] + [self.highest]) * ABOVE,
            ),
            xlabel="arithmetic intensity (FLOP per byte from memory)",
            ylabel=f"GFLOP/s{' (of integers GOP/s)' * bool(self.others)}, median of visits with 95 % interval",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(True, which="major", color="0.92", lw=0.6)
        axes.axvspan(self.ridge.low, self.ridge.high, color="0.88", zorder=0)
        axes.axvline(self.ridge.value, color="0.45", lw=0.8, ls="--", zorder=0)
        x = np.geomspace(left, right, 300)
        for level, rate in self.roofs.bandwidths.items():
            dram = level == "DRAM"
            line = np.minimum(x * rate.value / 1e9, self.top if dram else self.highest)
            axes.plot(x, line, color="black" if dram else "0.75", lw=1.8 if dram else 0.8, zorder=1 + dram)
        for peak in self.others.values():
            axes.plot(x, np.minimum(x * slope, peak), color="black", lw=1.0, ls="--", zorder=1.5)
        _products(axes, self.metrics, self.points, self.threads, self.dtype)
        _pointwise(axes, self.pointwise)
        if both and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=3, frameon=False)
        axes.set_title(f"{self.dtype}, {of_threads(self.threads)}", loc="right", fontsize=10)
        axes.set_title(_note(self.metrics), loc="left", fontsize=7, color="0.35")

    def label(self) -> None:
        labels, top, ridge = Labels(self.axes), self.top, self.ridge
        right, bottom = self.axes.get_xlim()[1], self.axes.get_ylim()[0]
        x = np.geomspace(*self.axes.get_xlim(), 150)
        for rate in self.roofs.bandwidths.values():
            labels.avoid([(at, at * rate.value / 1e9) for at in x if bottom < at * rate.value / 1e9 < self.highest])
        labels.avoid([(ridge.value, at) for at in np.geomspace(bottom, top, 150)])
        labels.avoid([(p.intensity, p.gflops.value) for p in self.points + self.pointwise])
        peaks = {peak_text(self.dtype, self.isa, 1e9 * top): top, **self.others}
        for peak in peaks.values():
            labels.avoid([(at, peak) for at in np.geomspace(ridge.value, right, 150)])
        for text, peak in sorted(peaks.items(), key=lambda item: -item[1]):
            beside = [Place((right, peak), (-4, y), "right", "bottom" if y > 0 else "top") for y in (3, -3)]
            labels.put(text, beside, 8, "black")
        text = f"ridge {ridge.value:.1f} [{ridge.low:.1f}, {ridge.high:.1f}]"
        sides = [(ridge.low, -3, "right"), (ridge.high, 4, "left")]
        upright = [Place((at, bottom), (off, y), side, "bottom", 90) for y in (18, 60, 110) for at, off, side in sides]
        labels.put(text, upright, 8, "black")
        for level, rate in sorted(self.roofs.bandwidths.items(), key=lambda item: item[0] != "DRAM"):
            self._label_slope(labels, level, rate.value / 1e9)
        for m in sorted({p.m for p in self.points} & set(ANNOTATED_M)):
            centre = float(np.exp(np.mean([np.log(p.intensity) for p in self.points if p.m == m])))
            near = [Place((centre, bottom), (x, 2), across, "bottom") for x, across in M_PLACES]
            labels.put(f"m={m}", near, 7, "0.3")
        _name(labels, self.pointwise)

    def _label_slope(self, labels: Labels, level: str, rate: float) -> None:
        """Along a roof of reads, as far up as there is room."""
        low = max(self.axes.get_xlim()[0], self.axes.get_ylim()[0] / rate)
        if low >= self.top / rate:
            return
        turn = labels.angle
        off = (-4 * np.sin(np.radians(turn)), 4 * np.cos(np.radians(turn)))
        ends = np.geomspace(self.top / rate, low, 40)[2:-6]
        places = [Place((end, end * rate), off, "right", "baseline", turn) for end in ends]
        labels.put(f"{level} read {rate:.0f} GB/s", places, 7.5, "black" if level == "DRAM" else "0.4")


def _products(axes: Axes, metrics: Metrics, points: Sequence[Point], threads: int, dtype: str) -> None:
    present = [name for name in LOOKS if any(p.contestant == name for p in points)]
    for place, contestant in enumerate(present):
        colour, marker = LOOKS[contestant]
        label = contestant
        for measured in metrics.measured_ridges:
            if (measured["backend"], measured["threads"], measured["types"]) == (contestant, threads, dtype):
                label += f": ridge {interval(measured['ridge'], 1) if measured['ridge'] else 'undecided'}"
        shift = BESIDE ** (place - (len(present) - 1) / 2)
        mine = [p for p in points if p.contestant == contestant]
        _scatter(axes, mine, shift, color=colour, marker=marker, markersize=4.5, mew=0, alpha=0.8, label=label)


def _scatter(axes: Axes, points: Sequence[Point], shift: float, **looks: Any) -> None:
    """Medians with whiskers."""
    rates = [p.gflops.shown for p in points]
    reach = [[r.value - r.low for r in rates], [r.high - r.value for r in rates]]
    xs, ys = [shift * p.intensity for p in points], [r.value for r in rates]
    drawn = axes.errorbar(xs, ys, yerr=reach, ls="none", elinewidth=0.7, capsize=0, zorder=3, **looks)
    for whiskers in drawn[2]:
        whiskers.set_alpha(0.4)


def _pointwise(axes: Axes, points: Sequence[Point]) -> None:
    """Softmax, norms and the like, hollow: their bytes come from a cache, and its roof is theirs."""
    for contestant in dict.fromkeys(p.contestant for p in points):
        colour, marker = LOOKS.get(contestant, ("0.5", "o"))
        looks = {"color": colour, "marker": marker, "markersize": 4.5, "mfc": "none", "mew": 0.8}
        mine = [p for p in points if p.contestant == contestant]
        _scatter(axes, mine, 1.0, label=f"{contestant}: pointwise, in cache", **looks)


def _name(labels: Labels, points: Sequence[Point]) -> None:
    """Pointwise operations, once where their points lie together."""
    near = {p: (f"{p.intensity:.1g}", p.operation.split("_")[0]) for p in points}  # sizes and forms differ little
    for place in dict.fromkeys(near.values()):
        here = sorted((p for p in points if near[p] == place), key=lambda p: p.gflops.value)
        sides = [
            (-6, 0, "right", "center"),
            (6, 0, "left", "center"),
            (0, -6, "center", "top"),
            (0, 6, "center", "bottom"),
        ]
        at = [(p.intensity, p.gflops.value) for p in (here[0], here[-1], here[len(here) // 2])]
        places = [Place(xy, (x, y), across, up) for xy in at for x, y, across, up in sides]
        labels.put("\n".join(dict.fromkeys(p.operation for p in here)), places, 5.5, "0.3")


def roofline(records: Sequence[Metrics], stem: Path) -> list[Path]:
    """Draws every panel of every record and writes stem.png and stem.svg; returns the two paths.

    Raises BadInput where they can't be written, and where no record has roofs to draw.
    """
    panels = [
        (metrics, threads, dtype)
        for metrics in records
        for threads, roofs in metrics.roofs.items()
        for dtype in dict.fromkeys(d for d, _ in roofs.ridges if TYPES[d].native)
    ]
    if not panels:
        raise BadInput("no record holds both a peak and a DRAM read roof")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(7.6 * columns, 5.9 * rows), squeeze=False, layout="constrained")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    drawn = [Panel(axes, *panel) for axes, panel in zip(grid.flat, panels, strict=False)]
    for panel in drawn:
        panel.draw()
    literal(figure)
    figure.draw_without_rendering()  # lays out
    figure.set_layout_engine("none")
    for panel in drawn:
        panel.label()
    return write(figure, stem, dpi=160)


def _note(metrics: Metrics) -> str:
    """What was measured where and when, and how far it can be relied on."""
    machine, trust = metrics.record["machine"], metrics.trust
    grade = f"trust {trust['grade']}" if trust["grade"] else "no trust grade"
    first = f"{machine['cpu']['model']} ({machine['id'][-8:]}), {metrics.record['ended'][:10]}, {grade}"
    said = [*trust["reasons"][:1], *metrics.stand_ins[:1]]
    return "\n".join([first, *(shorten(reason, SHORT, placeholder=" ...") for reason in said)])
