"""How far a session's figures can be relied on: the size of what moved them, the reasons in words, the grade.

What disturbs a session shows in its figures: they were measured in several visits, spread over it, and differ from one
to the next. The grade goes by that difference. Of probes alone the best samples are told, and it also goes by how far
these are from the median: what holds every visit up makes none of them differ. Steal time, other processes and the like
are causes: they are named where the figures did move. Only a throttled cgroup is an effect itself: it stands still in
every visit alike, for the share of time that figures may be off by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

from bench.record.format import Circumstances, Condition, Grade, Pair, Trust

GRADES: Sequence[tuple[Grade, float]] = (("A", 0.05), ("B", 0.10), ("C", 0.25))
"""A grade, and the effect from which on it isn't given; D beyond."""
AGREE = 0.05  # the DRAM figure holds only where arrays of once and twice the rule agree this well
ABOVE = 0.02  # of the rows may lie above their roof before none is believed
NO_EVIDENCE = "nothing was measured in two visits, so nothing tells whether it would repeat: let the session finish"


@dataclass(frozen=True)
class Limit:
    """A cause: `figure`'s time-weighted mean is worth a word above `most`; `text` words it with `value`."""

    figure: str
    most: float
    text: str
    scale: float = 100.0  # shares are worded in per cent


# The one place of the thresholds.
LIMITS = (
    # a stolen vcpu holds up all t threads at their next barrier, so a share s costs up to t s of the time: 4 % with 4
    Limit("steal_share", 0.01, "the hypervisor took {value:.1f} % of the CPU time: run when the host is quieter"),
    # others take CPU time and, even on CPUs that are free, bandwidth and cache
    Limit("other_share", 0.05, "other processes used {value:.0f} % of all CPUs: close them and measure again"),
    # a throttled cgroup stands still for the rest of its period, usually 100 ms: longer than most timed regions
    Limit("throttled_share", 0.0, "the cgroup was throttled for {value:.2g} % of the time: raise its CPU quota"),
)
CLOCK = 0.03  # between visits: a changed clock is named, for it moves all peaks at once


def grade(effect: float) -> Grade:
    """By the share by which figures differ."""
    return next((name for name, below in GRADES if effect < below), "D")


def half(moved: float) -> float:
    """Largest over smallest minus one, as the distance of either from their middle."""
    return moved / (2 + moved)


def trust(
    session: Circumstances,
    roofs_moved: Mapping[str, float],
    rows_moved: Sequence[float],
    above: float,
    roofs_best: Mapping[str, float] = MappingProxyType({}),
    rows_best: Sequence[float] = (),
) -> Trust:
    """The grade and its reasons.

    roofs_moved, rows_moved  largest over smallest median of the visits, minus one
    above                    the share of the rows that lie above their roof
    roofs_best, rows_best    best over median, minus one, where best samples are told
    """
    fatal = list(session["untrusted"])
    if above > ABOVE:
        fatal.append(f"{100 * above:.1f} % of the rows lie above their roof: measure again when the machine is quieter")
    if not (roofs_moved or rows_moved):
        return {"grade": "D" if fatal else None, "effect": None, "reasons": [*fatal, NO_EVIDENCE, *session["remarks"]]}
    typical = half(median(rows_moved)) if rows_moved else 0.0
    cpus = max((len(each) for each in session["cpus"].values()), default=1)
    throttled = _mean("throttled_share", [_rates(sample, cpus) for sample in session["conditions"]]) or 0.0
    best = {**roofs_best, "half of the rows": median(rows_best)} if rows_best else roofs_best
    effect = max([typical, throttled, *map(half, roofs_moved.values()), *map(half, best.values())])
    reasons = _moved(roofs_moved, typical, _clock(session["conditions"])) + _apart(best)
    if effect >= GRADES[0][1]:
        reasons += judge(session["conditions"], cpus) + _placed(session["placements"])
    found = "D" if fatal else grade(effect)
    return {"grade": found, "effect": effect, "reasons": fatal + reasons + session["remarks"]}


def _moved(roofs: Mapping[str, float], typical: float, clock: float) -> list[str]:
    """What moved by so much that the grade isn't A: the roofs in one line, the rows in another."""
    far = {name: by for name, by in roofs.items() if half(by) >= GRADES[0][1]}
    reasons = []
    if far:
        name, by = max(far.items(), key=lambda item: item[1])
        others = f", and {len(far) - 1} more by less" if len(far) > 1 else ""
        why = f"; the clock by {100 * clock:.0f} %" if clock > CLOCK else ""
        reasons.append(
            f"{name} moved by {100 * by:.0f} % between visits{others}{why}: compare shares of roof, not times"
        )
    if typical >= GRADES[0][1]:
        reasons.append(f"half of the rows differ by more than {200 * typical:.0f} % between visits: measure longer")
    return reasons


def _apart(best: Mapping[str, float]) -> list[str]:
    """Whose best sample is so far above the median that the grade isn't A: in every visit something held it up."""
    name, by = max(best.items(), key=lambda item: item[1], default=("", 0.0))
    if half(by) < GRADES[0][1]:
        return []
    return [f"{name}: the best is {100 * by:.0f} % above the median, for something holds most samples up: close others"]


def _clock(samples: Sequence[Condition]) -> float:
    """By how much the clock changed: the ninth decile of its samples over the first, minus one."""
    hertz = sorted(sample["clock_hertz"] for sample in samples if sample["clock_hertz"])
    return hertz[9 * len(hertz) // 10] / hertz[len(hertz) // 10] - 1 if hertz else 0.0


def _placed(pairs: Sequence[Pair]) -> list[str]:
    """The pairs of CPUs that the hypervisor moved nearer or farther apart."""
    found: dict[tuple[int, ...], list[str]] = {}
    for pair in pairs:
        found.setdefault(tuple(pair["cpus"]), []).append(pair["found"])
    return [
        f"CPUs {' and '.join(map(str, cpus))}: {words[0]}, then {words[-1]}, for the host moved them: pin its vcpus"
        for cpus, words in found.items()
        if words[0] != words[-1]
    ][:1]


def judge(samples: Iterable[Mapping[str, Any]], cpus: int = 1) -> list[str]:
    """What disturbed a session that went as `samples`, the figures of bench.host.conditions, on so many CPUs at most.

    Means over the session, weighted by wall time. What no sample knows is said, too.
    """
    rates = [_rates(sample, cpus) for sample in samples]
    if not rates:
        return ["its causes are unknown: no conditions were sampled"]
    reasons = []
    for limit in LIMITS:
        mean = _mean(limit.figure, rates)
        if mean is None:
            reasons.append(f"{limit.figure.replace('_', ' ')} unknown")
        elif mean > limit.most:
            reasons.append(limit.text.format(value=limit.scale * mean))
    return reasons


def _mean(figure: str, rates: Sequence[tuple[float, dict[str, float | None]]]) -> float | None:
    known = [(seconds, value) for seconds, rate in rates if (value := rate[figure]) is not None]
    return sum(seconds * value for seconds, value in known) / sum(seconds for seconds, _ in known) if known else None


def _rates(sample: Mapping[str, Any], cpus: int) -> tuple[float, dict[str, float | None]]:
    """A sample's wall seconds, and its figures per second where they are sums, of all CPUs where they are theirs."""
    wall, throttled = sample["wall_seconds"], sample["throttled_seconds"]
    return wall, {
        "steal_share": sample["steal_share"],
        "other_share": sample["other_share"],
        "throttled_share": None if throttled is None else min(1.0, throttled / (wall * cpus)),
    }
