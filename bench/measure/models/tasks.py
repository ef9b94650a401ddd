"""What is measured: a model, a phase and a length each, bound and ready to run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.models import BACKENDS
from bench.models.inference import Decoder, Encoder, together
from bench.models.schemes import Scheme
from bench.models.steps import Step
from bench.models.weights import Weights
from bench.quantities import plural
from bench.record.runs.run import ModelNumbers, Run, make_run
from bench.workloads.counts import count, total
from bench.workloads.model import Model
from kernels.types import DTYPES

EFFICIENCY = 0.7  # of the roofs, for estimates of time

Contestant = tuple[str, Scheme | None]
"""A backend, and how it has the weights stored; None: in their native type."""


@dataclass(frozen=True)
class Task:
    """One model, phase and length. decode: `length` tokens are generated one by one, from an empty cache.

    backends  whose kernels run it, in turns
    stored    backends that run it with weights as they are stored, too, and how these are
    """

    model: Model
    phase: str
    length: int
    backends: tuple[str, ...] = BACKENDS
    stored: tuple[tuple[str, Scheme], ...] = ()

    @property
    def contestants(self) -> list[Contestant]:
        return [*((backend, None) for backend in self.backends), *self.stored]

    @property
    def label(self) -> str:
        return f"{self.model.name}, {self.phase}, {plural(self.length, 'token')}"

    def tokens(self) -> np.ndarray:
        """The random ones that enter; a decoder that has no prompt starts with the first."""
        return np.random.default_rng(self.length).integers(0, self.model.vocabulary, self.length)

    def likely_seconds(self, peak: float, read: float, itemsize: int) -> float:
        """Of one run, for estimates: from the roofs in FLOP/s and byte/s, and a typical share of them."""
        counts = total(count(self.model, self.length, self.phase))
        return max(counts.flops / peak, counts.bytes(itemsize) / read * (self.phase == "decode")) / EFFICIENCY

    def run(self, backend: str, isa: str, threads: int, dtype: str, scheme: Scheme | None = None) -> Run:
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
        stored = (scheme.element, scheme.operation) if scheme else None
        return make_run("inference", *of, together=heads if ours else None, stored=stored)

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


def tasks(
    models: Sequence[Model],
    lengths: Sequence[int],
    backends: tuple[str, ...] = BACKENDS,
    stored: tuple[tuple[str, Scheme], ...] = (),
) -> list[Task]:
    """Every phase of every model at every length, longer ones than the model's positions included."""
    return [
        Task(replace(model, positions=max(model.positions, *lengths)), phase, length, backends, stored)
        for model in models
        for phase in model.phases
        for length in lengths
    ]
