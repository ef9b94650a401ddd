"""The memory wall as a picture: growth of compute and memory, machine balance, growth of models; with hosts on all."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from string import ascii_uppercase

import matplotlib.dates
from matplotlib.axes import Axes

from bench.report.plots import plt, write
from bench.report.text import of_threads, times
from bench.wall.growth import CAVEATS, MATRIX_UNITS, Series, balance, series, trend
from bench.wall.hosts import SOURCE, Host

# colour-blind safe (Okabe and Ito)
COLOURS = {
    "peak FLOPS": "#0072B2",
    "DRAM bandwidth": "#D55E00",
    "interconnect": "#009E73",
    "Transformer parameters": "#CC79A7",
    "accelerator memory": "#D55E00",
}
NAMED = {"R10000", "Itanium 2", "GTX 580", "K40", "TPUv3", "A100", "H100", "GDDR3", "GDDR5", "HBM", "HBM2E"} | {
    "PCIe 1.0a",
    "PCIe 3.0",
    "NVLink 1.0",
    "NVLink 4.0",
}
SAME_DEVICE = (("V100 PCIe (inferred)", "HBM2 V100"), ("A100", "HBM2 A100-40 (inferred)"))  # peak and its own memory
BYTES_PER_PARAMETER = 6  # the paper draws memory on the scale of parameters like this


def _date(day: date) -> float:
    """matplotlib takes dates, but its types don't say so."""
    number: Callable[[date], float] = matplotlib.dates.date2num
    return float(number(day))


def _trend_line(axes: Axes, one: Series, last: date, scale: float = 1.0) -> str:
    """The fitted line, dashed beyond its points up to `last`; returns its rate for the legend."""
    fit, begin, end = trend(one), min(one.dates), max(one.dates)
    for days, style in (((begin, end), "-"), ((end, max(end, last)), ":")):
        axes.plot([_date(d) for d in days], [fit.at(d) * scale for d in days], style, color=COLOURS[one.name], lw=1.3)
    return f"{one.name}: {times(fit.rate.value)} per 2 years [{times(fit.rate.low)}, {times(fit.rate.high)}]"


def _points(axes: Axes, one: Series, label: str, scale: float = 1.0, marker: str = "o", colour: str = "") -> None:
    values = [value * scale for value in one.values]
    axes.scatter(
        [_date(d) for d in one.dates], values, s=20, marker=marker, c=colour or COLOURS[one.name], lw=0, label=label
    )


def _name(axes: Axes, day: date, value: float, text: str, below: bool = False) -> None:
    axes.annotate(
        text,
        (_date(day), value),
        xytext=(0, -10 if below else 5),
        textcoords="offset points",
        fontsize=6.5,
        ha="center",
        color="0.3",
    )


def _stars(axes: Axes, hosts: Sequence[Host], value: Callable[[Host], float], colour: str, note: str = "") -> None:
    """A star per host, with its letter on alternating sides: several records may be of one day."""
    for number, (letter, one) in enumerate(zip(ascii_uppercase, hosts, strict=False)):
        axes.scatter(_date(one.day), value(one), s=130, marker="*", c=colour, edgecolors="black", lw=0.8, zorder=4)
        axes.annotate(
            letter + note,
            (_date(one.day), value(one)),
            xytext=(-8 if number % 2 else 8, -3),
            ha="right" if number % 2 else "left",
            textcoords="offset points",
            fontsize=8.5,
            weight="bold",
            zorder=5,
        )


def _growth(axes: Axes, hosts: Sequence[Host], last: date) -> None:
    for name in ("peak FLOPS", "DRAM bandwidth", "interconnect"):
        one = series()[name]
        scale = 1 / one.values[0]
        _points(axes, one, _trend_line(axes, one, last, scale), scale)
        for day, value, label in zip(one.dates, one.values, one.labels, strict=True):
            if label in NAMED:
                _name(axes, day, value * scale, label, below=name == "interconnect")
    known = series()
    _stars(axes, hosts, lambda h: h.peak.value / 1e9 / known["peak FLOPS"].values[0], COLOURS["peak FLOPS"])
    _stars(
        axes, hosts, lambda h: h.bandwidth.value / 1e9 / known["DRAM bandwidth"].values[0], COLOURS["DRAM bandwidth"]
    )
    axes.set(title="Compute outgrew memory (the paper's Fig. 1)", ylabel="times the first point of each series")


