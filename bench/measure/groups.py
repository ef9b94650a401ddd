"""What is measured together: kernels on a shape, and the order in which a session comes back to them.

A session passes over its groups several times (visits), each time in another order: what changes from minute to minute
then meets all of them, and shows as a difference between visits.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.measure.stored import ENCODED, plain
from bench.measure.timing import OPENMP
from bench.quantities import plural
from bench.record.roofs import Roofs
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.operations import OPERATIONS

Member = TypeVar("Member")

VISITS = 3
OVERHEAD_SECONDS = 0.05  # of a group in one visit: inputs, binding, warming up
PREPARING = {"native": 5e-9, "stored": 1e-7, "sparse": 5e-7}  # seconds per weight: making, encoding, checking


@dataclass(frozen=True)
class Group:
    """Kernels on cases that are timed in the same rounds, on so many threads and in one type."""

    members: tuple[tuple[Case, Kernel], ...]
    dtype: str
    threads: int

    @classmethod
    def of(cls, case: Case, dtype: str, threads: int, kernels: Iterable[Kernel]) -> "Group":
        return cls(tuple((case, kernel) for kernel in kernels), dtype, threads)

    @property
    def cases(self) -> list[Case]:
        return list(dict.fromkeys(case for case, _ in self.members))

    @property
    def label(self) -> str:
        """ "BERT-Base ffn_up m=32 n=3072 k=768, 2 threads, f32": what the progress says, in the names that -k takes."""
        cases, stored = self.cases, [(k, OPERATIONS[k.operation].weights) for _, k in self.members]
        name = cases[0].layers[0] if cases[0].layers else cases[0].operation
        used = [d for d in "mnk" if d == "m" or d in cases[0].dims]
        sizes = {d: sorted({getattr(case, d) for case in cases}) for d in used}
        words = [f"{d}={s[0]}" + (f" to {s[-1]}" if s[1:] else "") for d, s in sizes.items()]
        types = dict.fromkeys(kernel.types[w] if w else self.dtype for kernel, w in stored)
        return f"{' '.join([name, *words])}, {plural(self.threads, 'thread')}, {' '.join(types)}"

    @property
    def matrix(self) -> tuple[Any, ...]:
        """Groups with the same weights, which stay packed between them, are visited one after the other."""
        case = self.cases[0]
        return self.threads, self.dtype, *((case.n, case.k) if case.weight else (case.operation, case.n))

    @property
    def kind(self) -> str:
        """Groups whose kernels' weights are prepared in ways that take about as long."""
        stored = [OPERATIONS[kernel.operation] for case, kernel in self.members if not plain(case, kernel)]
        return "sparse" if any(op.stored for op in stored) else "stored" if stored else "native"

    def likely_seconds(self, seconds: float, roofs: Mapping[int, Roofs], first: bool = True) -> float:
        """About how long one visit takes, `seconds` being asked for per kernel and the roofs known; first: of all."""
        known, total = roofs.get(self.threads), OVERHEAD_SECONDS
        for case, _ in self.members:
            once = 0.0
            peaks = [peak.value for (type_, _), peak in known.peaks.items() if type_ == self.dtype] if known else []
            if peaks:
                once = case.flops / max(peaks)
            total += max(seconds, 3 * once)
            total += PREPARING[self.kind] * min(case.n * case.k, ENCODED) / (1 if first else 2)
        return total


def permuted(members: Sequence[Member], visit: int, weights: Callable[[Member], Any]) -> list[Member]:
    """In this visit's order: shuffled, but those with the same weights in a row."""
    order = random.Random(visit)
    blocks: dict[Any, list[Member]] = {}
    for member in members:
        blocks.setdefault(weights(member), []).append(member)
    shuffled = list(blocks.values())
    order.shuffle(shuffled)
    for block in shuffled:
        order.shuffle(block)
    return [member for block in shuffled for member in block]


def likely_parts(
    groups: Iterable[Group], seconds: float, visits: int, roofs: Mapping[int, Roofs]
) -> Iterator[tuple[tuple[Group, int], str, bool, float]]:
    """What Forecast.plan() takes, for each group and visit; seconds: per kernel and visit."""
    for group in groups:
        for i in range(visits):
            yield (group, i), group.kind, not i, group.likely_seconds(seconds, roofs, not i)


def pool_of(kernel: Kernel) -> str:
    """The thread pool that a kernel runs on; C's and Numba's is the same OpenMP team."""
    return OPENMP if kernel.backend in ("c", "numba") else kernel.backend
