"""Latency of whole Transformers on this project's backends, part by part."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import kernels
from bench.host.placement import pinned
from bench.measure.models.tasks import Contestant, Task
from bench.measure.models.visits import Entry, Measuring
from bench.measure.session import Session
from bench.models.accuracy import accuracies
from bench.models.schemes import Scheme
from bench.models.steps import Chain
from bench.models.stored import stored, stored_bytes
from bench.models.text import Text
from bench.models.weights import Weights
from bench.record.runs.figures import UNIT
from bench.record.runs.run import Accuracy
from bench.workloads.model import Model
from kernels.types import DTYPES

WARM = 8  # of decoding's tokens the first WARMth are generated untimed, elsewhere all of a pass


class Latency(Measuring):
    """Every run is timed part by part: reading the clock costs a thousandth of it at most. Backends take turns.

    The unit, BERT-Base at 128 tokens, is kept ready where it is among the tasks, and takes part in every round.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.unit = next((task for task in todo if (task.model.name, task.phase, task.length) == UNIT), None)
        self._ready: list[Entry] = []
        self._stored: dict[tuple[Model, Contestant], Weights] = {}
        self._accuracy: dict[tuple[Model, Contestant], Accuracy] = {}
        super().__init__(session, todo, threads, weights)

    def bytes(self, task: Task) -> int:
        kept = self._takes(self.unit) if self.unit and self.unit != task else 0
        return self._takes(task) + kept

    def _takes(self, task: Task) -> int:
        packed = len(task.backends) * task.model.parameters(embeddings=False) * (task.phase != "decode")
        square = task.model.heads * task.length**2 * (task.phase != "decode")
        work = len(task.contestants) * (square + 12 * task.model.width * task.length)
        stored = sum(stored_bytes(task.model, scheme.element) for _, scheme in task.stored)
        return DTYPES[self.dtype].itemsize * (task.model.parameters() + packed + work) + stored

    def prepare(self, task: Task, weights: Weights) -> list[Entry]:
        if task == self.unit:
            self._ready = self._ready or self._entries(task, weights)
            return [*self._ready, *(self._entry(task, weights, *one) for one in task.stored)]
        return [*self._entries(task, weights), *(self._entry(task, weights, *one) for one in task.stored)]

    def beside(self, task: Task) -> list[Entry]:
        if self.unit is None or task == self.unit:
            return []
        if not self._ready:
            self._ready = self._entries(self.unit, self.weights(self.unit.model))
        return self._ready

    def _entries(self, task: Task, weights: Weights) -> list[Entry]:
        return [self._entry(task, weights, backend) for backend in task.backends]

    def stored(self, task: Task, weights: Weights, backend: str, scheme: Scheme) -> Weights:
        """A model's weights as a backend has them stored, packed once for all backends; of the last model alone."""
        name = task.model, (backend, scheme)
        if name not in self._stored:
            self._stored = {other: kept for other, kept in self._stored.items() if other[0] == task.model}
            backends = [one for one, other in task.stored if other == scheme]
            rows = [scheme.kernel(one) for one in backends]
            for one, made in zip(backends, stored(weights, rows, self.threads, task.model.decoder), strict=True):
                self._stored[task.model, (one, scheme)] = made
        return self._stored[name]

    def judge(self, text: Callable[[Model], Text]) -> None:
        """How far each model with stored weights is from the native one, over its text: for its runs to keep.

        Raises WrongResult where one gives values that aren't finite.
        """
        for task in {task.model: task for task in self.tasks if task.stored}.values():
            self.session.progress(f"accuracy: {task.model.name}")
            weights = self.weights(task.model)
            others = [(backend, self.stored(task, weights, backend, scheme)) for backend, scheme in task.stored]
            with pinned(self.threads):
                of = text(task.model), self.threads, self.path is not None
                found = accuracies(task.model, weights, others, *of)
            self._accuracy |= {(task.model, one): made for one, made in zip(task.stored, found, strict=True)}

    def _entry(self, task: Task, weights: Weights, backend: str, scheme: Scheme | None = None) -> Entry:
        if scheme:
            weights = self.stored(task, weights, backend, scheme)
        steps = task.prepare(weights, self.threads, backend)
        share = WARM if task.phase == "decode" and task.length >= WARM else 1
        warming, chain = Chain(steps[: len(steps) // share]), Chain(steps)
        began = time.perf_counter()
        warming.run()  # untimed: maps pages, raises the clock
        once = share * (time.perf_counter() - began)
        asked = self.session.isa if backend == "c" else None
        isa = (scheme.kernel(backend) if scheme else kernels.find("gemm", self.dtype, backend, asked)).isa
        parts: list[dict[str, float]] = []
        run = self.run_of(task, backend, isa, scheme)
        if accuracy := self._accuracy.get((task.model, (backend, scheme))):
            run["accuracy"] = accuracy
        return Entry(run, [lambda: parts.append(chain.timed())], once, parts=parts)
