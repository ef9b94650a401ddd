"""Working sets as curves: weights a second over bytes, with the caches that hold them."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.escape.chip.figures import LEVELS, Point
from bench.escape.looks import headline
from bench.escape.names import BACKENDS
from bench.quantities import size
from bench.record.metrics import Metrics
from bench.report.plots import plt, write
from bench.report.text import of_threads

# colour-blind safe (Okabe and Ito)
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def draw(metrics: Metrics, entries: Sequence[Point], stem: Path) -> list[Path]:
    """A panel per thread count. Writes STEM-chip.png and .svg and returns the two paths. Raises BadInput."""
    counts = sorted({point.threads for point in entries})
    names = list(dict.fromkeys((p.type, p.activations) for p in entries))
    figure, panels = plt.subplots(
        1, len(counts), figsize=(max(9.5, 7.6 * len(counts)), 5.6), layout="constrained", squeeze=False, sharey=True
    )
    for axes, threads in zip(panels[0], counts, strict=True):
        here = [p for p in entries if p.threads == threads]
        _levels(axes, here)
        for (name, activations), colour in zip(names, COLOURS * len(names), strict=False):
            curve = [p for p in here if (p.type, p.activations) == (name, activations)]
            if not curve:
                continue
            x, y = [p.bytes for p in curve], [p.weights.value for p in curve]
            label = name if name == "f32" else f"{name}, {'8-bit' if activations == '8' else 'f32'} activations"
            axes.plot(x, y, "o-", color=colour, ms=4, lw=1.4, label=label, zorder=3)
            low, high = ([getattr(p.weights.shown, end) for p in curve] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
            best = max(y[:-1], default=y[-1])
            axes.annotate(
                f"{y[-1]:.3g}; {best / y[-1]:.1f}x on chip",
                (x[-1], y[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=colour,
            )
        ticks = [2**n for n in range(10, 40, 2) if min(p.bytes for p in here) <= 2**n <= max(p.bytes for p in here)]
        axes.set(
            xscale="log", yscale="log", xlabel="bytes of stored weights, scales included", title=of_threads(threads)
        )
        axes.set_xlim(min(p.bytes for p in here) / 1.4, max(p.bytes for p in here) * 6)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, axis="y", color="0.93", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("1e9 weights a second, logarithmic")
    panels[0][0].legend(loc="lower center", frameon=False, fontsize=9)
    headline(
        figure,
        metrics,
        f"The same product over working sets, {BACKENDS[entries[0].backend]}: where fitting on chip pays, and how much",
        "bands are 95 % intervals",
    )
    return write(figure, stem.with_name(f"{stem.name}-chip"), dpi=140)


def _levels(axes: Axes, points: Sequence[Point]) -> None:
    """A line behind the last working set of each level, whichever curve it is of, and the level's name."""
    begin = min(p.bytes for p in points) / 1.4
    for level in LEVELS:
        within = [p.bytes for p in points if p.level == level]
        if not within:
            continue
        further = [p.bytes for p in points if LEVELS.index(p.level) > LEVELS.index(level)]
        end = (max(within) * min(further)) ** 0.5 if further else max(within) * 1.5
        if further:
            axes.axvline(end, color="0.75", lw=1, ls="--", zorder=1)
        axes.annotate(
            level,
            ((begin * end) ** 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=10,
            color="0.35",
        )
        begin = end
