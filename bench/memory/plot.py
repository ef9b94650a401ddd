"""Less memory against more time, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.memory.experiment import CLAIM
from bench.memory.sizes import Sizes
from bench.quantities import plural
from bench.record.intervals import Interval
from bench.report.plots import plt, write


def draw(sizes: Sizes, rows: Sequence[dict[str, Any]], stem: Path, headings: Sequence[str]) -> list[Path]:
    """Less memory against more time: measured, by FLOPs, of a uniform chain, and as claimed; writes stem.png, stem.svg.

    headings  lines over the picture: machine, date, grade
    Raises BadInput where they can't be written.
    """
    figure, axes = plt.subplots(figsize=(9, 5.8), layout="constrained")
    figure.suptitle("\n".join(headings), fontsize=7.5, x=0.01, ha="left", color="0.25", wrap=True)
    every = range(1, sizes.layers + 1)
    flops = [100 * sizes.more_flops(k) for k in every]
    axes.plot(
        flops, [sizes.peak_bytes(sizes.layers) / sizes.peak_bytes(k) for k in every], "k-", lw=1, label="by FLOPs"
    )
    label = "by FLOPs, checkpoints as large as a layer's activations"
    axes.plot(flops, [sizes.uniform_less_memory(k) for k in every], "--", color="0.5", lw=1, label=label)
    more = [Interval(**row["more_time"]).scaled(100).shown for row in rows]
    less = [row["less_memory"] for row in rows]
    reach = [[m.value - m.low for m in more], [m.high - m.value for m in more]]
    middle = [m.value for m in more]
    axes.errorbar(middle, less, xerr=reach, fmt="o", color="#0072B2", capsize=3, lw=1, label="measured")
    for row, x, y in zip(rows, middle, less, strict=True):
        axes.annotate(f"k={row['interval']}", (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    axes.scatter(*CLAIM, marker="*", s=160, c="#D55E00", zorder=4, label="claimed")
    chain = f"{sizes.layers} FFN layers of {sizes.width} x {sizes.ffn}, {plural(sizes.rows, 'token')}"
    title = f"{chain}, checkpoint every k layers"
    axes.set(xlabel="more time or compute, %", ylabel="times less activation memory")
    axes.set_title(title, fontsize=10)
    axes.set_ylim(0)
    axes.set_xlim(min(-10, *middle) - 5, max(60, *middle) + 15)  # whatever whiskers a disturbed session has
    axes.grid(True, color="0.92", lw=0.6)
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    return write(figure, stem, dpi=150)
