"""Speedup over density: of each format the ceiling that its bytes set and what was measured, and where both cross 1."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from bench.escape.looks import headline
from bench.escape.sparsity.figures import DENSITIES, FORMATS, Curve
from bench.escape.sparsity.tables import backend
from bench.record.metrics import Metrics
from bench.report.plots import plt, write
from bench.report.text import of_threads

# colour-blind safe (Okabe and Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = {"c": "o", "numba": "s"}
FEWER = ("^", "v", "<", ">")
"""Of dense matrices with fewer neurons, all black."""


def draw(metrics: Metrics, entries: Sequence[Curve], stem: Path) -> list[Path]:
    """A panel per thread count. Writes STEM-sparsity.png and .svg and returns the two paths. Raises BadInput."""
    counts = sorted({curve.threads for curve in entries})
    figure, panels = plt.subplots(
        1, len(counts), figsize=(max(9.5, 7.6 * len(counts)), 6.6), layout="constrained", squeeze=False, sharey=True
    )
    colours = dict(zip((form.name for form in FORMATS), COLOURS, strict=False))
    fewer = dict(zip(sorted({c.format for c in entries} - set(colours)), FEWER * len(entries), strict=False))
    for axes, threads in zip(panels[0], counts, strict=True):
        axes.axhline(1, color="0.4", lw=1)
        labelled = set()
        for curve in sorted(
            (c for c in entries if c.threads == threads), key=lambda c: [*colours, *fewer].index(c.format)
        ):
            x = [100 * p.density for p in curve.points]
            y = [p.speedup.value for p in curve.points]
            colour, own = colours.get(curve.format, "black"), curve.backend in MARKERS
            marker = fewer.get(curve.format) or MARKERS.get(curve.backend, "x")
            error = [[p.speedup.value - p.speedup.shown.low for p in curve.points]]
            error.append([p.speedup.shown.high - p.speedup.value for p in curve.points])
            name = f"{curve.format}, {backend(curve)}"
            axes.errorbar(
                x,
                y,
                yerr=error,
                fmt=f"{'-' if own else ':'}{marker}",
                color=colour,
                ms=5,
                lw=1.5,
                capsize=2,
                label=name,
            )
            if own and curve.format not in labelled:
                labelled.add(curve.format)
                axes.plot(x, [p.ceiling for p in curve.points], "--", color=colour, lw=1, alpha=0.8)
            if crossing := curve.crossover:
                axes.axvspan(100 * crossing.low, 100 * crossing.high, ymax=0.03, color=colour, alpha=0.5, lw=0)
        axes.set(xscale="log", yscale="log", xlabel="% of the weights that aren't zero", title=of_threads(threads))
        axes.xaxis.set_major_locator(FixedLocator(DENSITIES))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16, 32]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, color="0.93", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    named = {name: line for axes in panels[0] for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    panels[0][0].set_ylabel("times as fast as dense f32 in the same rounds")
    headline(
        figure,
        metrics,
        "What leaving zeros out gives, weights from memory",
        "dashed: the ceiling that bytes set; bars and bands at the bottom: 95 % intervals, of the crossing with 1",
    )
    return write(figure, stem.with_name(f"{stem.name}-sparsity"), dpi=140)
