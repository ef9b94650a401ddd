"""What is measured: a model, a phase and a length each; one after the other, within a session."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.cli import console
from bench.errors import BadInput
from bench.host.placement import pinned
from bench.host.sysfs import available_memory_bytes
from bench.measure.session import Session
from bench.models.inference import Decoder, Encoder, together
from bench.models.steps import BACKENDS, Step
from bench.models.weights import Weights, refuse, weights_of
from bench.record.runs.run import ModelNumbers, Run, make_run
from bench.workloads.counts import count, total
from bench.workloads.model import Model
from kernels.types import DTYPES

LEAST, MOST = 3, 20  # timed runs of each backend
EFFICIENCY = 0.7  # of the roofs, for estimates of time


@dataclass(frozen=True)
class Task:
    """One model, phase and length. decode: `length` tokens are generated one by one, from an empty cache.

    backends  whose kernels run it, in turns
    """

    model: Model
    phase: str
    length: int
    backends: tuple[str, ...] = BACKENDS

    @property
    def label(self) -> str:
        return f"{self.model.name}, {self.phase}, {self.length} tokens"

    def tokens(self) -> np.ndarray:
        """The random ones that enter; a decoder that has no prompt starts with the first."""
        return np.random.default_rng(self.length).integers(0, self.model.vocabulary, self.length)

    def likely_seconds(self, peak: float, read: float, itemsize: int) -> float:
        """Of one run, for estimates: from the roofs in FLOP/s and byte/s, and a typical share of them."""
        counts = total(count(self.model, self.length, self.phase))
        return max(counts.flops / peak, counts.bytes(itemsize) / read * (self.phase == "decode")) / EFFICIENCY

    def run(self, backend: str, isa: str, threads: int, dtype: str) -> Run:
        """What a record keeps of it, without samples."""
        model, size, ours = self.model, DTYPES[dtype].itemsize, backend in BACKENDS
        one = self.phase == "decode"
        heads = model.heads if one else together(model.heads, self.length, size, threads)
        numbers: ModelNumbers = {
            "name": model.name,
            "layers": model.layers,
            "width": model.width,
            "ffn": model.ffn,
            "heads": model.heads,
            "vocabulary": model.vocabulary,
        }
        of = (numbers, self.phase, self.length, backend, isa, threads, dtype)
        return make_run("inference", *of, together=heads if ours else None)

    def prepare(self, weights: Weights, threads: int, backend: str) -> list[Step]:
        """Binds, and compiles, everything, and lets the tokens in."""
        tokens = self.tokens()
        if self.phase == "encode":
            encoder = Encoder(self.model, weights, self.length, threads, backend)
            encoder.tokens[...] = tokens
            return encoder.steps
        if self.phase == "prefill":
            prefill = Decoder(self.model, weights, self.length, self.length, threads, backend).prefill
            assert prefill
            prefill.tokens[...] = tokens
            return prefill.steps
        decoder = Decoder(self.model, weights, 0, self.length, threads, backend)
        decoder.start(tokens[:1])
        return [step for position in range(self.length) for step in decoder.token[position]]


def tasks(models: Sequence[Model], lengths: Sequence[int], backends: tuple[str, ...] = BACKENDS) -> list[Task]:
    """Every phase of every model at every length, longer ones than the model's positions included."""
    return [
        Task(replace(model, positions=max(model.positions, *lengths)), phase, length, backends)
        for model in models
        for phase in model.phases
        for length in lengths
    ]


class Measuring:
    """Measures tasks in a session, one after the other.

    weights  a checkpoint's, for a single model; None: random ones
    Raises BadInput for a model that can't be run, for one that a checkpoint isn't of, and where memory has no room.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.session, self.tasks, self.threads, self.path = session, todo, threads, weights
        free = available_memory_bytes()
        for task in todo:
            refuse(task.model)
            needed = self._bytes(task)
            if free is not None and needed > free:
                raise BadInput(f"{task.label}: takes {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are available")

    def _bytes(self, task: Task) -> int:
        """The memory that a task takes."""
        raise NotImplementedError

    def _measure(self, task: Task, weights: Weights, seconds: float) -> None:
        raise NotImplementedError

    def estimate(self, seconds: float) -> float:
        """Seconds that measure() will take, from the roofs measured so far."""
        raise NotImplementedError

    def measure(self, seconds: float) -> Iterator[Task]:
        """Yields each task before it is measured, for about `seconds` or LEAST runs of each that takes part."""
        weights, name = None, None
        for task in self.tasks:
            yield task
            if name != task.model.name:
                weights = None  # the last model's memory is free before the next one takes its own
                self.session.dismiss()
                name, weights = task.model.name, weights_of(task.model, self.path, DTYPES[self.session.dtypes[0]].name)
            assert weights
            with pinned(self.threads), self.session.watched():
                self._measure(task, weights, seconds)
            self.session.probe_round(self.threads)
        self.session.dismiss()

    def run(self, seconds: float, announce: Callable[[float], str]) -> None:
        """The session's roofs, then the tasks. announce: what to print before these, of their estimated seconds."""
        self.session.start()
        console(stderr=True).print(announce(self.estimate(seconds)))
        for i, task in enumerate(self.measure(seconds), 1):
            self.session.progress(f"[{i}/{len(self.tasks)}] {task.label}")
        self.session.finish()
