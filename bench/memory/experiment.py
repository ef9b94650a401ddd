"""Rematerialisation measured: memory and time of a step at several checkpoint intervals, held against a claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.host.placement import pinned
from bench.measure.run import Interruptible
from bench.measure.timing import Samples, collect
from bench.memory.chain import Chain, Sizes, account
from bench.record.intervals import Interval, median_interval
from bench.report.text import interval

CLAIM = (20.0, 5.0)  # % more compute, times less memory


@dataclass(frozen=True)
class Point:
    """One checkpoint interval: bytes by the arena and by tracemalloc, seconds of each sample."""

    interval: int
    peak: int
    traced: int
    seconds: list[float]


def experiment(
    chain: Chain, intervals: Sequence[int], rounds: int, progress: Callable[[str], None]
) -> tuple[list[Point], bool]:
    """Accounts for and times a step at every interval, interleaved; and whether it came to its end.

    Raises Disagreement and WrongResult as account() does. Ctrl-C and SIGTERM leave the intervals that have been timed.
    """
    with pinned(chain.threads):
        progress(f"checking memory and gradients at {len(intervals)} intervals")
        bytes_ = account(chain, intervals)
        samples = [Samples(1) for _ in intervals]
        progress(f"timing {rounds} rounds")
        with Interruptible() as block:
            collect([[partial(chain.step, k)] for k in intervals], samples, [rounds] * len(intervals))
    points = [Point(k, *bytes_[k], s.seconds) for k, s in zip(intervals, samples, strict=True) if s.seconds]
    return points, block.complete


def compared(sizes: Sizes, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Every point beside the one that keeps everything, by which its memory and time are told; none without that one.

    more_time compares samples of the same round; by_flops and uniform are what it would be by FLOPs and, of memory, in
    a chain whose checkpoints are as large as a layer's activations.
    """
    whole = next((p for p in points if p.interval == sizes.layers), None)
    if whole is None:
        return []
    found = []
    for p in points:
        ratio = median_interval([a / b - 1 for a, b in zip(p.seconds, whole.seconds, strict=False)])
        found.append(
            {
                "interval": p.interval,
                "peak_bytes": p.peak,
                "traced_bytes": p.traced,
                "predicted_bytes": sizes.peak_bytes(p.interval),
                "less_memory": whole.peak / p.peak,
                "less_memory_uniform": sizes.uniform_less_memory(p.interval),
                "seconds": p.seconds,
                "median": median_interval(p.seconds).as_dict(),
                "more_time": ratio.as_dict(),
                "more_time_best": min(p.seconds) / min(whole.seconds) - 1,
                "more_time_by_flops": sizes.more_flops(p.interval),
            }
        )
    return found


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """What the measured points say on the claim: it holds, it doesn't, or the interval leaves it undecided.

    Judged at the point that takes the fewest FLOPs for it: the luckiest of several noisy points would flatter it.
    """
    percent, times = CLAIM
    enough = [row for row in rows if row["less_memory"] >= times]
    if not enough:
        return f"not reached: at most {max(row['less_memory'] for row in rows):.1f}x less, with these layers"
    chosen = min(enough, key=lambda row: row["more_time_by_flops"])
    fastest = min(enough, key=lambda row: row["more_time"]["value"])
    more = Interval(**chosen["more_time"]).scaled(100)
    word = "holds" if more.high <= percent else "doesn't hold" if more.low > percent else "undecided"
    said = (
        f"{word} here: {chosen['less_memory']:.1f}x less took {interval(more.as_dict(), 0)} % more time at "
        f"k = {chosen['interval']}, the fewest FLOPs for it ({100 * chosen['more_time_by_flops']:.0f} % more)"
    )
    if fastest is not chosen:
        other = interval(Interval(**fastest["more_time"]).scaled(100).as_dict(), 0)
        said += f"; the fastest, k = {fastest['interval']}, took {other} %"
    return said
