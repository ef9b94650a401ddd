"""The paper's figure 3 with this machine in it: FLOPs, MOPs, intensity and normalised latency over length.

Below it every part of each model, measured and bound by the roofs, and the bandwidth that decoding reaches.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from bench.quantities import plural
from bench.record.intervals import Interval
from bench.report.plots import plt, write
from bench.transformer.rows import paper

Row = Mapping[str, Any]
Groups = Mapping[tuple[str, str], Sequence[Row]]
"""(model, phase) -> its rows."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # colour-blind safe (Okabe and Ito)
MODELLED: Mapping[str, Any] = {"marker": "x", "ls": "--", "lw": 1.0, "ms": 5}
MEASURED: Sequence[Mapping[str, Any]] = ({"marker": "o", "ls": "-"}, {"marker": "s", "ls": ":"})  # of the backends
PAPER: Mapping[str, Any] = {"marker": "*", "ls": "", "ms": 9, "mec": "black", "mew": 0.5}
ELSEWHERE = "0.6"  # the paper's points of a model that isn't here


def _moved(row: Row) -> float:
    """Elements that the executed calls read and write."""
    return float((row["executed"]["cold_bytes"] + row["executed"]["hot_bytes"]) / row["itemsize"])


Value = Callable[[Row], float | None]
COUNTED: tuple[tuple[str, Value, Value], ...] = (
    ("GFLOP", lambda r: r["modelled"]["flops"] / 1e9, lambda r: r["executed"]["flops"] / 1e9),
    ("GMOP (elements moved)", lambda r: r["modelled"]["mops"] / 1e9, lambda r: _moved(r) / 1e9),
    (
        "FLOP/MOP",
        lambda r: r["modelled"]["flops"] / r["modelled"]["mops"],
        lambda r: r["executed"]["flops"] / _moved(r),
    ),
)
"""title, what the paper's rules count, what was run."""


def draw(rows: Sequence[Row], stem: Path, headings: Sequence[str]) -> list[Path]:
    """Writes stem.png and stem.svg; returns the two paths. Prefill has no counterpart in the paper, and isn't drawn
    where a model also decodes. Raises BadInput where they can't be written.

    headings  lines over the picture: machine, date, grade
    """
    decoding = {row["model"] for row in rows if row["phase"] == "decode"}
    drawn = [row for row in rows if row["phase"] != "prefill" or row["model"] not in decoding]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in drawn:
        groups.setdefault((row["model"], row["phase"]), []).append(row)
    colours = dict(zip(groups, COLOURS * len(groups), strict=False))
    figure = plt.figure(figsize=(18, 10.5), layout="constrained")
    figure.suptitle("\n".join(headings), fontsize=9.5, x=0.01, ha="left", color="0.2")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    *counted, latency = above.subplots(1, len(COUNTED) + 1)
    for axes, (title, modelled, executed) in zip(counted, COUNTED, strict=True):
        for name, mine in groups.items():
            first = [row for row in mine if row["backend"] == mine[0]["backend"]]  # alike for all backends
            _points(axes, first, modelled, color=colours[name], **MODELLED)
            _points(axes, first, executed, color=colours[name], **MEASURED[0])
        _over_length(axes, {row["length"] for row in drawn}, title)
        _decades(axes)
    _latency(latency, groups, colours)
    backends = list(dict.fromkeys(row["backend"] for row in drawn))
    _legend(above, colours, backends)
    _below(below, groups, colours)
    figure.supxlabel(
        "FLOPs and MOPs counted: Gholami et al., AI and Memory Wall (2024), figure 3, without LM head; executed: "
        "operands of every call once, with LM head. Paper's latencies: Intel Gold 6242, framework not stated. Bound: "
        "the sum over all calls of the longer of FLOPs / peak and bytes / bandwidth.",
        fontsize=7.5,
        x=0.01,
        ha="left",
        color="0.25",
    )
    return write(figure, stem, dpi=130)


def _points(axes: Axes, rows: Sequence[Row], value: Value, **look: Any) -> None:
    found = [(row["length"], value(row)) for row in rows if value(row) is not None]
    if found:
        axes.plot(*zip(*found, strict=True), **({"ms": 5} | look))


def _by_backend(rows: Sequence[Row]) -> Iterable[tuple[Mapping[str, Any], list[Row]]]:
    """How a backend is drawn, and its rows."""
    names = dict.fromkeys(row["backend"] for row in rows)
    for look, backend in zip(MEASURED, names, strict=False):
        yield look, [row for row in rows if row["backend"] == backend]


def _latency(axes: Axes, groups: Groups, colours: Mapping[tuple[str, str], str]) -> None:
    """Normalised where the unit was measured, beside the paper's; otherwise in seconds."""
    every = [row for rows in groups.values() for row in rows]
    unit = any(row["normalised"] for row in every)
    key, bound = ("normalised", "normalised_bound") if unit else ("seconds", "bound_seconds")
    for name, rows in groups.items():
        for i, (look, mine) in enumerate(_by_backend(rows)):
            known = [row for row in mine if row[key]]
            if not i:
                _points(axes, known, lambda row: row[bound], color=colours[name], **MODELLED)
            if known:
                middle = [row[key]["value"] for row in known]
                spans = [Interval(**row[key]).shown for row in known]
                reach = [[of.value - of.low for of in spans], [of.high - of.value for of in spans]]
                at = [row["length"] for row in known]
                axes.errorbar(at, middle, yerr=reach, color=colours[name], ms=5, capsize=2, **look)
    lengths = {row["length"] for row in every}
    if unit:
        of = {model: colour for (model, _), colour in colours.items()}
        for (model, length), value in paper().items():
            axes.plot(length, value, color=of.get(model, ELSEWHERE), **PAPER)
            lengths.add(length)
    _over_length(axes, lengths, "latency, BERT-Base at 128 tokens = 1" if unit else "latency in s")
    _decades(axes)


