"""The memory wall as tables: growth per two years, beside the paper's own; hosts on the lines of their day."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.columns import Column
from bench.report.text import interval, times
from bench.wall.growth import CAVEATS, balance, series, trend
from bench.wall.hosts import SOURCE, Host

GROWTH: Sequence[Column[Mapping[str, Any]]] = (
    Column("series", lambda g: g["series"], left=True),
    Column("points", lambda g: str(g["points"])),
    Column("from", lambda g: g["from"], left=True),
    Column("to", lambda g: g["to"], left=True),
    Column("fitted", lambda g: times(g["per_two_years"]["value"]), "Least squares of log10(value) on date;"),
    Column(
        "95 % interval",
        lambda g: f"{times(g['per_two_years']['low'])} to {times(g['per_two_years']['high'])}",
        "interval of the slope by Student's t.",
    ),
    Column("printed", lambda g: f"{g['printed']:g}x" if g["printed"] else "-", f"Caveats: {CAVEATS}."),
    Column("R²", lambda g: f"{g['r_squared']:.2f}"),
)


def _of_line(host: Host, value: float, name: str) -> str:
    return f"{value / 1e9 / trend(series()[name]).at(host.day):.1e}"


HOSTS: Sequence[Column[Host]] = (
    Column("host", lambda h: h.label, f"Hosts: {SOURCE}.", left=True),
    Column("day", lambda h: h.day.isoformat(), left=True),
    Column("threads", lambda h: str(h.threads)),
    Column("isa", lambda h: h.isa, left=True),
    Column("GFLOP/s", lambda h: f"{h.peak.value / 1e9:.1f}"),
    Column(
        "of the line",
        lambda h: _of_line(h, h.peak.value, "peak FLOPS"),
        "of the line: over the fitted value of that day, which is an accelerator's and, since 2017, FP16's.",
    ),
    Column("GB/s", lambda h: f"{h.bandwidth.value / 1e9:.1f}"),
    Column("of the line", lambda h: _of_line(h, h.bandwidth.value, "DRAM bandwidth")),
    Column("ridge, FLOP/byte", lambda h: interval(h.ridge.as_dict())),
    Column("the lines' ratio", lambda h: f"{balance([h.day])[0]:.0f}"),
    Column("trust", lambda h: h.trust, left=True),
)
