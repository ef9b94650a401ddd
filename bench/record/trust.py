"""Whether a session can be trusted: thresholds, reasons in words, the grade."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record.format import Circumstances, Grade, Ping, Trust

DRIFT = 0.05  # a roof that moved by more between the start and the end of a session is said to have moved
AGREE = 0.05  # and the DRAM figure holds only where arrays of once and twice the rule agree this well
FARTHER = 1.5  # a round trip between the same CPUs that takes this many times as long: they are others of the host's


@dataclass(frozen=True)
class Limit:
    """What is still fair: `figure`'s time-weighted mean may be up to `most`; `text` words an excess of `value`."""

    figure: str
    most: float
    text: str
    scale: float = 100.0  # shares are worded in per cent


# The one place of the thresholds. The roofs may move by 5 % within a session, so nothing here may take more than that.
LIMITS = (
    # a stolen vcpu holds up all t threads at their next barrier, so a share s costs up to t s of the time: 4 % with 4
    Limit("steal_share", 0.01, "steal time {value:.1f} % of the session"),
    # others take CPU time and, even on CPUs that are free, bandwidth and cache
    Limit("other_share", 0.05, "other processes used {value:.1f} % of all CPUs"),
    # a throttled cgroup stands still for the rest of its period, usually 100 ms: longer than most timed regions
    Limit("throttled_share", 0.0, "cgroup throttled for {value:.2g} % of the session"),
    # refilling a 32 MB cache at 30 GB/s takes 1 ms, so 50 switches in a second cost 5 %
    Limit("involuntary_switches_per_second", 50.0, "{value:.0f} involuntary context switches per second", 1.0),
)


def trust(session: Circumstances, drift: Mapping[str, float], above: int) -> Trust:
    """The grade and its reasons; above: how many rows lie above their roof."""
    reasons = judge(session["conditions"]) if session["conditions"] else []
    reasons += session["remarks"]
    for name, moved in drift.items():
        if abs(moved) > DRIFT:
            reasons.append(f"{name}: moved by {100 * moved:+.0f} % within the session")
    reasons += _moved_apart(session["pings"])
    fatal = [*session["untrusted"], *([f"{above} rows lie above their roof"] if above else [])]
    grade: Grade = "D" if fatal else "A" if not reasons else "B" if len(reasons) == 1 else "C"
    return {"grade": grade, "reasons": fatal + reasons}


def _moved_apart(pings: Sequence[Ping]) -> list[str]:
    times = [ping["seconds"] for ping in pings if ping["seconds"]]
    if not times or max(times) <= FARTHER * min(times) or len({tuple(ping["cpus"]) for ping in pings}) > 1:
        return []
    return [f"the CPUs' distance changed from {1e9 * times[0]:.0f} to {1e9 * times[-1]:.0f} ns: their placement did"]


def judge(samples: Iterable[Mapping[str, Any]]) -> list[str]:
    """Reasons not to trust a session that went as `samples`, stop()'s figures; none if nothing disturbed it.

    Means over the session, weighted by wall time. What no sample knows is a reason too.
    """
    rates = [_rates(sample) for sample in samples]
    if not rates:
        return ["conditions unknown: none were sampled"]
    reasons = []
    for limit in LIMITS:
        known = [(seconds, value) for seconds, rate in rates if (value := rate[limit.figure]) is not None]
        if not known:
            reasons.append(f"{limit.figure} unknown")
            continue
        mean = sum(seconds * value for seconds, value in known) / sum(seconds for seconds, _ in known)
        if mean > limit.most:
            reasons.append(limit.text.format(value=limit.scale * mean))
    return reasons


def _rates(sample: Mapping[str, Any]) -> tuple[float, dict[str, float | None]]:
    """A sample's wall seconds, and its figures per second where they are sums."""
    wall, throttled = sample["wall_seconds"], sample["throttled_seconds"]
    return wall, {
        "steal_share": sample["steal_share"],
        "other_share": sample["other_share"],
        "throttled_share": None if throttled is None else throttled / wall,
        "involuntary_switches_per_second": sample["involuntary_switches"] / wall,
    }
