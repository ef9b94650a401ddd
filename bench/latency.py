"""Latency of whole Transformers, part by part, beside what peak and bandwidth of the same session allow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.cli import BadInput
from bench.counts import count, total
from bench.figures import Figures, Roofs
from bench.host import available_memory_bytes, llc_bytes
from bench.inference import Decoder, Encoder, Step, by_name, timed_steps
from bench.layers import Model
from bench.measure import pinned, timed
from bench.ridge import median_interval
from bench.session import Session
from bench.weights import Weights, random_weights, read_weights, refuse
from kernels.reference import DTYPES

NORMAL = ("BERT-Base", 128)
"""The model and length whose latency is 1, as in the paper."""
PAPER = {("BERT-Base", 128): 1.0, ("BERT-Large", 128): 3.0, ("GPT-2", 128): 45.0}
"""Normalised latencies at 128 tokens on an Intel Gold 6242 that Gholami et al. (2024) plot; precision, threads and
framework aren't stated."""
LEAST, MOST = 3, 20  # timed runs
PARTS = 2  # runs that are timed part by part; a part's time is the shorter
EFFICIENCY = 0.7  # of the roofs, for estimates of time


@dataclass(frozen=True)
class Task:
    """One model, phase and length. decode: `length` tokens are generated one by one, from an empty cache."""

    model: Model
    phase: str
    length: int

    @property
    def label(self) -> str:
        return f"{self.model.name}, {self.phase}, {self.length} tokens"

    def prepare(self, weights: Weights, threads: int) -> "Ready":
        """Binds everything. Random tokens enter; a decoder starts with one of them."""
        tokens = np.random.default_rng(self.length).integers(0, self.model.vocabulary, self.length)
        if self.phase == "encode":
            encoder = Encoder(self.model, weights, self.length, threads)
            encoder.tokens[...] = tokens
            return Ready(encoder.steps, encoder.run)
        if self.phase == "prefill":
            prefill = Decoder(self.model, weights, self.length, self.length, threads).prefill
            assert prefill
            prefill.tokens[...] = tokens
            return Ready(prefill.steps, prefill.run)
        decoder = Decoder(self.model, weights, 0, self.length, threads)
        decoder.start(tokens[:1])
        steps = [step for position in range(self.length) for step in decoder.token[position]]

        def generate() -> None:
            for step in steps:
                step.call()

        return Ready(steps, generate)


@dataclass(frozen=True)
class Ready:
    """A task's bound steps, and all of them as one call."""

    steps: list[Step]
    run: Callable[[], None]


def tasks(models: Sequence[Model], lengths: Sequence[int]) -> list[Task]:
    """Every phase of every model at every length, longer ones than the model's positions included."""
    return [
        Task(replace(model, positions=max(model.positions, *lengths)), phase, length)
        for model in models
        for phase in model.phases
        for length in lengths
    ]


