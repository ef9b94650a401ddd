"""One rank: its buffers, and its side of every measurement."""

import time
from typing import Any

import numpy as np

from bench.interconnect.loops import Loops, Place, compiled
from bench.interconnect.plan import LARGEST, WINDOW, Step
from bench.measure.arrays import touch
from bench.measure.ranks.team import Host, Timed
from kernels.arrays import aligned_empty

PERIOD = 97  # floats, after which the values of a buffer come again: prime, so no message begins as the one before


class Member(Host):
    """What rank 0 can ask of a rank. pair: the first and the last one, which single messages go between."""

    def __init__(self, mpi: Any, world: Any) -> None:
        self.rank, self.pair = world.rank, (0, world.size - 1)
        self._ranks = world.size
        self._mpi, self._world = mpi, world
        self._loops: Loops
        self._same: tuple[np.ndarray, np.ndarray]
        self._pools: tuple[np.ndarray, np.ndarray]
        self._offset = 0

    def prepare(self, pool: int) -> None:
        """Compiles the loops, and touches the buffers: one pair of LARGEST bytes, one of `pool`."""
        self._loops = compiled(self._mpi, self._world)
        self._same, self._pools = (tuple(map(_buffer, (size, size))) for size in (LARGEST, pool))  # type: ignore[assignment]
        for send, receive in (self._same, self._pools):
            _fill(send, self.rank + 1)
            _fill(receive, 1)

    def touch(self) -> None:
        """Before a visit, for the reason that bench.measure.arrays.touch() has."""
        touch([*self._same, *self._pools])

    def time(self, step: Step, skip: int, blocks: int, each: int) -> Timed:
        """Runs a step: `skip` calls, then `blocks` samples of `each`. Ranks that have no part in it return no times."""
        ended, spent = np.zeros(blocks, np.int64), np.zeros(blocks, np.int64)
        if step.operation == "allreduce_in_place" and not step.rotating:
            self._same[1][: step.size] = 0  # of anything else, sums of sums would be infinite after 127 calls
        taking_part = self.rank in self.pair or step.operation.startswith("allreduce")
        if taking_part:
            self._run(step, skip, blocks, each, ended, spent)
        self._move(step, skip + blocks * each)
        return Timed(ended.tolist() if taking_part else [], spent.tolist(), time.process_time())

    def check(self, step: Step) -> tuple[int, int]:
        """Once more on fresh values: bytes that were compared on this rank, and how many elements are wrong."""
        place, (send, receive) = self._place(step), self._buffers(step)
        operation, size, _ = step
        reduced = operation.startswith("allreduce")
        messages = min(WINDOW, place.slots) if operation == "window" else 1
        for slot in range(messages):
            at = (place.position + slot) % place.slots * place.stride
            send[at : at + size] = _values(at, size, self.rank + 1)
            receive[at : at + size] = send[at : at + size] if reduced else 0
        if not reduced and self.rank not in self.pair:
            return 0, 0
        self._run(step, 0, 1, 1, np.zeros(1, np.int64), np.zeros(1, np.int64))
        if operation == "window" and self.rank == self.pair[0]:
            return 0, 0  # it sent
        whose = self._ranks * (self._ranks + 1) // 2 if reduced else sum(self.pair) - self.rank + 1
        wrong = 0
        for slot in range(messages):
            at = (place.position + slot) % place.slots * place.stride
            got, wanted = receive[at : at + size], _values(at, size, whose)
            if reduced:
                got, wanted = got.view(np.float32), wanted.view(np.float32)
            wrong += int(np.count_nonzero(got != wanted))
        return messages * size, wrong

    def _run(self, step: Step, skip: int, blocks: int, each: int, ended: np.ndarray, spent: np.ndarray) -> None:
        place, size = self._place(step), step.size
        if step.operation.startswith("allreduce"):
            inside = step.operation == "allreduce_in_place"
            self._loops.allreduce(*place, size // 4, inside, skip, blocks, each, ended, spent)
            return
        peer = sum(self.pair) - self.rank
        loop = self._loops.window if step.operation == "window" else self._loops.ping_pong
        loop(*place, self.rank == self.pair[0], peer, size, skip, blocks, each, ended, spent)

    def _buffers(self, step: Step) -> tuple[np.ndarray, np.ndarray]:
        return self._pools if step.rotating else self._same

    def _place(self, step: Step) -> Place:
        send, receive = self._buffers(step)
        stride = -(-step.size // 64) * 64
        slots = send.size // stride if step.rotating else 1
        return Place(send.ctypes.data, receive.ctypes.data, stride, slots, self._offset // stride % slots)

    def _move(self, step: Step, calls: int) -> None:
        """Of buffers that rotate the next ones come next, also where the next message has another size."""
        place = self._place(step)
        if step.rotating:
            messages = calls * (WINDOW if step.operation == "window" else 1)
            self._offset = (place.position + messages) % place.slots * place.stride


def _buffer(size: int) -> np.ndarray:
    return aligned_empty((size,), np.dtype(np.uint8))


def _fill(buffer: np.ndarray, times: int) -> None:
    """With _values(), whole buffers of which are many: without a copy of the size."""
    floats, period = buffer.view(np.float32), _values(0, 4 * PERIOD, times).view(np.float32)
    whole = floats.size // PERIOD * PERIOD
    floats[:whole].reshape(-1, PERIOD)[:] = period
    floats[whole:] = period[: floats.size - whole]


def _values(at: int, size: int, times: int) -> np.ndarray:
    """Bytes from `at` on of a buffer of floats: `times` 1 to PERIOD, again and again. Sums over ranks are exact."""
    first, last = at // 4, -(-(at + size) // 4)
    floats = ((np.arange(first, last, dtype=np.int64) % PERIOD + 1) * times).astype(np.float32)
    return floats.view(np.uint8)[at - 4 * first :][:size]
