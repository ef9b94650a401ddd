"""What is measured between ranks, how often and at which sizes: OSU's micro-benchmarks to the letter.

Latency is half of a round trip, bandwidth that of windows of 64 messages, each acknowledged by 4 bytes; a reduction's
time is the mean over ranks, with a barrier before each, outside of the time. Loops and skips are those of OSU's
osu_latency, osu_bw and osu_allreduce; the loops are spread over VISITS of the session, each with all of its skips.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

VISITS = 4
LARGE = 8192  # bytes: messages beyond take the fewer loops
LARGEST = 4 << 20
WINDOW = 64  # messages
ACKNOWLEDGEMENT = 4  # bytes
REGION = 20e-6  # seconds: twice what a record's regions have to last
FASTEST = 0.25e-6, 30e9  # seconds a message, bytes/s: no link is faster


class Loops(NamedTuple):
    """Of one visit: untimed calls first, then `blocks` samples of `each` calls."""

    skip: int
    blocks: int
    each: int

    def fewer(self, by: int, size: int = 0) -> "Loops":
        """About a `by`-th of the calls: of the samples first, for short ones tell less; and of a sample no fewer than
        take REGION where a message of `size` bytes passes at FASTEST, if that many would be made at all.
        """
        blocks = max(1, self.blocks // by)
        least = min(self.each, math.ceil(REGION / (FASTEST[0] + size / FASTEST[1])))
        return Loops(max(1, self.skip // by), blocks, max(least, self.blocks * self.each // (by * blocks)))


class Kind(NamedTuple):
    """A kind of measurement: an operation of bench.record.probes.LINK.

    least  bytes of the smallest
    pair   whether only two ranks take part
    """

    small: Loops
    large: Loops
    least: int
    pair: bool

    def loops(self, size: int, fewer: int = 1) -> Loops:
        return (self.large if size > LARGE else self.small).fewer(fewer, size)


_COLLECTIVE = (Loops(100, 5, 50), Loops(10, 5, 5))  # 1000 and 100 in all
KINDS: Mapping[str, Kind] = {
    "ping_pong": Kind(Loops(100, 10, 250), Loops(10, 10, 25), 1, True),  # 10000 and 1000
    "window": Kind(Loops(10, 5, 5), Loops(2, 5, 1), 1, True),  # 100 and 20
    "allreduce": Kind(*_COLLECTIVE, 4, False),
    "allreduce_in_place": Kind(*_COLLECTIVE, 4, False),
}
"""By operation."""


class Step(NamedTuple):
    """One operation at one size. rotating: each message in buffers of its own, which a cache no longer has."""

    operation: str
    size: int
    rotating: bool


def sizes(least: int, largest: int = LARGEST) -> list[int]:
    """The powers of two from `least` to `largest` bytes."""
    return [1 << n for n in range(least.bit_length() - 1, largest.bit_length())]


def steps(largest: int = LARGEST) -> Iterator[Step]:
    """Everything, by size, as OSU's go; both kinds of buffers one after the other."""
    for size in sizes(1, largest):
        for operation, kind in KINDS.items():
            if size >= kind.least:
                yield Step(operation, size, False)
                yield Step(operation, size, True)


def likely_seconds(step: Step, fewer: int = 1) -> float:
    """For the progress only: a microsecond a message, and 3 GB/s."""
    loops = KINDS[step.operation].loops(step.size, fewer)
    messages = WINDOW if step.operation == "window" else 2
    return (loops.skip + loops.blocks * loops.each) * messages * (1e-6 + step.size / 3e9) + 5e-3
