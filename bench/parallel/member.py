"""One rank: its shards of the layers, and its side of every measurement."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.host.placement import pinned_to
from bench.measure.ranks.team import Host, Timed
from bench.parallel.shards import Shards, activations, all_shards, cached, error_bound, exact, whole
from bench.workloads.model import Model
from kernels.cpus import inherit_cpus


class Way(NamedTuple):
    """How a layer is run: in which phase of its model, by which of bench.record.probes.LAYERS, over how many ranks.

    Only layer_share is rank 0's alone, while the others sleep; then other numbers of ranks can be had, too.
    """

    phase: str
    operation: str
    ranks: int

    @property
    def key(self) -> tuple[str, int]:
        return self.phase, self.ranks

    @property
    def alone(self) -> bool:
        return self.operation == "layer_share"

    @property
    def sums(self) -> bool:
        return self.operation in ("layer_sums", "layer_split")


class Member(Host):
    """What rank 0 can ask of a rank."""

    def __init__(self, mpi: Any, world: Any) -> None:
        self.rank, self._ranks = world.rank, world.size
        self._mpi, self._world = mpi, world
        self._cpus: Sequence[int] = ()
        self._model: Model
        self._length = 0
        self._shards: dict[tuple[str, int], Shards] = {}
        self._next: dict[tuple[str, int], int] = {}

    def bind(self, cpus: Sequence[Sequence[int]]) -> None:
        """From now on on these CPUs, by rank: a thread on each."""
        self._cpus = cpus[self.rank]
        os.sched_setaffinity(0, self._cpus)
        inherit_cpus(self._cpus)

    def prepare(self, model: Model, length: int, splits: Sequence[int], layers: int) -> None:
        """Makes this rank's shards of so many layers; rank 0 those of every split, 1 is the whole, too."""
        self._model, self._length = model, length
        mine = [ranks for ranks in splits if self.rank == 0 or ranks == self._ranks]
        self._shards = all_shards(model, model.phases, length, mine, self.rank, layers, len(self._cpus))
        self._next = dict.fromkeys(self._shards, 0)

    def touch(self, phase: str) -> None:
        """Runs a phase's shards once: before a visit, for the reason that bench.measure.arrays.touch() has."""
        with pinned_to(self._cpus):
            for shards in (shards for key, shards in self._shards.items() if key[0] == phase):
                for part in range(len(shards)):
                    self._run(shards, part, None)

    def time(self, way: Way, calls: int) -> Timed:
        """So many calls of a way, after one that isn't timed and, where all take part, a barrier."""
        if way.alone and self.rank:
            return Timed([], [], time.process_time())
        shards = self._shards[way.key]
        call = self._call(way, shards)
        with pinned_to(self._cpus):
            call()
            if not way.alone:
                self._world.Barrier()
            start = time.perf_counter_ns()
            for _ in range(calls):
                call()
            end = time.perf_counter_ns()
        return Timed([end], [end - start], time.process_time())

    def _call(self, way: Way, shards: Shards) -> Callable[[], None]:
        if way.operation == "layer_sums":
            return self._both_sums(shards)
        sums = self._sum(shards) if way.sums else None

        def call() -> None:
            at = self._next[way.key]
            self._next[way.key] = (at + 1) % len(shards)
            self._run(shards, at, sums)

        return call

    def _sum(self, shards: Shards) -> Callable[[], None]:
        """What shards.summed holds, summed over the ranks in place."""
        reduce, here, place = self._world.Allreduce, self._mpi.IN_PLACE, [shards.summed, self._mpi.FLOAT]
        return lambda: reduce(here, place)

    def _both_sums(self, shards: Shards) -> Callable[[], None]:
        one = self._sum(shards)
        shards.summed[...] = 0  # again and again, sums would grow beyond all numbers

        def call() -> None:
            one()
            one()

        return call

    @staticmethod
    def _run(shards: Shards, part: int, sums: Callable[[], None] | None) -> None:
        before, between, after = shards.chains[part]
        before.run()
        if sums:
            sums()
        between.run()
        if sums:
            sums()
        after.run()

    def check(self, way: Way, part: int) -> tuple[int, float]:
        """Runs a part of a layer, and compares with the whole layer in float64: the bytes that were compared, and how
        many times as large as rounding allows the largest error is.
        """
        model, length = self._model, self._length
        if way.alone and self.rank:
            return 0, 0.0
        shards = self._shards[way.key]
        number = part // way.ranks
        past = cached(model, number, length) if way.phase == "decode" else None
        expected = exact(model, whole(model, number).layers[0], activations(model, way.phase, length), past)
        shards.start()
        with pinned_to(self._cpus):
            self._run(shards, part, self._sum(shards) if way.sums else None)
        error = float(np.abs(shards.state - expected).max())
        shards.start()
        return shards.state.nbytes, error / error_bound(model, length, expected)

    def ping(self, size: int, calls: int, skip: int) -> Timed:
        """Round trips between the first and the last rank, as the sums' messages go: by mpi4py."""
        pair = (0, self._ranks - 1)
        if self.rank not in pair:
            return Timed([], [], time.process_time())
        buffer, other, world = [np.zeros(size, np.uint8), self._mpi.BYTE], sum(pair) - self.rank, self._world
        start = 0
        for i in range(-skip, calls):
            start = start if i else time.perf_counter_ns()
            if self.rank == pair[0]:
                world.Send(buffer, other)
                world.Recv(buffer, other)
            else:
                world.Recv(buffer, other)
                world.Send(buffer, other)
        end = time.perf_counter_ns()
        return Timed([end], [end - start], time.process_time())
