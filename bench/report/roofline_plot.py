"""The roofline as a picture: log-log, one panel per thread count and dtype, the y axis ending at the peak."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.errors import BadInput
from bench.record.metrics import Metrics
from bench.record.row import arithmetic, family
from bench.report.plots import LOOKS, plt, write
from bench.report.text import interval
from kernels.operations import OPERATIONS, SCALAR_GEMMS

ANNOTATED_M = (1, 8, 32, 128, 512)


def _panel(axes: Axes, metrics: Metrics, threads: int, dtype: str) -> None:
    roofs = metrics.roofs[threads]
    found = roofs.peak(dtype, metrics.record["session"]["isa"])
    assert found, "roofline() draws only what has a peak"
    isa, peak = found
    ridge = roofs.ridges[dtype, isa]
    points = [
        (family(row), f["intensity"], f["gflops"]["value"], row["dims"].get("m", 1))
        for row, f in metrics.pairs
        if (row["kind"], row["threads"], arithmetic(row)) == ("kernel", threads, dtype)
        and row["cold"]
        and row["operation"] not in SCALAR_GEMMS  # they would stretch the axis
    ]
    pointwise = [
        (row["backend"], f["intensity"], f["gflops"]["value"], row["operation"])
        for row, f in metrics.pairs
        if (row["kind"], row["threads"], arithmetic(row)) == ("kernel", threads, dtype)
        and OPERATIONS[row["operation"]].terms is None
    ]
    top, bandwidth = peak.value / 1e9, roofs.bandwidths["DRAM"]
    left = min([p[1] for p in (*points, *pointwise)] + [ridge.value / 16]) / 1.5
    right = max([p[1] for p in (*points, *pointwise)] + [ridge.value * 16]) * 1.5
    bottom = min([p[2] for p in (*points, *pointwise)] + [left * bandwidth.value / 1e9]) / 1.6

    x = np.geomspace(left, right, 300)
    for place, (level, rate) in enumerate(sorted(roofs.bandwidths.items(), key=lambda item: item[1].value)):
        line = np.minimum(x * rate.value / 1e9, top)
        dram = level == "DRAM"
        axes.plot(x, line, color="black" if dram else "0.75", lw=1.8 if dram else 0.8, zorder=2 if dram else 1)
        at = max(left * 1.1, bottom * 1.1 / (rate.value / 1e9)) * 1.9 ** (place % 3)  # neighbours' labels side by side
        if at * rate.value / 1e9 < top * 0.8:
            axes.annotate(
                f"{level} read {rate.value / 1e9:.0f} GB/s",
                (at, at * rate.value / 1e9),
                rotation=_angle(axes, left, right, bottom, top * 1.25),
                rotation_mode="anchor",
                xytext=(0, 4),
                textcoords="offset points",
                fontsize=7.5,
                color="black" if dram else "0.5",
            )
    axes.annotate(
        f"FMA peak {dtype} {isa}: {top:.0f} GFLOP/s",
        (right, top),
        ha="right",
        va="bottom",
        fontsize=8,
        xytext=(-4, 3),
        textcoords="offset points",
    )
    axes.axvspan(ridge.low, ridge.high, color="0.85", zorder=0)
    axes.axvline(ridge.value, color="0.45", lw=0.8, ls="--", zorder=0)
    axes.annotate(
        f"ridge {ridge.value:.1f} [{ridge.low:.1f}, {ridge.high:.1f}]",
        (ridge.low, bottom),
        rotation=90,
        fontsize=8,
        ha="right",
        va="bottom",
        xytext=(-2, 16),
        textcoords="offset points",
    )
    for backend, (colour, marker) in LOOKS.items():
        mine = [p for p in points if p[0] == backend]
        if not mine:
            continue
        _, xs, ys, _ = zip(*mine, strict=True)
        label = backend
        for measured in metrics.measured_ridges:
            if (measured["backend"], measured["threads"], measured["types"]) == (backend, threads, dtype):
                measured_at = measured["ridge"]
                label += f": ridge {interval(measured_at, 1)}" if measured_at else ": ridge undecided"
        axes.scatter(xs, ys, s=22, c=colour, marker=marker, alpha=0.75, lw=0, label=label, zorder=3)
    _pointwise(axes, pointwise)
    for m in sorted({p[3] for p in points} & set(ANNOTATED_M)):
        centre = np.exp(np.mean([np.log(p[1]) for p in points if p[3] == m]))
        axes.annotate(
            f"m={m}",
            (centre, bottom),
            ha="center",
            va="bottom",
            fontsize=7,
            color="0.3",
            xytext=(0, 1),
            textcoords="offset points",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        ylim=(bottom, top * 1.25),
        xlabel="arithmetic intensity (FLOP per byte from memory)",
        ylabel="GFLOP/s",
        title=f"{dtype}, {threads} thread{'s' * (threads > 1)}",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color="0.92", lw=0.6)
    if points:
        axes.legend(
            fontsize=7.5, loc="lower right", frameon=True, framealpha=0.9, edgecolor="0.8", bbox_to_anchor=(1.0, 0.07)
        )


def _pointwise(axes: Axes, points: Sequence[tuple[str, float, float, str]]) -> None:
    """Softmax, norms and the like, hollow: their bytes come from a cache, and its roof is theirs."""
    for backend in dict.fromkeys(p[0] for p in points):
        _, xs, ys, _ = zip(*(p for p in points if p[0] == backend), strict=True)
        colour, marker = LOOKS[backend]
        label = f"{backend}: pointwise, in cache"
        axes.scatter(xs, ys, s=20, facecolors="none", edgecolors=colour, marker=marker, lw=0.8, label=label, zorder=3)
    places = {p: (f"{p[1]:.1g}", p[3].split("_")[0]) for p in points}  # sizes differ by a bias or two, forms little
    for place in dict.fromkeys(places.values()):
        here = [p for p in points if places[p] == place]
        names = "\n".join(dict.fromkeys(p[3] for p in here))
        axes.annotate(
            names,
            min((p[1:3] for p in here), key=lambda at: at[1]),
            ha="right",
            va="top",
            fontsize=5.5,
            color="0.4",
            xytext=(-5, 2),
            textcoords="offset points",
        )


def _angle(axes: Axes, left: float, right: float, bottom: float, top: float) -> float:
    """Degrees that a line of slope one has on the page."""
    box = axes.get_window_extent()
    return float(np.degrees(np.arctan2(box.height / np.log(top / bottom), box.width / np.log(right / left))))


def roofline(records: Sequence[Metrics], stem: Path) -> list[Path]:
    """Draws every panel of every record and writes stem.png and stem.svg; returns the two paths.

    Raises BadInput where they can't be written, and where no record has roofs to draw.
    """
    panels = [
        (metrics, threads, dtype)
        for metrics in records
        for threads, roofs in metrics.roofs.items()
        for dtype in dict.fromkeys(d for d, _ in roofs.ridges)
    ]
    if not panels:
        raise BadInput("no record holds both a peak and a DRAM read roof")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(7.6 * columns, 5.2 * rows), squeeze=False, layout="constrained")
    figure.canvas.draw()
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (metrics, threads, dtype) in zip(grid.flat, panels, strict=False):
        _panel(axes, metrics, threads, dtype)
        machine, trust = metrics.record["machine"], metrics.trust["grade"]
        note = f"{machine['cpu']['model']} ({machine['id'][-8:]}), {metrics.record['ended'][:10]}, trust {trust}"
        axes.annotate(
            note, (0, 1), xycoords="axes fraction", fontsize=7, color="0.4", xytext=(0, 3), textcoords="offset points"
        )
        axes.set_title(axes.get_title(), loc="right", fontsize=10)
        axes.set_title("")
    return write(figure, stem, dpi=160)
