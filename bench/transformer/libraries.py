"""Latency of whole models beside those of bench.models.libraries: same weights, tokens, CPUs and threads, in turn.

Each library runs a model in a process of its own, which stands still while it isn't its turn. Its result is compared
with this project's before it is timed, and again afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadInput
from bench.measure.process import Process, spread
from bench.measure.session import Session
from bench.measure.timing import Elsewhere, Region, Samples, Variant, collect, timed
from bench.models.inference import Decoder, Encoder
from bench.models.libraries import Library, Run
from bench.models.steps import Step
from bench.models.weights import Weights, weights_of
from bench.record.intervals import median_interval
from bench.transformer.tasks import LEAST, MOST, Measuring, Task
from bench.workloads.model import Model
from kernels.verify import WrongResult

CLOSE = 1e-4  # of the largest element: f32 through all layers
OURS = "c"


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
    """Where one library runs one model."""

    def __init__(self, library: Library, cpus: list[int], model: Model, path: Path | None) -> None:
        super().__init__(library.name, cpus, _Server, library, cpus, model, path)

    def prepare(self, task: Task, expected: tuple[np.ndarray, list[int]]) -> Elsewhere:
        """Raises WrongResult where the first run's result isn't the expected one, BadInput where there is none."""
        try:
            self._ask("prepare", task, expected)
        except RuntimeError as error:
            raise BadInput(f"{self.backend}, {task.label}: {error}") from error
        return Elsewhere(1, lambda *region: self._ask("time", *region))

    def check_again(self) -> None:
        """The result of the last timed run."""
        self._ask("check_again")


class _Server:
    """The other end."""

    def __init__(self, library: Library, cpus: list[int], model: Model, path: Path | None) -> None:
        self.library, self.cpus, self.model, self.path = library, cpus, model, path
        self.weights: Weights | None = None
        self.run: Run | None = None
        self.result: Any = None

    def prepare(self, task: Task, expected: tuple[np.ndarray, list[int]]) -> None:
        self.run = self.result = None  # the last task's memory is free before the next one takes its own
        self.weights = self.weights or weights_of(self.model, self.path)
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
        return timed([self._call], first, calls, waken, team=False)

    def check_again(self) -> None:
        compare(self.library.name, self.result, self.expected)


@dataclass(frozen=True)
class Measured:
    """One task's samples: names[i] has samples[i]; the first is this project's."""

    task: Task
    steps: list[Step]
    names: list[str]
    samples: list[Samples]


class LibraryLatency(Measuring):
    """Beside libraries, and the figures derived from it. measure() raises WrongResult where a library's result isn't
    this project's.
    """

    def __init__(
        self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None, libraries: Sequence[Library]
    ) -> None:
        self.libraries = libraries
        self._measured: list[Measured] = []
        super().__init__(session, todo, threads, weights)

    def _bytes(self, task: Task) -> int:
        return 4 * 2 * task.model.parameters() * (1 + len(self.libraries))  # weights as they are, and packed

    def _measure(self, task: Task, weights: Weights, seconds: float) -> None:
        run, steps = ours(task, weights, self.threads)
        values, made = run()
        expected = np.array(values), list(made)
        workers = [self._worker(library, task.model) for library in self.libraries]
        variants: list[Variant] = [[run], *(worker.prepare(task, expected) for worker in workers)]
        once = timed([run], 0, 1).seconds
        names = [OURS, *(library.name for library in self.libraries)]
        samples = [Samples(1) for _ in names]
        self._measured.append(Measured(task, steps, names, samples))
        goal = min(MOST, max(LEAST, round(seconds / once)))
        collect(variants, samples, [goal] * len(names), pools=names)
        for worker in workers:
            try:
                worker.check_again()
            except WrongResult:
                self._measured.pop()  # a wrong result has no figures
                raise

    def _worker(self, library: Library, model: Model) -> ModelWorker:
        make: Callable[[list[int]], ModelWorker] = lambda cpus: ModelWorker(library, cpus, model, self.path)  # noqa: E731
        return self.session.hire(library.name, self.threads, make)

    def _roofs(self) -> tuple[float, float]:
        """Peak in FLOP/s and read bandwidth in byte/s."""
        roofs = self.session.roofs()[self.threads]
        return roofs.peaks["f32", self.session.isa].value, roofs.bandwidths["DRAM"].value

    def estimate(self, seconds: float) -> float:
        peak, read = self._roofs()
        spent, each = 0.0, 1 + len(self.libraries)
        for task in self.tasks:
            once = task.likely_seconds(peak, read, 4)
            spent += each * (max(min(seconds, MOST * once), LEAST * once) + 2 * once)
        models = {task.model.name: task.model.parameters() for task in self.tasks}
        return spent + sum(models.values()) * 2e-8 * each + 10 * len(models) * len(self.libraries)

    def rows(self) -> list[dict[str, Any]]:
        """A row per task of which this project and a library have samples; figures are by name, the project's first.

        seconds          medians with their intervals
        share_of_peak, share_of_read   the FLOPs and bytes from memory that this project executes, over the seconds
        over_best        how many times this project's speed is that of the fastest library, by medians
        """
        peak, read = self._roofs() if self._measured else (0.0, 0.0)
        return [row for measured in self._measured if (row := self._row(measured, peak, read))]

    def _row(self, measured: Measured, peak: float, read: float) -> dict[str, Any] | None:
        task = measured.task
        samples = {n: s.seconds for n, s in zip(measured.names, measured.samples, strict=True) if s.seconds}
        seconds = {name: median_interval(each) for name, each in samples.items()}
        libraries = [name for name in seconds if name != OURS]
        if OURS not in seconds or not libraries:
            return None
        best = min(libraries, key=lambda name: seconds[name].value)
        flops, cold = sum(step.flops for step in measured.steps), sum(step.cold for step in measured.steps)
        return {
            "model": task.model.name,
            "phase": task.phase,
            "length": task.length,
            "threads": self.threads,
            "dtype": "f32",
            "seconds": {name: interval.as_dict() for name, interval in seconds.items()},
            "samples": samples,
            "tokens_per_second": {name: task.length / interval.value for name, interval in seconds.items()},
            "share_of_peak": {name: flops / interval.value / peak for name, interval in seconds.items()},
            "share_of_read": {name: cold / interval.value / read for name, interval in seconds.items()},
            "best_library": best,
            "over_best": seconds[best].value / seconds[OURS].value,
        }
