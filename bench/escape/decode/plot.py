"""Whole models as bars: how many times as fast, beside how many times fewer the bytes are."""

from collections.abc import Sequence
from pathlib import Path

from bench.escape.decode.figures import Decoding
from bench.escape.looks import headline
from bench.escape.names import BACKENDS
from bench.record.metrics import Metrics
from bench.report.plots import LOOKS, plt, write
from bench.report.text import of_threads

WIDTH = 0.36  # of a bar; types are 1 apart


def draw(metrics: Metrics, entries: Sequence[Decoding], stem: Path) -> list[Path]:
    """A panel per thread count. Writes STEM-decode.png and .svg and returns the two paths. Raises BadInput."""
    counts = sorted({one.threads for one in entries})
    backends = list(dict.fromkeys(one.backend for one in entries))
    names = list(dict.fromkeys((one.type, one.activations) for one in entries))
    figure, panels = plt.subplots(
        1, len(counts), figsize=(max(9.5, 5.6 * len(counts)), 4.8), layout="constrained", squeeze=False, sharey=True
    )
    for axes, threads in zip(panels[0], counts, strict=True):
        for one in (one for one in entries if one.threads == threads):
            at = names.index((one.type, one.activations))
            x = at + (backends.index(one.backend) - (len(backends) - 1) / 2) * WIDTH * 1.06
            rate = one.speedup.shown
            axes.bar(x, rate.value, WIDTH, color=LOOKS[one.backend][0], zorder=2)
            around = [[rate.value - rate.low], [rate.high - rate.value]]
            axes.errorbar(x, rate.value, yerr=around, color="black", lw=0.9, capsize=2.5, zorder=3)
            axes.annotate(
                f"{rate.value:.2f}x\n{100 * one.achieved:.0f} %",
                (x, 0),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                color="white",
                fontsize=8.5,
                zorder=4,
            )
            axes.plot([at - 0.45, at + 0.45], [one.byte_ratio] * 2, color="black", lw=1.6, zorder=3)
        axes.set(title=of_threads(threads))
        axes.set_xticks(
            range(len(names)), [f"{name}\n{'8-bit' if bits == '8' else 'f32'} activations" for name, bits in names]
        )
        axes.tick_params(axis="x", length=0)
        axes.grid(True, axis="y", color="0.93", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("times as fast as f32 in the same rounds")
    for backend in backends:
        panels[0][0].bar([0], [0], color=LOOKS[backend][0], label=BACKENDS[backend])
    panels[0][0].plot([], [], color="black", lw=1.6, label="bytes of f32 / bytes read")
    panels[0][0].legend(loc="upper left", frameon=False, fontsize=9)
    what = f"{entries[0].layer}: how much of the byte ratio became speed"
    headline(figure, metrics, what, "in the bars: speedup and its share of the byte ratio; 95 % intervals")
    return write(figure, stem.with_name(f"{stem.name}-decode"), dpi=140)
