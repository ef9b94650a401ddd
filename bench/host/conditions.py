"""What disturbs a measurement: steal time, other processes, cgroup throttling, involuntary context switches."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bench.host.sysfs import Host

# proc(5): user nice system idle iowait irq softirq steal; the guest times behind them are in user and nice already
IDLE, IOWAIT, STEAL, STAT_FIELDS = 3, 4, 7, 8
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


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
