"""What disturbs a measurement: steal time, other processes, cgroup throttling, involuntary context switches."""

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bench.host import Host

# proc(5): user nice system idle iowait irq softirq steal; the guest times behind them are in user and nice already
IDLE, IOWAIT, STEAL, STAT_FIELDS = 3, 4, 7, 8
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


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


class Conditions:
    """Samples what disturbs a block: `with Conditions() as c: ...` and then c.figures, or start() and stop().

    Either end takes well under a millisecond. /proc/stat counts in ticks of usually 10 ms, so the shares of a block
    below 1 s are coarse, and judge() weighs them by time. The figures, None where Linux doesn't tell:

    wall_seconds
    steal_share           of all CPUs' time, what the hypervisor gave to others
    other_share           of all CPUs' time, what was busy, not stolen, and not this process
    throttled_seconds     summed over the cgroup's CPUs, and over the cgroup and its parents
    throttled_periods     periods in which one of them was throttled
    involuntary_switches  of this process

    own: the CPU seconds so far that aren't others'; this process's if not given.
    """

    def __init__(self, host: Host | None = None, own: Callable[[], float] | None = None) -> None:
        self.host = host or Host()
        self.own = own or time.process_time
        self.groups = self.host.cgroups("cpu")
        self.figures: dict[str, Any] | None = None
        self._begin: _Sample | None = None

    def start(self) -> Self:
        self._begin = _Sample.take(self.host, self.groups, self.own())
        return self

    def stop(self) -> dict[str, Any]:
        """The figures since start(). Raises RuntimeError without one."""
        if self._begin is None:
            raise RuntimeError("Conditions.stop() before start()")
        end, begin = _Sample.take(self.host, self.groups, self.own()), self._begin
        steal, other = _shares(begin, end)
        self.figures = {
            "wall_seconds": end.wall - begin.wall,
            "steal_share": steal,
            "other_share": other,
            "throttled_seconds": _difference(begin.throttled_seconds, end.throttled_seconds),
            "throttled_periods": _difference(begin.throttled_periods, end.throttled_periods),
            "involuntary_switches": end.switches - begin.switches,
        }
        self._begin = None
        return self.figures

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class _Sample:
    wall: float
    own: float  # CPU seconds of all threads that measure
    switches: int
    stat: tuple[int, ...] | None
    throttled_seconds: float | None
    throttled_periods: int | None

    @classmethod
    def take(cls, host: Host, groups: Sequence[str], own: float) -> Self:
        line = (host.text("/proc/stat") or "").partition("\n")[0].split()
        stat = tuple(map(int, line[1 : 1 + STAT_FIELDS])) if len(line) > STAT_FIELDS else None
        seconds, periods = _throttling(host, groups)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return cls(time.perf_counter(), own, switches, stat, seconds, periods)


def _throttling(host: Host, groups: Sequence[str]) -> tuple[float | None, int | None]:
    """Seconds and periods throttled so far; (None, None) where the process's cgroup is unknown.

    A cpu.stat without the keys, or none at all, belongs to a group that can't be throttled, such as the root.
    """
    if not groups:
        return None, None
    seconds, periods = 0.0, 0
    for group in groups:
        stat = dict(line.split() for line in (host.text(f"{group}/cpu.stat", needed=False) or "").splitlines())
        periods += int(stat.get("nr_throttled", 0))
        seconds += int(stat.get("throttled_usec", 0)) / 1e6 + int(stat.get("throttled_time", 0)) / 1e9  # v2, v1
    return seconds, periods


def _shares(begin: _Sample, end: _Sample) -> tuple[float | None, float | None]:
    """(steal_share, other_share); None without /proc/stat, or where the block is over before a tick."""
    if begin.stat is None or end.stat is None:
        return None, None
    ticks = [after - before for before, after in zip(begin.stat, end.stat, strict=True)]
    total = sum(ticks)
    if total <= 0:
        return None, None
    busy = total - ticks[IDLE] - ticks[IOWAIT] - ticks[STEAL]
    others = busy - (end.own - begin.own) * TICKS_PER_SECOND
    # a counter of ticks can lag the exact process time, and iowait may even fall
    return max(0.0, ticks[STEAL] / total), max(0.0, others / total)


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


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
