"""Latency of whole Transformers, part by part, beside what peak and bandwidth of the same session allow."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.host.sysfs import llc_bytes
from bench.measure.session import Session
from bench.models.steps import by_name, timed_steps
from bench.models.weights import Weights
from bench.record.intervals import median_interval
from bench.record.roofs import Roofs
from bench.transformer.tasks import LEAST, MOST, Measuring, Task
from bench.workloads.counts import count, total
from bench.workloads.model import Model
from kernels.types import DTYPES

NORMAL = ("BERT-Base", 128)
"""The model and length whose latency is 1, as in the paper."""
PAPER = {("BERT-Base", 128): 1.0, ("BERT-Large", 128): 3.0, ("GPT-2", 128): 45.0}
"""Normalised latencies at 128 tokens on an Intel Gold 6242 that Gholami et al. (2024) plot; precision, threads and
framework aren't stated."""

Work = Counter[tuple[int, int, int, int]]
"""How many calls have which FLOPs, cold, hot and returning bytes; the calls themselves would keep weights alive."""
_Measured = tuple[Task, str, dict[str, Work], list[dict[str, float]]]
"""A task on one backend: the work of its parts, and what each run spent on each part."""


class Latency(Measuring):
    """Of this project's backends, part by part, and the figures derived from it.

    Every run is timed part by part: reading the clock costs a thousandth of it at most. Backends take turns.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.dtype = session.dtypes[0]
        self._measured: list[_Measured] = []
        super().__init__(session, todo, threads, weights)

    def _bytes(self, task: Task) -> int:
        packed = task.model.parameters(embeddings=False) * (task.phase != "decode")
        square = task.model.heads * task.length**2 * (task.phase != "decode")
        work = len(task.backends) * (packed + square + 12 * task.model.width * task.length)
        return DTYPES[self.dtype].itemsize * (task.model.parameters() + work)

    def _measure(self, task: Task, weights: Weights, seconds: float) -> None:
        self._measured += self._in_turns(task, weights, seconds)

    def _in_turns(self, task: Task, weights: Weights, seconds: float) -> Iterator[_Measured]:
        """Runs a task on each of its backends, who leads changes; all that was bound is free again afterwards."""
        ready = [task.prepare(weights, self.threads, backend) for backend in task.backends]
        for steps in ready:
            for step in steps[: len(steps) // 8 if task.phase == "decode" else None]:
                step.call()  # untimed: maps pages, raises the clock
        runs: list[list[dict[str, float]]] = [[] for _ in ready]
        total, turn = 0.0, 0
        while turn < LEAST or (total < seconds and turn < MOST):
            for i in range(len(ready)):
                b = (turn + i) % len(ready)
                runs[b].append(timed_steps(ready[b]))
                total += sum(runs[b][-1].values())
            turn += 1
        for backend, steps, spent in zip(task.backends, ready, runs, strict=True):
            groups = by_name(steps).items()
            yield (
                task,
                backend,
                {n: Counter((s.flops, s.cold, s.hot, s.back) for s in group) for n, group in groups},
                spent,
            )

    def estimate(self, seconds: float) -> float:
        roofs, size = self.roofs(), DTYPES[self.dtype].itemsize
        peak, read = roofs.peaks[self.dtype, self.session.isa].value, roofs.bandwidths["DRAM"].value
        spent = 0.0
        for task in self.tasks:
            once = task.likely_seconds(peak, read, size)
            spent += max(seconds, LEAST * once * len(task.backends)) + 0.5 * once * len(task.backends)
        models = {task.model.name: task.model.parameters() for task in self.tasks}
        return spent + sum(models.values()) * 2e-8  # making and packing weights

    def roofs(self) -> Roofs:
        return self.session.roofs()[self.threads]

    def rows(self) -> list[dict[str, Any]]:
        """A row per measured task; see row() and parts()."""
        if not self._measured:
            return []
        roofs = self.roofs()
        made = [self._row(roofs, *measured) for measured in self._measured]
        normal = {row["backend"]: row for row in made if (row["model"], row["length"]) == NORMAL}
        for row in made:
            base = normal.get(row["backend"])  # one backend's models are compared, not the backends
            row["normalised"] = row["seconds"]["value"] / base["seconds"]["value"] if base else None
            row["normalised_bound"] = row["bound_seconds"] / base["bound_seconds"] if base else None
            row["paper"] = PAPER.get((row["model"], row["length"])) if row["phase"] != "prefill" else None
        return made

    def _row(
        self, roofs: Roofs, task: Task, backend: str, work: dict[str, Work], spent: Sequence[dict[str, float]]
    ) -> dict[str, Any]:
        """Seconds of a run, what it executed, its share of the peak and of the read roof; then its parts.

        modelled  FLOPs and MOPs by the paper's rules: no embeddings, no LM head, everything moved once
        executed  FLOPs of the kernels' calls; bytes that come from memory: weights and KV cache; of activations
        """
        peak, read = roofs.peaks[self.dtype, self.session.isa].value, self._memory(roofs, task.model)
        samples = [sum(run.values()) for run in spent]
        latency = median_interval(samples)
        counts = total(count(task.model, task.length, task.phase))
        parts = [
            self._part(roofs, name, calls, median(run[name] for run in spent), read) for name, calls in work.items()
        ]
        flops, cold, hot = (sum(part[key] for part in parts) for key in ("flops", "cold_bytes", "hot_bytes"))
        return {
            "model": task.model.name,
            "phase": task.phase,
            "length": task.length,
            "backend": backend,
            "threads": self.threads,
            "dtype": self.dtype,
            "seconds": latency.as_dict(),
            "samples": samples,
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

    def _part(self, roofs: Roofs, name: str, work: Work, seconds: float, read: float) -> dict[str, Any]:
        """One part of the model, over all layers: its median time, and the longer of its FLOPs' and its bytes' time.

        read  bandwidth for weights and KV cache; activations come, each operand once, from the nearest cache that
              holds those of one call
        """
        peak = roofs.peaks[self.dtype, self.session.isa].value
        bound = 0.0
        for (flops, cold, hot, back), calls in work.items():
            comes = hot - back
            near = roofs.bandwidths.get(self.session.level(comes, self.threads), roofs.bandwidths["DRAM"]).value
            bound += calls * max(flops / peak, cold / read + comes / near)
        return {
            "name": name,
            "calls": work.total(),
            "seconds": seconds,
            "flops": sum(calls * flops for (flops, *_), calls in work.items()),
            "cold_bytes": sum(calls * cold for (_, cold, *_), calls in work.items()),
            "hot_bytes": sum(calls * hot for (_, _, hot, _), calls in work.items()),
            "bound_seconds": bound,
        }

    def _memory(self, roofs: Roofs, model: Model) -> float:
        """Read bandwidth, in bytes/s, of where a run finds the weights that the last one left behind."""
        size = model.parameters() * DTYPES[self.dtype].itemsize
        level = "L3" if size <= (llc_bytes() or 0) and "L3" in roofs.bandwidths else "DRAM"
        return roofs.bandwidths[level].value