class Latency:
    """Measures tasks in a session and derives their figures.

    weights  a checkpoint's, for a single model; None: random ones
    Raises BadInput for a model that can't be run, for one that a checkpoint isn't of, and where memory has no room.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.session, self.tasks, self.threads, self.path = session, todo, threads, weights
        self.dtype = session.dtypes[0]
        self._measured: list[tuple[Task, list[float], dict[str, list[Step]], dict[str, float]]] = []
        size, free = DTYPES[self.dtype].itemsize, available_memory_bytes()
        for task in todo:
            refuse(task.model)
            square = task.model.heads * task.length**2 * (task.phase != "decode")
            needed = size * (2 * task.model.parameters() + square + 12 * task.model.width * task.length)
            if free is not None and needed > free:
                raise BadInput(f"{task.label}: takes {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are available")

    def measure(self, seconds: float) -> Iterator[Task]:
        """One task after the other; yields each before it is measured, for about `seconds` or LEAST runs."""
        weights, name = None, None
        for task in self.tasks:
            yield task
            if name != task.model.name:
                weights = None  # the last model's memory is free before the next one takes its own
                name, weights = task.model.name, self._weights(task.model)
            assert weights
            with pinned(self.threads), self.session.watched():
                ready = task.prepare(weights, self.threads)
                for step in ready.steps[: len(ready.steps) // 8 if task.phase == "decode" else None]:
                    step.call()  # untimed: maps pages, raises the clock
                samples = [timed([ready.run], 0, 1)]
                while len(samples) < LEAST or (sum(samples) < seconds and len(samples) < MOST):
                    samples.append(timed([ready.run], 0, 1))
                spent = [timed_steps(ready.steps) for _ in range(PARTS)]
            parts = {part: min(each[part] for each in spent) for part in spent[0]}
            self._measured.append((task, samples, by_name(ready.steps), parts))
            self.session.probe_round(self.threads)

    def _weights(self, model: Model) -> Weights:
        if self.path:
            return read_weights(model, self.path)
        return random_weights(model, dtype=DTYPES[self.dtype].name)

    def estimate(self, seconds: float) -> float:
        """Seconds that measure() will take, from the roofs measured so far and a typical share of them."""
        roofs, size = self.roofs(), DTYPES[self.dtype].itemsize
        peak, read = roofs.peaks[self.dtype, self.session.isa].value, roofs.bandwidths["DRAM"].value
        spent = 0.0
        for task in self.tasks:
            counts = total(count(task.model, task.length, task.phase))
            once = max(counts.flops / peak, counts.bytes(size) / read * (task.phase == "decode")) / EFFICIENCY
            spent += max(seconds, LEAST * once) + (PARTS + 0.5) * once
        models = {task.model.name: task.model.parameters() for task in self.tasks}
        return spent + sum(models.values()) * 2e-8  # making and packing weights

    def roofs(self) -> Roofs:
        return Figures(self.session.record()).roofs[self.threads]

    def rows(self) -> list[dict[str, Any]]:
        """A row per measured task; see row() and parts()."""
        if not self._measured:
            return []
        roofs = self.roofs()
        made = [self._row(roofs, *measured) for measured in self._measured]
        base = next((r["seconds"]["value"] for r in made if (r["model"], r["length"]) == NORMAL), None)
        ideal = next((r["bound_seconds"] for r in made if (r["model"], r["length"]) == NORMAL), None)
        for row in made:
            row["normalised"] = row["seconds"]["value"] / base if base else None
            row["normalised_bound"] = row["bound_seconds"] / ideal if ideal else None
            row["paper"] = PAPER.get((row["model"], row["length"])) if row["phase"] != "prefill" else None
        return made

    def _row(
        self,
        roofs: Roofs,
        task: Task,
        samples: Sequence[float],
        steps: dict[str, list[Step]],
        spent: dict[str, float],
    ) -> dict[str, Any]:
        """Seconds of a run, what it executed, its share of the peak and of the read roof; then its parts.

        modelled  FLOPs and MOPs by the paper's rules: no embeddings, no LM head, everything moved once
        executed  FLOPs of the kernels' calls; bytes that come from memory: weights and KV cache; of activations
        """
        peak, read = roofs.peaks[self.dtype, self.session.isa].value, self._memory(roofs, task.model)
        latency = median_interval(samples)
        counts = total(count(task.model, task.length, task.phase))
        parts = [self._part(roofs, name, group, spent[name], read) for name, group in steps.items()]
        flops, cold, hot = (sum(part[key] for part in parts) for key in ("flops", "cold_bytes", "hot_bytes"))
        return {
            "model": task.model.name,
            "phase": task.phase,
            "length": task.length,
            "threads": self.threads,
            "dtype": self.dtype,
            "seconds": latency.as_dict(),
            "samples": list(samples),
            "modelled": {"flops": counts.flops, "mops": counts.mops},
            "executed": {"flops": flops, "cold_bytes": cold, "hot_bytes": hot},
            "gflops": flops / latency.value / 1e9,
            "gbytes": cold / latency.value / 1e9,
            "share_of_peak": flops / latency.value / peak,
            "share_of_read": cold / latency.value / read,
            "tokens_per_second": task.length / latency.value,
            "bound_seconds": sum(part["bound_seconds"] for part in parts),
            "parts": parts,
        }

    def _part(self, roofs: Roofs, name: str, steps: Sequence[Step], seconds: float, read: float) -> dict[str, Any]:
        """One part of the model, over all layers: its time, and the longer of its FLOPs' and its bytes' time.

        read  bandwidth for weights and KV cache; activations come, each operand once, from the nearest cache that
              holds those of one call
        """
        peak = roofs.peaks[self.dtype, self.session.isa].value
        bound = 0.0
        for step in steps:
            near = roofs.bandwidths.get(self.session.level(step.hot, self.threads), roofs.bandwidths["DRAM"]).value
            bound += max(step.flops / peak, step.cold / read + step.hot / near)
        return {
            "name": name,
            "calls": len(steps),
            "seconds": seconds,
            "flops": sum(step.flops for step in steps),
            "cold_bytes": sum(step.cold for step in steps),
            "hot_bytes": sum(step.hot for step in steps),
            "bound_seconds": bound,
        }

    def _memory(self, roofs: Roofs, model: Model) -> float:
        """Read bandwidth, in bytes/s, of where a run finds the weights that the last one left behind."""
        size = model.parameters() * DTYPES[self.dtype].itemsize
        level = "L3" if size <= (llc_bytes() or 0) and "L3" in roofs.bandwidths else "DRAM"
        return roofs.bandwidths[level].value
