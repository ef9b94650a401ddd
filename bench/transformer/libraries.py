"""Latency of whole models beside those of bench.models.libraries: same weights, tokens, CPUs and threads, in turn.

Each library runs a model in a process of its own, which stands still while it isn't its turn. Its result is compared
with this project's before it is timed, and again afterwards.
"""

import functools
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadInput
from bench.measure.models.tasks import Task
from bench.measure.models.visits import Entry, Measuring
from bench.measure.process import Process, spread
from bench.measure.session import Session
from bench.measure.timing import LOST, Elsewhere, Region, timed
from bench.models.inference import Decoder, Encoder
from bench.models.libraries import Library, Run
from bench.models.steps import Step
from bench.models.weights import Weights, weights_of
from bench.transformer.rows import OURS
from bench.workloads.model import Model
from kernels.verify import WrongResult

CLOSE = 1e-4  # of the largest element: f32 through all layers
SWITCH_SECONDS = 4e-3  # what an involuntary switch costs: a slice of the scheduler


def ours(task: Task, weights: Weights, threads: int) -> tuple[Run, list[Step]]:
    """A run on this project's kernels, and its steps; its result as in bench.models.libraries."""
    tokens, length = task.tokens(), task.length
    if task.phase == "encode":
        encoder = Encoder(task.model, weights, length, threads)
        return lambda: (encoder.encode(tokens), ()), encoder.steps
    prompt = length if task.phase == "prefill" else 0
    decoder = Decoder(task.model, weights, prompt, length, threads)
    if decoder.prefill:
        return lambda: (decoder.logits, decoder.generate(tokens, 1)), decoder.prefill.steps
    steps = [step for position in range(length) for step in decoder.token[position]]
    return lambda: (decoder.logits, decoder.generate(tokens[:1], length)), steps


def compare(name: str, result: Any, expected: tuple[np.ndarray, list[int]]) -> None:
    """Raises WrongResult, naming the library, where values or tokens aren't the expected ones."""
    values, made = np.asarray(result[0]), np.asarray(result[1]).tolist()
    wanted, tokens = expected
    if values.shape != wanted.shape:
        raise WrongResult(f"{name}: a result of shape {values.shape}, not {wanted.shape}")
    differ = next((i for i, (a, b) in enumerate(zip(made, tokens, strict=True)) if a != b), None)
    if differ is not None:
        raise WrongResult(f"{name}: token {differ} is {made[differ]}, not {tokens[differ]}")
    error = float(np.abs(values - wanted).max() / np.abs(wanted).max())
    if not error <= CLOSE:
        raise WrongResult(f"{name}: {error:.1e} of the largest element away from {OURS}'s result")


class ModelWorker(Process):
    """Where one library runs whole models."""

    def __init__(self, library: Library, cpus: list[int]) -> None:
        super().__init__(library.name, cpus, _Server, library, cpus)

    def prepare(self, task: Task, path: Path | None, expected: tuple[np.ndarray, list[int]]) -> Elsewhere:
        """Raises WrongResult where the first run's result isn't the expected one, BadInput where there is none.

        path    of the model's weights; None: random ones
        """
        try:
            self._ask("prepare", task, path, expected)
        except RuntimeError as error:
            raise BadInput(f"{self.backend}, {task.label}: {error}") from error
        return Elsewhere(1, lambda *region: self._ask("time", *region))

    def check_again(self) -> None:
        """The result of the last timed run."""
        self._ask("check_again")


class _Server:
    """The other end."""

    def __init__(self, library: Library, cpus: list[int]) -> None:
        self.library, self.cpus = library, cpus
        self.model: tuple[Model, Path | None] | None = None
        self.weights: Weights | None = None
        self.run: Run | None = None
        self.result: Any = None

    def prepare(self, task: Task, path: Path | None, expected: tuple[np.ndarray, list[int]]) -> None:
        self.run = self.result = None  # the last task's memory is free before the next one takes its own
        if self.weights is None or self.model != (task.model, path):
            self.weights = None
            self.model, self.weights = (task.model, path), weights_of(task.model, path)
        self.expected = expected
        threads = len(self.cpus)
        self.run = self.library.prepare(task.model, self.weights, task.phase, task.tokens(), threads)
        with spread(self.cpus):
            self._call()
        self.check_again()

    def _call(self) -> None:
        assert self.run
        self.result = self.run()

    def time(self, first: int, calls: int, waken: bool) -> Region:
        """As timed(); a library's threads may sleep while they wait, so only lost CPUs are marked, not idle clocks."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        region = timed([self._call], first, calls, waken, team=False)
        lost = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
        return Region(region.seconds, lost * SWITCH_SECONDS > LOST * region.seconds)

    def check_again(self) -> None:
        compare(self.library.name, self.result, self.expected)


class LibraryLatency(Measuring):
    """Beside libraries. measure() raises WrongResult where a library's result isn't this project's."""

    def __init__(
        self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None, libraries: Sequence[Library]
    ) -> None:
        self.libraries = libraries
        self._workers: list[ModelWorker] = []
        self._model: Model | None = None
        super().__init__(session, todo, threads, weights)

    def bytes(self, task: Task) -> int:
        return 4 * 2 * task.model.parameters() * (1 + len(self.libraries))  # weights as they are, and packed

    def prepare(self, task: Task, weights: Weights) -> list[Entry]:
        if self._model != task.model:
            self.session.dismiss()  # the last model's memory is free before the next one takes its own
            self._model = task.model
        run, _ = ours(task, weights, self.threads)
        began = time.perf_counter()
        values, made = run()
        once = time.perf_counter() - began
        expected = np.array(values), list(made)
        entries = [Entry(self.run_of(task, OURS, self.session.isa), [run], once)]
        self._workers = [self._worker(library) for library in self.libraries]
        for library, worker in zip(self.libraries, self._workers, strict=True):
            there = self.run_of(task, library.name, library.version() or "unknown")
            entries.append(Entry(there, worker.prepare(task, self.path, expected), once, pool=library.name))
        return entries

    def check_again(self, entries: Sequence[Entry]) -> None:
        for worker in self._workers:
            worker.check_again()

    def _worker(self, library: Library) -> ModelWorker:
        return self.session.hire(library.name, self.threads, functools.partial(ModelWorker, library))

    def cost(self, task: Task, seconds: float) -> float:
        return super().cost(task, seconds) * (1 + len(self.libraries)) / len(task.backends)