def _balance(axes: Axes, hosts: Sequence[Host], last: date) -> None:
    peaks, memory = series()["peak FLOPS"], series()["DRAM bandwidth"]
    line = trend(memory)
    first, end = memory.dates[0], max(memory.dates)
    for matrix, label in ((False, "peak of a device / bandwidth line of its day"), (True, "the same, matrix units")):
        chosen = [
            (day, value / line.at(day))
            for day, value in zip(peaks.dates, peaks.values, strict=True)
            if day >= first and (day >= MATRIX_UNITS) == matrix
        ]
        days, ratios = zip(*chosen, strict=True)
        axes.scatter([_date(d) for d in days], ratios, s=20, c="0.3" if matrix else "0.65", lw=0, label=label)
    for span, style in (((first, end), "-"), ((end, max(end, last)), ":")):
        named = "line of peak FLOPS / line of bandwidth" if style == "-" else None
        axes.plot([_date(d) for d in span], balance(span), style, color="0.3", lw=1.3, label=named)
    for device, own in SAME_DEVICE:
        at, under = peaks.labels.index(device), memory.labels.index(own)
        ratio = peaks.values[at] / memory.values[under]
        is_first = device == SAME_DEVICE[0][0]
        axes.scatter(
            _date(peaks.dates[at]),
            ratio,
            s=34,
            marker="D",
            facecolors="none",
            edgecolors="black",
            label="peak / bandwidth of one device" if is_first else None,
        )
        _name(axes, peaks.dates[at], ratio, device.split()[0], below=True)
    for one in hosts:
        reach = [[one.ridge.value - one.ridge.low], [one.ridge.high - one.ridge.value]]
        axes.errorbar(_date(one.day), one.ridge.value, yerr=reach, color="black", capsize=5, lw=1.2)
    _stars(axes, hosts, lambda h: h.ridge.value, "#F0E442")
    axes.set(title="Machine balance: peak / bandwidth", ylabel="FLOP per byte")


def _models(axes: Axes, hosts: Sequence[Host], last: date) -> None:
    known = series()
    models, memory = known["Transformer parameters"], known["accelerator memory"]
    _points(axes, models, _trend_line(axes, models, max(models.dates)))
    _points(axes, known["CV parameters"], "CV parameters, not fitted", colour="0.6", marker="s")
    _points(axes, known["RecSys parameters"], "RecSys parameters, not fitted", colour="0.6", marker="^")
    label = _trend_line(axes, memory, last, 1 / BYTES_PER_PARAMETER)
    _points(axes, memory, f"{label}; GB / {BYTES_PER_PARAMETER}", 1 / BYTES_PER_PARAMETER, marker="v")
    for one, scale in ((models, 1.0), (memory, 1 / BYTES_PER_PARAMETER)):
        for day, value, text in zip(one.dates, one.values, one.labels, strict=True):
            if text in {"Transformer", "BERT", "GPT-2", "GPT-3", "Switch Transformer", "P100", "A100", "H100"}:
                _name(axes, day, value * scale, text, below=one is memory)
    _stars(
        axes,
        [h for h in hosts if h.memory],
        lambda h: (h.memory or 0) / 1e9 / BYTES_PER_PARAMETER,
        COLOURS["accelerator memory"],
        ": RAM",
    )
    axes.set(title="Models outgrew memory (the paper's Fig. 2a)", ylabel="1e9 parameters")


def draw(hosts: Sequence[Host], stem: Path) -> list[Path]:
    """Three panels with every host's star; writes stem.png and stem.svg and returns the two paths.

    Raises BadInput where they can't be written.
    """
    figure, panels = plt.subplots(1, 3, figsize=(19, 6.6), layout="constrained")
    last = max([one.day for one in hosts]) + timedelta(days=180)
    for axes, panel in zip(panels, (_growth, _balance, _models), strict=True):
        panel(axes, hosts, last)
        axes.set(yscale="log")
        axes.xaxis_date()
        axes.grid(True, color="0.92", lw=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.1, y=0.08)
        corner = "lower right" if panel is _models else "upper left"
        axes.legend(fontsize=7, loc=corner, framealpha=0.9, edgecolor="0.8")
    names = [
        f"{letter}: {one.label}, {of_threads(one.threads)}, {one.isa}, {one.day}, "
        f"trust {one.trust}; {one.peak.value / 1e9:.0f} GFLOP/s, {one.bandwidth.value / 1e9:.0f} GB/s, "
        f"ridge {one.ridge.value:.2f} [{one.ridge.low:.2f}, {one.ridge.high:.2f}]"
        for letter, one in zip(ascii_uppercase, hosts, strict=False)
    ]
    source = (
        'Points: Gholami et al., "AI and Memory Wall", IEEE Micro 2024. Lines: least squares of log10(value) on date.'
    )
    figure.supxlabel(
        "\n".join([*names, source, f"Caveats: {CAVEATS}.", f"Stars: {SOURCE}."]),
        fontsize=8,
        x=0.01,
        ha="left",
        color="0.25",
    )
    return write(figure, stem, dpi=130)
