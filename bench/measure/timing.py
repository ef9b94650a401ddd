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
from typing import Any

TICKS = 20  # a timed region lasts at least this many ticks of the clock: its resolution costs 5 % at most,
REGION_SECONDS = 1e-3  # and this long, which is thousands of ticks and drowns the cost of reading the clock
SLOW_SECONDS = 0.1  # a region that takes longer averages over much already: three samples will do
SETTLE_SECONDS = 3e-3  # longer than an idle pool's threads spin (see bench/__init__.py)
WAKEN_SECONDS = 10e-3  # a region this long hides that its team had to be woken, which takes some 50 us
WARM_UP_SECONDS = 0.1  # until clocks have risen, pages are mapped and the team of threads spins


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


@dataclass
class Samples:
    """One variant's timing: seconds[i] is the time of a region of `calls` calls; its last call used copy `copy`.

    starts[i]: when that region began, by time.perf_counter()
    """

    calls: int
    seconds: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    copy: int = 0


@dataclass(frozen=True)
class Elsewhere:
    """What another process has ready: its number of copies, and its timed(), without the variant."""

    copies: int
    timed: Callable[[int, int, bool], float]

    def __len__(self) -> int:
        return self.copies


Variant = Sequence[Callable[[], Any]] | Elsewhere
"""What is timed: one call per copy of its data."""


def timed(variant: Variant, first: int, count: int, waken: bool = False) -> float:
    """Seconds that `count` calls take, walking on through the copies from `first`.

    waken: right after one more call, untimed, which wakes the team and finds the code in cache.
    """
    if isinstance(variant, Elsewhere):
        return variant.timed(first, count, waken)
    region = [variant[(first + i) % len(variant)] for i in range(-waken, count)]
    if waken:
        region.pop(0)()
    start = time.perf_counter()
    for call in region:
        call()
    return time.perf_counter() - start


def interleave(
    variants: Sequence[Variant],
    seconds: float,
    least: int = 5,
    most: int = 40,
    warm_up: float = WARM_UP_SECONDS,
    pools: Sequence[str] | None = None,
) -> list[Samples]:
    """Times every variant in rounds until each had about `seconds`, but at least `least` and at most `most` samples.

    Runs them untimed first, until `warm_up` seconds are over and each ran twice, which also says how many calls fill
    a region. pools[v] names the thread pool that variant v runs on; see collect().
    """
    shortest = max(TICKS * timer_resolution(), REGION_SECONDS)
    position, once = 0, []
    for v, variant in enumerate(variants):
        _settle(pools, v - 1, v)
        begin, best, runs = time.perf_counter(), float("inf"), 0
        while runs < 2 or time.perf_counter() - begin < warm_up / len(variants):
            best = min(best, timed(variant, position, 1))
            position, runs = position + 1, runs + 1
        once.append(best)
    samples = [Samples(math.ceil(shortest / max(t, 1e-9))) for t in once]
    goals = []
    for s, t in zip(samples, once, strict=True):
        enough = least if s.calls * t < SLOW_SECONDS else min(least, 3)
        goals.append(max(enough, min(most, round(seconds / (s.calls * t)))))
    collect(variants, samples, goals, position, pools)
    return samples


def collect(
    variants: Sequence[Variant],
    samples: Sequence[Samples],
    goals: Sequence[int],
    position: int = 0,
    pools: Sequence[str] | None = None,
) -> None:
    """Adds goals[v] samples to each variant's, in rounds that swap who leads; all walk through the copies together.

    Where the thread pool changes between two variants, the old one's threads get time to fall asleep and the new one's
    are woken by an untimed call.
    """
    done, last = [0] * len(variants), -1
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(max(goals)):
            for i in range(len(variants)):
                v = (turn + i) % len(variants)
                if done[v] >= goals[v]:
                    continue
                waken = _settle(pools, last, v) and min(samples[v].seconds, default=0) < WAKEN_SECONDS
                position += waken
                seconds = timed(variants[v], position, samples[v].calls, waken)
                samples[v].starts.append(time.perf_counter() - seconds)  # another process's, late by what a pipe takes
                samples[v].seconds.append(seconds)
                position += samples[v].calls
                samples[v].copy = (position - 1) % len(variants[v])
                done[v] += 1
                last = v
    finally:
        if collecting:
            gc.enable()


def _settle(pools: Sequence[str] | None, before: int, now: int) -> bool:
    """Waits where two variants in a row use different thread pools, and says whether they do."""
    if pools is None or before < 0 or pools[before] == pools[now]:
        return False
    time.sleep(SETTLE_SECONDS)
    return True
