"""One machine over time: its sessions in order, and the band in which they would differ anyway.

The band is the machine's own noise before the latest session: how much sessions of one making differ, moderated by the
default where they are few (bench.comparison.spread), about their median. What leaves it changed.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy  # scipy.special is imported when it is first used

from bench.comparison.alike import agreed
from bench.comparison.contrast import CONFIDENCE, HEAVY, holm, spreads
from bench.comparison.families import Key
from bench.comparison.page import defaults, judged_by, panel
from bench.comparison.session import Session
from bench.comparison.spread import DEFAULTS, SPEED, centred, moderated, squares
from bench.quantities import plural
from bench.report.page.columns import Report

LEAST = 2  # sessions of a line
ROOFS = {
    "peak": ("FMA peak", "GFLOP/s", 1e9),
    "read": ("memory read", "GB/s", 1e9),
    "ridge": ("ridge", "FLOP/byte", 1.0),
}


@dataclass(frozen=True)
class Series:
    """A figure of a machine's sessions; nan: a session lacks it.

    middle, low, high    the median of the sessions before the latest, and the band about it
    deviation, freedom   standard deviation of a session's logarithm from the middle's, and its degrees of freedom
    told                 whether two visits measured the latest, or a session before is of its making: else it may be
                         a chance
    """

    name: str
    unit: str
    values: Sequence[float]
    middle: float
    low: float
    high: float
    deviation: float
    freedom: float
    told: bool

    def p(self, session: int) -> float:
        """That noise alone takes a session so far from the middle."""
        away = abs(math.log(self.values[session] / self.middle)) / self.deviation
        return 2 * float(scipy.special.stdtr(self.freedom, -away))


@dataclass(frozen=True)
class History:
    """Sessions of one machine, ISA and command on as many CPUs, in order of time."""

    machine: str
    isa: str
    cpus: str
    command: str
    sessions: Sequence[Session]
    series: Sequence[Series]

    @property
    def name(self) -> str:
        return f"{self.machine}, {self.isa}, {self.cpus}, {self.command}"


def histories(of: Report) -> list[History]:
    """Of every machine of which there are two sessions or more."""
    lines: dict[tuple[str, str, str, str], list[Session]] = defaultdict(list)
    for one in of.sessions:
        lines[one.machine, one.isa, one.facts["CPUs"], one.facts["command"]].append(one)
    found = []
    for key, sessions in lines.items():
        if len(sessions) >= LEAST:
            ordered = sorted(sessions, key=lambda one: one.started)
            series = [*_roofs(ordered), *_families(ordered)]
            if series:
                found.append(History(*key, ordered, series))
    return found


def _replicates(sessions: Sequence[Session]) -> list[list[int]]:
    """Which of those before the latest are of one making: the latest is judged by them."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, one in enumerate(sessions[:-1]):
        groups[one.group].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _told(sessions: Sequence[Session], what: Sequence[Key | str]) -> bool:
    *before, last = sessions
    return any(one.group == last.group for one in before) or 2 * sum(x not in last.once for x in what) > len(what)


def _made(name: str, unit: str, logs: Sequence[float], variance: float, freedom: float, told: bool) -> Series:
    before = [value for value in logs[:-1] if math.isfinite(value)]
    freedom, deviation = min(freedom, HEAVY), math.sqrt(variance * (1 + 1 / len(before)))
    half = float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * deviation
    middle, low, high = (math.exp(min(median(before) + x, 700.0)) for x in (0.0, -half, half))
    return Series(name, unit, [math.exp(v) for v in logs], middle, low, high, deviation, freedom, told)


