"""The paper's figure 3 with this machine in it: FLOPs, MOPs, intensity and normalised latency over length."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.picture import plt, write
from kernels.reference import DTYPES

Row = Mapping[str, Any]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # colour-blind safe (Okabe and Ito)


def _moved(row: Row) -> float:
    """Elements that the executed calls read and write."""
    return float((row["executed"]["cold_bytes"] + row["executed"]["hot_bytes"]) / DTYPES[row["dtype"]].itemsize)


Value = Callable[[Row], float | None]
PANELS: tuple[tuple[str, Value, Value], ...] = (
    ("GFLOP", lambda r: r["modelled"]["flops"] / 1e9, lambda r: r["executed"]["flops"] / 1e9),
    ("GMOP (elements moved)", lambda r: r["modelled"]["mops"] / 1e9, lambda r: _moved(r) / 1e9),
    (
        "FLOP/MOP",
        lambda r: r["modelled"]["flops"] / r["modelled"]["mops"],
        lambda r: r["executed"]["flops"] / _moved(r),
    ),
    ("latency, BERT-Base at 128 = 1", lambda r: r["normalised_bound"], lambda r: r["normalised"]),
)
"""title, what the model says, what was run or measured."""


def draw(rows: Sequence[Row], stem: Path, note: str) -> list[Path]:
    """Writes stem.png and stem.svg; returns the two paths. Prefill has no counterpart in the paper, and isn't drawn
    where a model also decodes. Raises BadInput where they can't be written.
    """
    decoding = {row["model"] for row in rows if row["phase"] == "decode"}
    drawn = [row for row in rows if row["phase"] != "prefill" or row["model"] not in decoding]
    names = list(dict.fromkeys((row["model"], row["phase"]) for row in drawn))
    figure, grid = plt.subplots(1, 4, figsize=(17, 4.6), layout="constrained")
    for axes, (title, modelled, measured) in zip(grid, PANELS, strict=True):
        last = title.startswith("latency")
        for colour, (model, phase) in zip(COLOURS * len(names), names, strict=False):
            mine = [row for row in drawn if (row["model"], row["phase"]) == (model, phase)]
            backends = list(dict.fromkeys(row["backend"] for row in mine))
            first = [row for row in mine if row["backend"] == backends[0]]
            lines = [(first, modelled, "--", "bound by the roofs" if last else "counted as the paper does")]
            if last:  # the other panels are alike for all backends
                for backend, style in zip(backends, ("o-", "s:"), strict=False):
                    some = [row for row in mine if row["backend"] == backend]
                    lines.append((some, measured, style, f"measured, {backend}"))
            else:
                lines.append((first, measured, "o-", "executed"))
            for some, value, style, what in lines:
                points = [(row["length"], value(row)) for row in some if value(row) is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), style, color=colour, ms=4, label=f"{model}, {phase}: {what}")
            stars = [(row["length"], row["paper"]) for row in first if last and row["paper"] is not None]
            if stars and measured(mine[0]) is not None:
                axes.plot(*zip(*stars, strict=True), "*", color=colour, ms=11, label=f"{model}: in the paper")
        lengths = sorted({row["length"] for row in drawn})
        axes.set(xscale="log", yscale="log", xlabel="tokens", title=title)
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.grid(True, color="0.92", lw=0.6)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=6.5)
    figure.supxlabel(
        f"{note}\nFLOPs and MOPs counted: Gholami et al., AI and Memory Wall (2024), figure 3, without LM head; "
        "executed: operands of every call once, with LM head. Stars: the paper's latencies, Intel Gold 6242.",
        fontsize=7.5,
        x=0.01,
        ha="left",
        color="0.25",
    )
    return write(figure, stem, dpi=130)
