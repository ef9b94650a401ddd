"""Figures as text: times, intervals, one line on a machine, the trust grade."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from bench.quantities import plural
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.placement import placement


def seconds(value: float) -> str:
    """A time with a unit that suits it: "1.23 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def interval(figure: Mapping[str, float], digits: int = 2) -> str:
    """A figure with its interval: "7.10 [6.98, 7.31]"; "7.10 [-]" where it was sampled too little for one."""
    of = Interval(**figure).shown
    inside = f"{of.low:.{digits}f}, {of.high:.{digits}f}" if of.low < of.high else "-"
    return f"{of.value:.{digits}f} [{inside}]"


def spread(figure: Mapping[str, float]) -> str:
    """The larger half of an interval: "±1.8 %"; "-" where it was sampled too little for one."""
    of = Interval(**figure).shown
    half = max(of.high - of.value, of.value - of.low)
    return f"±{100 * half / of.value:.1f} %" if half else "-"


def ratio(value: float | None) -> Text:
    """How many times as fast: green from 1 on, red below."""
    return Text("-") if value is None else Text(f"{value:.2f}", style="green" if value >= 1 else "red")


def times(factor: float) -> str:
    """A growth factor to three digits: "1.59x", "1,765x"."""
    return f"{factor:,.0f}x" if factor >= 100 else f"{factor:.3g}x"


def of_threads(count: int) -> str:
    """ "1 thread", "2 threads"."""
    return plural(count, "thread")


GRADE_STYLES = {"A": "green", "B": "green", "C": "yellow", "D": "bold red", None: "yellow"}


def trust_text(metrics: Metrics) -> Text:
    """The trust grade, what it means, its reasons, and which peaks stand in for others."""
    trust = metrics.trust
    grade, effect = trust["grade"], trust["effect"]
    text = Text(f"Trust: {grade or 'no grade'}", style=GRADE_STYLES[grade])
    if effect is not None:
        text.append(f" (figures differ by {100 * effect:.1f} %)", style="default")
    for reason in [*trust["reasons"], *metrics.stand_ins]:
        text.append(f"\n  - {reason}", style="default")
    return text


def machine_line(machine: Mapping[str, Any], session: Mapping[str, Any]) -> str:
    """One line on what was measured where."""
    cpus = ", ".join(_on_cpus(int(t), c, session) for t, c in session["cpus"].items())
    return f"{machine['id']}: {machine['cpu']['model']}, ISA {session['isa']}; {cpus}"


def _on_cpus(threads: int, cpus: Sequence[int], session: Mapping[str, Any]) -> str:
    where = f" ({placement(session, threads)})" if threads > 1 and session["placements"] else ""
    return f"{of_threads(threads)} on CPU{'s' * (threads > 1)} {', '.join(map(str, cpus))}{where}"


def compiled_text(session: Mapping[str, Any]) -> str:
    """One line on the time that Numba took before anything was timed."""
    compiled = session["jit_seconds"]
    spent = f"{len(compiled)} functions in {sum(compiled.values()):.1f} s, before anything was timed"
    return f"Numba compiled, or loaded from its cache, {spent}"
