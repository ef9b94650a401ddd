"""The paper's figure 3 with this machine in it: FLOPs, MOPs, intensity and normalised latency over length.

Below it every part of each model, measured and bound by the roofs, and the bandwidth that decoding reaches.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bench.report.plots import plt, write
from kernels.types import DTYPES

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


STYLES = ("o-", "s:")  # of the backends


def draw(rows: Sequence[Row], stem: Path, note: str) -> list[Path]:
    """Writes stem.png and stem.svg; returns the two paths. Prefill has no counterpart in the paper, and isn't drawn
    where a model also decodes. Raises BadInput where they can't be written.
    """
    decoding = {row["model"] for row in rows if row["phase"] == "decode"}
    drawn = [row for row in rows if row["phase"] != "prefill" or row["model"] not in decoding]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in drawn:
        groups.setdefault((row["model"], row["phase"]), []).append(row)
    colours = dict(zip(groups, COLOURS * len(groups), strict=False))
    figure = plt.figure(figsize=(17, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for axes, (title, modelled, measured) in zip(above.subplots(1, len(PANELS)), PANELS, strict=True):
        last = title.startswith("latency")
        if last and all(row["normalised"] is None for row in drawn):
            title, modelled, measured = "latency in s", lambda r: r["bound_seconds"], lambda r: r["seconds"]["value"]
        for (model, phase), mine in groups.items():
            colour, named = colours[model, phase], f"{model}, {phase}"
            first = mine[0]["backend"]  # FLOPs and bytes are alike for all backends
            lines = [(first, modelled, "--", "bound by the roofs" if last else "counted as the paper does")]
            if last:
                lines += [(b, measured, style, f"measured, {b}") for b, style in _backends(mine)]
            else:
                lines.append((first, measured, STYLES[0], "executed"))
            for backend, value, style, what in lines:
                _line(axes, mine, backend, value, style, color=colour, label=f"{named}: {what}")
            stars = [(row["length"], row["paper"]) for row in mine if row["paper"] is not None]
            if last and stars and mine[0]["normalised"] is not None:
                axes.plot(*zip(*stars, strict=True), "*", color=colour, ms=11, label=f"{model}: in the paper")
        _over_length(axes, drawn, title)
        axes.set_yscale("log")
    names = [name for name in groups if name[1] == "decode"]
    panels = list(below.subplots(1, len(groups) + bool(names), squeeze=False)[0])
    for (model, phase), axes in zip(groups, panels, strict=False):
        _parts(axes, groups[model, phase], f"{model}, {phase}", colours[model, phase])
    if names:
        _bandwidth(panels[-1], [(name, groups[name], colours[name]) for name in names], drawn)
    figure.supxlabel(
        f"{note}\nFLOPs and MOPs counted: Gholami et al., AI and Memory Wall (2024), figure 3, without LM head; "
        "executed: operands of every call once, with LM head. Stars: the paper's latencies, Intel Gold 6242. Bound: "
        "the sum over all calls of the longer of FLOPs / peak and bytes / bandwidth.",
        fontsize=7.5,
        x=0.01,
        ha="left",
        color="0.25",
    )
    return write(figure, stem, dpi=130)


def _backends(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return list(zip(dict.fromkeys(row["backend"] for row in rows), STYLES, strict=False))


def _line(axes: Axes, rows: Sequence[Row], backend: str, value: Value, style: str, **look: Any) -> None:
    points = [(row["length"], value(row)) for row in rows if row["backend"] == backend and value(row) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), style, ms=4, **look)


def _over_length(axes: Axes, rows: Sequence[Row], title: str) -> None:
    lengths = sorted({row["length"] for row in rows})
    axes.set(xscale="log", xlabel="tokens", title=title)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    axes.grid(True, color="0.92", lw=0.6)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=6.5)


def _parts(axes: Axes, rows: Sequence[Row], name: str, colour: str) -> None:
    """What each part of a model takes at its shortest length, beside what the roofs allow."""
    length = min(row["length"] for row in rows)
    mine = [row for row in rows if row["length"] == length]
    parts = sorted(mine[0]["parts"], key=lambda part: -part["seconds"])
    place = {part["name"]: i for i, part in enumerate(parts)}
    height = 0.8 / len(mine)
    for b, row in enumerate(mine):
        at = [place[part["name"]] - 0.4 + height * (b + 0.5) for part in row["parts"]]
        took = [1e3 * part["seconds"] for part in row["parts"]]
        axes.barh(at, took, height, color=colour, alpha=1 / (b + 1), label=f"measured, {row['backend']}")
    bounds = [1e3 * part["bound_seconds"] for part in parts]
    tops, ends = ([i + end for i in range(len(parts))] for end in (-0.42, 0.42))
    axes.vlines(bounds, tops, ends, color="black", lw=2, label="bound by the roofs")
    axes.set(xlabel="ms", title=f"{name}, {length} tokens")
    axes.set_yticks(range(len(parts)), list(place))
    axes.invert_yaxis()
    axes.grid(True, axis="x", color="0.92", lw=0.6)
    axes.legend(fontsize=6.5, loc="lower right")


def _bandwidth(axes: Axes, models: Sequence[tuple[tuple[str, str], Sequence[Row], str]], drawn: Sequence[Row]) -> None:
    """Where decoding takes time in proportion to its bytes, its bandwidth is the same at every length."""
    for (model, _), rows, colour in models:
        for backend, style in _backends(rows):
            _line(axes, rows, backend, lambda r: r["gbytes"], style, color=colour, label=f"{model}, {backend}")
    row = models[0][1][0]
    axes.axhline(row["gbytes"] / row["share_of_read"], color="black", ls="--", label="read bandwidth")
    _over_length(axes, drawn, "decode: GB/s of weights and KV cache")
    axes.set_ylim(bottom=0)
