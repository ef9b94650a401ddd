"""The only timing loop, and where its threads run.

Variants of one thing are timed in rounds that each starts with another of them, so that drift and neighbours meet all
alike.
Every sample is kept. Cold data: all variants walk through the same copies, so that none finds what another just loaded.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from kernels.backends.c import ffi, lib

TICKS = 20  # a timed region lasts at least this many ticks of the clock: its resolution costs 5 % at most,
REGION_SECONDS = 1e-3  # and this long, which is thousands of ticks and drowns the cost of reading the clock
SLOW_SECONDS = 0.1  # a region that takes longer averages over much already: fewer samples will do
SETTLE_SECONDS = 3e-3  # longer than an idle pool's threads spin (see bench/__init__.py)
WAKEN_SECONDS = 10e-3  # a region this long hides that its team had to be woken, which takes some 50 us
WARM_UP_SECONDS = 0.1  # until clocks have risen, pages are mapped and the team of threads spins
HOT_RUNS, HOT_SECONDS = 20, 0.02  # of what has its data in a cache, before it is timed: at least so many or so long
LOST = 0.05  # a region in which a thread was without its CPU for a larger share is marked as preempted
OPENMP = "openmp"
"""The pool of C's and Numba's threads."""

_MOST_THREADS = 1024
_used = ffi.new("double[]", _MOST_THREADS)


@cache
def timer_resolution() -> float:
    """Seconds: the smallest step of the monotonic clock seen in 1000 steps."""
    steps = []
    for _ in range(1000):
        before = now = time.perf_counter()
        while now == before:
            now = time.perf_counter()
        steps.append(now - before)
    return min(steps)


class Region(NamedTuple):
    """A timed region; preempted: one of its threads was without its CPU for more than LOST of it."""

    seconds: float
    preempted: bool


@dataclass
class Samples:
    """One variant's timing: seconds[i] is the time of a region of `calls` calls; its last call used copy `copy`.

    starts[i]: when that region began, by time.perf_counter(); turns[i]: the round of collect() that it belongs to;
    preempted: indices of samples
    """

    calls: int
    seconds: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    copy: int = 0


@dataclass(frozen=True)
class Elsewhere:
    """What another process has ready: its number of copies, and its timed(), without the variant."""

    copies: int
    timed: Callable[[int, int, bool], Region]

    def __len__(self) -> int:
        return self.copies


Variant = Sequence[Callable[[], Any]] | Elsewhere
"""What is timed: one call per copy of its data."""


def timed(variant: Variant, first: int, count: int, waken: bool = False, team: bool = True) -> Region:
    """The time that `count` calls take, walking on through the copies from `first`.

    waken: right after one more call, untimed, which wakes the team, and finds code and hot data in cache.
    team: the calls run on the OpenMP team that was pinned last, whose threads spin while they wait: their CPU clocks
    run as the wall's does, unless something else has their CPU. Of other pools only this thread's is looked at.
    """
    if isinstance(variant, Elsewhere):
        return variant.timed(first, count, waken)
    region = [variant[(first + i) % len(variant)] for i in range(-waken, count)]
    if waken:
        region.pop(0)()
    before = _cpu_seconds(team)
    start = time.perf_counter()
    for call in region:
        call()
    seconds = time.perf_counter() - start
    after = _cpu_seconds(team)
    least = (1 - LOST) * seconds
    return Region(seconds, any(b - a < least for a, b in zip(before, after, strict=False)))


def _cpu_seconds(team: bool) -> list[float]:
    """Of this thread, and of the OpenMP team's."""
    count = lib.team_seconds(_MOST_THREADS, _used) if team else 0
    return [time.thread_time(), *_used[0:count]]


def interleave(
    variants: Sequence[Variant],
    seconds: float,
    least: int = 5,
    most: int = 40,
    warm_up: float = WARM_UP_SECONDS,
    pools: Sequence[str] | None = None,
    *,
    references: int = 0,
    hot: Sequence[bool] | None = None,
    calls: Sequence[int | None] | None = None,
) -> list[Samples]:
    """Times every variant in rounds until each had about `seconds`, but at least `least` and at most `most` samples.

    Runs them untimed first, until `warm_up` seconds are over and each ran twice, which also says how many calls fill
    a region, unless calls[v] does. pools[v] names the thread pool that variant v runs on; see collect(). The first
    `references` variants take part in every round. hot[v]: as of collect().
    """
    shortest = max(TICKS * timer_resolution(), REGION_SECONDS)
    position, once = 0, []
    for v, variant in enumerate(variants):
        _settle(pools, v - 1, v)
        begin, best, runs = time.perf_counter(), float("inf"), 0
        often = hot is not None and hot[v]  # short ones, of which a preempted one would look long
        while (
            runs < 2
            or time.perf_counter() - begin < warm_up / len(variants)
            or (often and runs < HOT_RUNS and time.perf_counter() - begin < HOT_SECONDS)
        ):
            best = min(best, timed(variant, position, 1).seconds)
            position, runs = position + 1, runs + 1
        once.append(best)
    known = calls or [None] * len(variants)
    samples = [Samples(n or math.ceil(shortest / max(t, 1e-9))) for n, t in zip(known, once, strict=True)]
    goals = []
    for s, t in zip(samples, once, strict=True):
        enough = least if s.calls * t < SLOW_SECONDS else max(1, least // 2)
        goals.append(max(enough, min(most, round(seconds / (s.calls * t)))))
    goals[:references] = [max(goals[references:], default=least)] * references
    collect(variants, samples, goals, position, pools, hot)
    return samples


def collect(
    variants: Sequence[Variant],
    samples: Sequence[Samples],
    goals: Sequence[int],
    position: int = 0,
    pools: Sequence[str] | None = None,
    hot: Sequence[bool] | None = None,
) -> None:
    """Adds goals[v] samples to each variant's, in rounds that swap who leads; all walk through the copies together.

    A preempted sample is kept and doesn't count, up to half as many as the goal.
    Where the thread pool changes between two variants, the old one's threads get time to fall asleep and the new one's
    are woken by an untimed call. hot[v]: its data has to be in a cache, from which the others drive it: an untimed call
    goes before each region.
    """
    done, spare, last = [0] * len(variants), [goal // 2 for goal in goals], -1
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(max(goals) + max(spare)):
            for i in range(len(variants)):
                v = (turn + i) % len(variants)
                if done[v] >= goals[v]:
                    continue
                waken = _settle(pools, last, v) and min(samples[v].seconds, default=0) < WAKEN_SECONDS
                waken = waken or (hot is not None and hot[v])
                position += waken
                region = timed(variants[v], position, samples[v].calls, waken, pools is None or pools[v] == OPENMP)
                if region.preempted:
                    samples[v].preempted.append(len(samples[v].seconds))
                # another process's start is late by what a pipe takes
                samples[v].starts.append(time.perf_counter() - region.seconds)
                samples[v].seconds.append(region.seconds)
                samples[v].turns.append(turn)
                position += samples[v].calls
                samples[v].copy = (position - 1) % len(variants[v])
                last = v
                if region.preempted and spare[v]:
                    spare[v] -= 1
                else:
                    done[v] += 1
    finally:
        if collecting:
            gc.enable()


def _settle(pools: Sequence[str] | None, before: int, now: int) -> bool:
    """Waits where two variants in a row use different thread pools, and says whether they do."""
    if pools is None or before < 0 or pools[before] == pools[now]:
        return False
    time.sleep(SETTLE_SECONDS)
    return True