def _roofs(sessions: Sequence[Session]) -> Iterator[Series]:
    roles = dict.fromkeys(role for one in sessions for role in one.roofs)
    default = DEFAULTS[SPEED]["probes"]
    for role in roles:
        for name, (said, unit, scale) in ROOFS.items():
            rates = [one.roofs.get(role, {}).get(name, math.nan) / scale for one in sessions]
            if sum(map(math.isfinite, rates)) < LEAST or not any(map(math.isfinite, rates[:-1])):
                continue
            logs = np.log([rates])
            groups = _replicates(sessions)
            residuals, freedom = centred(logs, groups)
            count = sum(len(group) - 1 for group in groups)
            known = np.array([default.family**2 + default.row**2])
            spread = moderated(squares(residuals, freedom), freedom, known, np.zeros(1, np.intp), count)
            of_one, free = float(spread.variance[0]), float(spread.freedom[0])
            yield _made(f"{said}, {role}", unit, list(logs[0]), of_one, free, _told(sessions, [role]))


def _families(sessions: Sequence[Session]) -> Iterator[Series]:
    """% of roof by family, over the rows that all sessions have, and hold against the same roof."""
    shared: set[Key] = set.intersection(*(set(one.values) for one in sessions))
    alike = agreed([*shared], {"": sessions}, one_machine=True)
    keys = sorted(
        key
        for key in shared
        if key.kind == "kernel" and all(math.isfinite(alike.value(one, key).share) for one in sessions)
    )
    if not keys:
        return
    by_share = np.ones(len(keys), bool)
    values, _ = judged_by(panel(keys, sessions, alike), by_share)
    known, families = defaults(keys, by_share)
    of_families, _ = spreads(values, _replicates(sessions), known)
    for i, family in enumerate(families):
        logs = [float(x) + math.log(100) for x in values[known.family == i].mean(axis=0)]
        name = f"{family.kernel}, {family.class_}, {family.role}"
        of_one, free = float(of_families.variance[i]), float(of_families.freedom[i])
        told = _told(sessions, [key for key, of in zip(keys, known.family, strict=True) if of == i])
        yield _made(name, "% of roof", logs, of_one, free, told)


def as_document(found: Sequence[History], letters: Mapping[str, str]) -> list[dict[str, Any]]:
    """For the page's script. letters: of the machines that are columns."""

    def short(value: float) -> float | None:
        return float(f"{value:.4g}") if math.isfinite(value) else None

    return [
        {
            "machine": one.machine,
            "name": one.name,
            "letter": letters.get(one.machine, ""),
            "when": [session.started[:16].replace("T", " ") for session in one.sessions],
            "commits": [session.facts["commit"] for session in one.sessions],
            "grades": [session.grade or "none" for session in one.sessions],
            "series": [
                [
                    series.name,
                    series.unit,
                    [*map(short, (series.middle, series.low, series.high))],
                    [*map(short, series.values)],
                ]
                for series in one.series
            ],
        }
        for one in found
    ]


def moved(found: Sequence[History]) -> list[str]:
    """What of the latest session is more than noise, in words.

    Where nothing changed, anything is called of 5 % of machines (Holm's correction).
    """
    said = []
    for one in found:
        last = len(one.sessions) - 1
        before = f"that of {plural(last, 'session')} before"
        every = [series for series in one.series if math.isfinite(series.values[last])]
        known = [series for series in every if series.told]
        if not known:
            if every:
                said.append(f"{one.name}, the latest session: one visit made it, so whether it differs can't be told.")
            continue
        fallen = holm(np.array([series.p(last) for series in known]), 1 - CONFIDENCE)
        out = [series for series, is_out in zip(known, fallen, strict=True) if is_out]
        if out:
            worst = max(out, key=lambda series: abs(math.log(series.values[last] / series.middle)))
            change = 100 * (worst.values[last] / worst.middle - 1)
            differ = f"{len(out)} of {plural(len(known), 'figure')} differ by more than noise from {before}"
            said.append(f"{one.name}, the latest session: {differ}, most {worst.name}: {change:+.0f} %.")
        else:
            said.append(f"{one.name}, the latest session: no figure differs by more than noise from {before}.")
    return said
