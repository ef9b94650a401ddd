"""Latency of whole Transformers on this project's backends, part by part."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kernels
from bench.measure.session import Session
from bench.models.steps import Step, timed_steps
from bench.models.weights import Weights
from bench.record.runs.figures import UNIT
from bench.transformer.tasks import Task
from bench.transformer.visits import Entry, Measuring
from kernels.types import DTYPES

WARM = 8  # of decoding's tokens the first WARMth are generated untimed, elsewhere all of a pass


class Latency(Measuring):
    """Every run is timed part by part: reading the clock costs a thousandth of it at most. Backends take turns.

    The unit, BERT-Base at 128 tokens, is kept ready where it is among the tasks, and takes part in every round.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.unit = next((task for task in todo if (task.model.name, task.phase, task.length) == UNIT), None)
        self._ready: list[Entry] = []
        super().__init__(session, todo, threads, weights)

    def bytes(self, task: Task) -> int:
        kept = self._takes(self.unit) if self.unit and self.unit != task else 0
        return self._takes(task) + kept

    def _takes(self, task: Task) -> int:
        packed = task.model.parameters(embeddings=False) * (task.phase != "decode")
        square = task.model.heads * task.length**2 * (task.phase != "decode")
        work = len(task.backends) * (packed + square + 12 * task.model.width * task.length)
        return DTYPES[self.dtype].itemsize * (task.model.parameters() + work)

    def prepare(self, task: Task, weights: Weights) -> list[Entry]:
        if task == self.unit:
            self._ready = self._ready or self._entries(task, weights)
            return self._ready
        return self._entries(task, weights)

    def beside(self, task: Task) -> list[Entry]:
        if self.unit is None or task == self.unit:
            return []
        if not self._ready:
            self._ready = self._entries(self.unit, self.weights(self.unit.model))
        return self._ready

    def _entries(self, task: Task, weights: Weights) -> list[Entry]:
        return [self._entry(task, weights, backend) for backend in task.backends]

    def _entry(self, task: Task, weights: Weights, backend: str) -> Entry:
        steps = task.prepare(weights, self.threads, backend)
        share = WARM if task.phase == "decode" and task.length >= WARM else 1
        began = time.perf_counter()
        for step in steps[: len(steps) // share]:
            step.call()  # untimed: maps pages, raises the clock
        once = share * (time.perf_counter() - began)
        isa = kernels.find("gemm", self.dtype, backend, self.session.isa if backend == "c" else None).isa
        parts: list[dict[str, float]] = []
        return Entry(self.run_of(task, backend, isa), [_timed(steps, parts)], once, parts=parts)


def _timed(steps: Sequence[Step], parts: list[dict[str, float]]) -> Callable[[], Any]:
    return lambda: parts.append(timed_steps(steps))
