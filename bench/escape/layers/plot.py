"""How much of the byte ratio became speed: each type's speedups over its byte ratio, and the line on which all did."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from bench.escape.layers.figures import Way
from bench.escape.layers.summary import summaries
from bench.escape.looks import headline
from bench.escape.names import BACKENDS
from bench.record.metrics import Metrics
from bench.report.plots import LOOKS, plt, write
from bench.report.text import of_threads

PAPER_RATIO = 8.0
"""Of INT4, in bytes and in time: Gholami et al. 2024."""
WIDTH = 0.035  # between two contestants of one byte ratio, as a share of it


def draw(metrics: Metrics, entries: Sequence[Way], stem: Path) -> list[Path]:
    """A panel per thread count. Writes STEM-layers.png and .svg and returns the two paths. Raises BadInput."""
    counts = sorted({way.threads for way in entries})
    figure, panels = plt.subplots(
        1, len(counts), figsize=(max(9.5, 7.2 * len(counts)), 6.2), layout="constrained", squeeze=False
    )
    contestants = list(dict.fromkeys((w.backend, w.activations, w.packed) for w in entries))
    most = max(PAPER_RATIO, *(way.byte_ratio for way in entries)) * 1.35
    least = min(1.0, *(way.speedup.value for way in entries)) * 0.9
    for axes, threads in zip(panels[0], counts, strict=True):
        axes.plot([1, most], [1, most], color="0.4", lw=1.2, zorder=1)
        axes.text(
            4.7,
            4.85,
            "all of the byte ratio",
            rotation=45,
            rotation_mode="anchor",
            transform_rotates_text=True,
            fontsize=8.5,
            va="bottom",
        )
        axes.axhline(1, color="0.75", lw=0.8, zorder=1)
        axes.scatter(PAPER_RATIO, PAPER_RATIO, marker="*", s=190, c="#F0E442", edgecolors="black", lw=0.8, zorder=5)
        axes.annotate(
            "INT4, the paper",
            (PAPER_RATIO, PAPER_RATIO),
            xytext=(-9, 3),
            textcoords="offset points",
            fontsize=8.5,
            ha="right",
        )
        for s in (s for s in summaries(entries) if s.one.threads == threads):
            one = s.one
            place = contestants.index((one.backend, one.activations, one.packed)) - (len(contestants) - 1) / 2
            x = s.byte_ratio * (1 + WIDTH * place)
            colour, marker = LOOKS[one.backend]
            filled = one.activations == "8"
            layers = [way.speedup.value for way in entries if way.contestant == one.contestant]
            axes.plot([x] * len(layers), layers, "_", color=colour, ms=7, mew=1, alpha=0.6, zorder=2)
            axes.errorbar(
                x,
                s.speedup.value,
                yerr=[[s.speedup.value - s.speedup.shown.low], [s.speedup.shown.high - s.speedup.value]],
                fmt=marker if one.packed else "x",
                ms=8,
                color=colour,
                mfc=colour if filled else "white",
                capsize=2.5,
                lw=1,
                zorder=4,
            )
        named: dict[str, float] = {way.type: way.byte_ratio for way in entries}
        for name, ratio in named.items():
            axes.annotate(name, (ratio, least), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=9.5)
        axes.set(
            xscale="log",
            yscale="log",
            xlim=(1.5, most),
            ylim=(least, most),
            xlabel="bytes of f32 weights / bytes stored, scales included",
            ylabel="times as fast as f32 in the same rounds",
            title=of_threads(threads),
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 4, 6, 8, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(True, color="0.93", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for backend, activations, packed in contestants:
        colour, marker = LOOKS[backend]
        label = f"{BACKENDS[backend]}, {'8-bit' if activations == '8' else 'f32'} activations" + (
            "" if packed else ", plain weights"
        )
        fill = colour if activations == "8" else "white"
        panels[0][0].plot([], [], marker if packed else "x", ms=8, color=colour, mfc=fill, label=label)
    panels[0][0].plot([], [], "_", color="0.4", ms=7, label="one layer")
    panels[0][0].legend(loc="upper left", frameon=False, fontsize=9)
    headline(
        figure,
        metrics,
        "One token's products of BERT-Base and GPT-2, weights from memory: how much of the byte ratio became speed",
        "marks are geometric means over layers with 95 % intervals",
    )
    return write(figure, stem.with_name(f"{stem.name}-layers"), dpi=140)
