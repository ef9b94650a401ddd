"""What a split layer costs over a link: its rank's computing, and two sums over the ranks.

A message of b bytes takes alpha + b / beta (Hockney 1994), or what those of its size were measured to take, in both
directions at once. A sum over n ranks is the fastest of three algorithms that MPI libraries have (Thakur, Rabenseifner
and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005); its additions are left out, and
nothing is computed meanwhile.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from bench.errors import BadInput

SUMS = 2  # of a layer
RATES = {"kbit": 1e3 / 8, "mbit": 1e6 / 8, "gbit": 1e9 / 8, "tbit": 1e12 / 8}
TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_LINK = re.compile(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit|tbit),(\d+(?:\.\d+)?)(ns|us|ms|s)")


@dataclass(frozen=True)
class Wire:
    """A link between ranks: seconds of an empty message, bytes/s of a long one, each way."""

    name: str
    alpha: float
    beta: float

    def __str__(self) -> str:
        return self.name

    def message(self, size: float) -> float:
        """Seconds of a message."""
        return self.alpha + size / self.beta

    def sum_(self, ranks: int, size: float) -> float:
        """Seconds of a sum over ranks, of `size` bytes on each."""
        return min(steps * self.message(sent / steps) for steps, sent in ways(ranks, size)) if ranks > 1 else 0.0

    def latency_share(self, ranks: int, size: float) -> float:
        """How much of a sum is latency, which no bandwidth makes shorter."""
        steps, sent = min(ways(ranks, size), key=lambda way: way[0] * self.message(way[1] / way[0]))
        return self.alpha / self.message(sent / steps)


@dataclass(frozen=True)
class Curve(Wire):
    """A link whose messages were measured: between two sizes time grows evenly, beyond the largest at beta.

    A message takes at most what a larger one takes: where it was measured to take more, something else held it up.
    alpha is the time of the smallest message, beta the rate of the largest one.
    """

    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def through(cls, name: str, points: Mapping[int, float]) -> "Curve":
        """points: seconds by bytes."""
        sizes = sorted(points)
        times = tuple(accumulate((points[size] for size in reversed(sizes)), min))[::-1]
        return cls(name, times[0], sizes[-1] / times[-1], tuple(map(float, sizes)), times)

    def message(self, size: float) -> float:
        beyond = max(0.0, size - self.sizes[-1])
        return float(np.interp(size, self.sizes, self.seconds)) + beyond / self.beta


KNOWN = (
    Wire("Gigabit Ethernet", 23.6e-6, 118.2e6),
    Wire("40 Gbit/s Ethernet, usNIC", 1.93e-6, 37.23e9 / 8),
    Wire("200 Gbit/s InfiniBand HDR", 0.6e-6, 200e9 / 8),
)
"""Links as others measured or sell them; docs/parallel.md has the sources."""


def ways(ranks: int, size: float) -> list[tuple[int, float]]:
    """Of each algorithm of a sum the messages that follow each other, and the bytes that a rank sends.

    Recursive doubling sends all, time after time; a ring, and recursive halving, send each byte about twice. Where the
    ranks are no power of two, recursive ones need a message before and one after.
    """
    if ranks == 1:
        return [(0, 0.0)]
    steps, odd = int(math.log2(ranks)), ranks & (ranks - 1)
    least = 2 * (ranks - 1) / ranks * size
    found = [(steps + (2 if odd else 0), (steps + (2 if odd else 0)) * size), (2 * (ranks - 1), least)]
    return found if odd else [*found, (2 * steps, least)]


def expected(computing: float, ranks: int, size: float, wire: Wire) -> float:
    """Seconds of a split layer; computing: those of a rank's share of it, size: bytes of a sum."""
    return computing + SUMS * wire.sum_(ranks, size)


@dataclass(frozen=True)
class Least:
    """The links from which on splitting pays: what a sum may take at most, the latency of a link without end of
    bandwidth, and the bandwidth, in bytes/s, of one without latency.
    """

    sum_: float
    alpha: float
    beta: float


def least(whole: float, computing: float, ranks: int, size: float) -> Least | None:
    """None where splitting saves nothing, whatever the link. whole, computing: seconds of the layer, and of a share."""
    most = (whole - computing) / SUMS
    if most <= 0:
        return None
    every = ways(ranks, size)
    return Least(most, most / min(steps for steps, _ in every), min(sent for _, sent in every) / most)


def wire(text: str) -> Wire:
    """ "25gbit,10us": bandwidth and latency. Raises BadInput for anything else."""
    found = _LINK.fullmatch(text.strip().lower())
    if not found or not float(found[1]):
        raise BadInput(f"--link {text:.40}: bandwidth and latency, as in 25gbit,10us")
    return Wire(text, float(found[3]) * TIMES[found[4]], float(found[1]) * RATES[found[2]])


def splits(heads: int, ffn: int, measured: int) -> Sequence[int]:
    """How many ranks are told of: the powers of two that both are multiples of, as many as heads, and `measured`."""
    powers = [1 << n for n in range(1, heads.bit_length())]
    return sorted({n for n in (*powers, heads, measured) if n > 1 and not (heads % n or ffn % n)})