def _over_length(axes: Axes, lengths: Iterable[int], title: str) -> None:
    axes.set(xscale="log", xlabel="tokens", title=title)
    axes.set_xticks(sorted(lengths), [str(length) for length in sorted(lengths)])
    axes.minorticks_off()
    axes.margins(x=0.08)
    axes.grid(True, color="0.9", lw=0.6)


def _decades(axes: Axes) -> None:
    """A logarithmic axis from one power of ten to another, so that at least two are written on it."""
    axes.set_yscale("log")
    low, high = axes.dataLim.intervaly
    if low > 0 and math.isfinite(high):
        first = math.floor(math.log10(low) + 1e-9)
        axes.set_ylim(10.0**first, 10.0 ** max(first + 1, math.ceil(math.log10(high) - 1e-9)))
    axes.yaxis.set_major_locator(LogLocator(10, numticks=20))
    axes.yaxis.set_minor_locator(LogLocator(10, subs=range(2, 10), numticks=20))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(above: SubFigure, colours: Mapping[tuple[str, str], str], backends: Sequence[str]) -> None:
    """Beside the panels: colours are models, markers what was counted or measured."""
    entries: list[Any] = [Patch(color=colour, label=", ".join(name)) for name, colour in colours.items()]
    looks: list[tuple[str, Mapping[str, Any]]] = [("counted as the paper does; bound", MODELLED)]
    looks += [(f"executed; measured, {b}", look) for b, look in zip(backends, MEASURED, strict=False)]
    looks.append(("in the paper", PAPER))
    entries += [Line2D([], [], color="0.3", **({"ms": 5} | dict(look)), label=label) for label, look in looks]
    above.legend(handles=entries, loc="outside right upper", fontsize=8, frameon=False)


def _below(below: SubFigure, groups: Groups, colours: Mapping[tuple[str, str], str]) -> None:
    names = [name for name in groups if name[1] == "decode"]
    panels = list(below.subplots(1, len(groups) + bool(names), squeeze=False)[0])
    for name, axes in zip(groups, panels, strict=False):
        _parts(axes, groups[name], ", ".join(name), colours[name])
    backends = list(dict.fromkeys(row["backend"] for rows in groups.values() for row in rows))
    entries: list[Any] = [Patch(color="0.3", alpha=1 / (i + 1), label=f"measured, {b}") for i, b in enumerate(backends)]
    entries.append(Line2D([], [], color="black", lw=2, label="bound by the roofs"))
    if names:
        _bandwidth(panels[-1], {name: groups[name] for name in names}, colours)
        entries.append(Line2D([], [], color="black", ls="--", label="read bandwidth of memory"))
    below.legend(handles=entries, loc="outside right upper", fontsize=8, frameon=False)


def _parts(axes: Axes, rows: Sequence[Row], name: str, colour: str) -> None:
    """What each part of a model takes at its shortest length, beside what the roofs allow."""
    length = min(row["length"] for row in rows)
    mine = [row for row in rows if row["length"] == length]
    parts = sorted(mine[0]["parts"], key=lambda part: -part["seconds"]["value"])
    place = {part["name"]: i for i, part in enumerate(parts)}
    height = 0.8 / len(mine)
    for b, row in enumerate(mine):
        at = [place[part["name"]] - 0.4 + height * (b + 0.5) for part in row["parts"]]
        took = [1e3 * part["seconds"]["value"] for part in row["parts"]]
        axes.barh(at, took, height, color=colour, alpha=1 / (b + 1))
    if all(part["bound_seconds"] is not None for part in parts):
        bounds = [1e3 * part["bound_seconds"] for part in parts]
        tops, ends = ([i + end for i in range(len(parts))] for end in (-0.42, 0.42))
        axes.vlines(bounds, tops, ends, color="black", lw=2)
    axes.set(xlabel="ms", title=f"{name}, {plural(length, 'token')}")
    axes.set_yticks(range(len(parts)), list(place))
    axes.invert_yaxis()
    axes.grid(True, axis="x", color="0.9", lw=0.6)


def _bandwidth(axes: Axes, groups: Groups, colours: Mapping[tuple[str, str], str]) -> None:
    """Where decoding takes time in proportion to its bytes, its bandwidth is the same at every length."""
    every = [row for rows in groups.values() for row in rows]
    for name, rows in groups.items():
        for look, mine in _by_backend(rows):
            _points(axes, mine, lambda row: row["gbytes"], color=colours[name], **look)
    if every[0]["share_of_read"]:
        axes.axhline(every[0]["gbytes"] / every[0]["share_of_read"], color="black", ls="--")
    _over_length(axes, {row["length"] for row in every}, "decode: GB/s of weights and KV cache")
    axes.set_ylim(bottom=0)
