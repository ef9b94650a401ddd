"""Tasks measured in visits: three passes in other orders, the roofs and the unit of the table in every round."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput
from bench.host.placement import pinned
from bench.host.sysfs import available_memory_bytes
from bench.measure.arrays import touch
from bench.measure.groups import VISITS, permuted
from bench.measure.models.tasks import Contestant, Task
from bench.measure.probes import Probe
from bench.measure.session import AGAIN, Session
from bench.measure.timing import OPENMP, Samples, Variant, collect
from bench.models.schemes import Scheme
from bench.models.weights import Weights, refuse, weights_of
from bench.quantities import plural
from bench.record.runs.faults import SLOW_PART, mark
from bench.record.runs.figures import RunMetrics
from bench.record.runs.run import Run, add_run
from bench.record.runs.work import multiplied
from bench.workloads.model import Model
from kernels.types import DTYPES
from kernels.verify import WrongResult

LEVELS = ("L1", "L2", "L3", "DRAM")
MOST = 20  # timed runs of each backend in one visit
BESIDE, BESIDE_SECONDS = 8, 0.05  # samples of each roof before a run: one for so many seconds of it, at most so many
MAKING = 2e-8  # seconds that a random weight takes


@dataclass
class Entry:
    """A task on one backend, ready to be timed.

    once   about how many seconds it takes
    parts  what each call of the variant spent on each part; None: unknown
    """

    run: Run
    variant: Variant
    once: float
    pool: str = OPENMP
    parts: list[dict[str, float]] | None = None


class Measuring:
    """Measures tasks in a session, in three passes.

    weights  a checkpoint's, for a single model; None: random ones
    Raises BadInput for a model that can't be run, a checkpoint that can't be read, or isn't of the model, and where
    memory has no room.
    """

    def __init__(self, session: Session, todo: Sequence[Task], threads: int, weights: Path | None = None) -> None:
        self.session, self.tasks, self.threads, self.path = session, list(todo), threads, weights
        self.dtype = session.dtypes[0]
        self._runs: dict[tuple[Task, Contestant], Run] = {}
        self._weights: dict[Model, Weights] = {}
        free, size = available_memory_bytes(), DTYPES[self.dtype].itemsize
        for task in todo:
            refuse(task.model)
            needed = self.bytes(task)
            if free is not None and needed > free:
                raise BadInput(f"{task.label}: takes {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are available")
        every = sum(size * model.parameters() for model in {task.model for task in todo})
        self._keep = free is None or every + max(map(self.bytes, todo), default=0) < free
        if weights:
            self.weights(todo[0].model)  # whatever is wrong with them is said before anything is measured

    def bytes(self, task: Task) -> int:
        """The memory that a task takes."""
        raise NotImplementedError

    def prepare(self, task: Task, weights: Weights) -> list[Entry]:
        """Everything bound, compiled, checked where there is something to check, and run once."""
        raise NotImplementedError

    def beside(self, task: Task) -> list[Entry]:
        """What else is timed in the rounds of a task."""
        return []

    def check_again(self, entries: Sequence[Entry]) -> None:
        """Raises WrongResult where what was timed last went wrong."""

    def run_of(self, task: Task, backend: str, isa: str, scheme: Scheme | None = None) -> Run:
        """The task's run on a backend, made on its first visit."""
        name = task, (backend, scheme)
        if name not in self._runs:
            self._runs[name] = task.run(backend, isa, self.threads, self.dtype, scheme)
            self.session.runs.append(self._runs[name])
        return self._runs[name]

    def run(self, seconds: float) -> None:
        """The roofs, then every task in each pass; then those that were disturbed, within a fifth of the time."""
        self.session.start()
        for _ in self.measure(seconds):
            pass
        self.session.finish()

    def measure(self, seconds: float) -> Iterator[tuple[int, Task]]:
        """Yields visit and task once it was measured, for about `seconds` in all passes, once in each at least."""
        began = time.perf_counter()
        self.plan(seconds)
        for made, visit in enumerate(self.session.visits(VISITS)):
            self.session.probe_round(self.threads)
            for task in permuted(self.tasks, visit, lambda task: task.model):
                self.session.progress(self._label(task), self.session.forecast.share())
                start = time.perf_counter()
                self._visit(task, seconds / VISITS)
                self.session.forecast.done((task, self.threads, made), time.perf_counter() - start)
                yield visit, task
        next(self.session.visits(1))
        until = time.perf_counter() + AGAIN * (time.perf_counter() - began)
        for task in self._disturbed():
            if time.perf_counter() > until:
                break
            self.session.progress(f"again: {self._label(task)}", self.session.forecast.share())
            self._visit(task, seconds / VISITS)
            yield self.session.visit, task
        self.session.dismiss()
        mark(self.session.runs)

    def plan(self, seconds: float) -> None:
        """For the progress: what measure() is going to do, among other things."""
        for task in self.tasks:
            for i in range(VISITS):
                part, kind = (task, self.threads, i), f"models, {self.threads}"
                self.session.forecast.plan(part, kind, not i, self.cost(task, seconds))

    def _label(self, task: Task) -> str:
        """What the progress says."""
        return f"{task.label}, {plural(self.threads, 'thread')}"

    def cost(self, task: Task, seconds: float) -> float:
        """Seconds that a visit will take, from the roofs measured so far."""
        roofs = self.session.roofs()[self.threads]
        peak, read = roofs.peaks[self.dtype, self.session.isa].value, roofs.bandwidths["DRAM"].value
        once = len(task.contestants) * task.likely_seconds(peak, read, DTYPES[self.dtype].itemsize)
        return max(seconds / VISITS, once) + 0.5 * once + MAKING * task.model.parameters()

    def _disturbed(self) -> list[Task]:
        """Tasks with a run whose visits differ, or that has a marked sample; the worst first."""
        mark(self.session.runs)
        figures = RunMetrics(self.session.runs, self.session.roofs(), self.session.machine).figures
        graded = {id(run): of.get("grade", "A") for run, of in zip(self.session.runs, figures, strict=True)}
        severity: dict[Task, float] = {}
        for (task, _), run in self._runs.items():
            slow = len(run["marks"].get(SLOW_PART, ())) / len(run["seconds"])
            worst = "ABCD".index(graded[id(run)])
            if slow or worst > 1:
                severity[task] = max(severity.get(task, 0.0), worst + slow)
        return sorted(severity, key=lambda task: -severity[task])

    def _visit(self, task: Task, seconds: float) -> None:
        with pinned(self.threads), self.session.watched():
            weights = self.weights(task.model)
            entries = self.prepare(task, weights)
            turns = max(1, min(MOST, round(seconds / sum(entry.once for entry in entries))))
            others = self.beside(task)
            self._time([*others, *entries], turns)

    def _time(self, entries: Sequence[Entry], turns: int) -> None:
        """Times the entries and the roofs in `turns` rounds and adds their samples; those until Ctrl-C, too."""
        wanted = [(type_, entry.run["isa"]) for entry in entries for type_ in (self.dtype, multiplied(entry.run))]
        probes = self.session.references(self.threads, dict.fromkeys(wanted), LEVELS)
        touch(array for probe in probes for array in probe.memory)
        samples = [Samples(probe.calls) for probe in probes] + [Samples(1) for _ in entries]
        variants = [*(probe.variant for probe in probes), *(entry.variant for entry in entries)]
        pools = [*[OPENMP] * len(probes), *(entry.pool for entry in entries)]
        hot = [probe.row["level"] not in ("DRAM", "core") for probe in probes] + [False] * len(entries)
        order = round_of(len(probes), [entry.once for entry in entries])
        for entry in entries:
            if entry.parts:
                entry.parts.clear()
        try:
            collect(
                [variants[v] for v in order],
                [samples[v] for v in order],
                [turns] * len(order),
                pools=[pools[v] for v in order] if {*pools} != {OPENMP} else None,
                hot=[hot[v] for v in order],
            )
            self.check_again(entries)
        except WrongResult:
            raise  # a wrong result has no figures
        except BaseException:
            self._add(probes, entries, samples)
            raise
        self._add(probes, entries, samples)

    def _add(self, probes: Sequence[Probe], entries: Sequence[Entry], samples: Sequence[Samples]) -> None:
        first = self.session.new_rounds(samples)
        for probe, new in zip(probes, samples, strict=False):
            self.session.add_probe(probe, new, first)
        for entry, new in zip(entries, samples[len(probes) :], strict=True):
            for i, (seconds, start, turn) in enumerate(zip(new.seconds, new.starts, new.turns, strict=False)):
                spent = entry.parts[i] if entry.parts is not None else seconds
                at = start - self.session.began
                add_run(entry.run, spent, at, first + turn, self.session.visit, preempted=i in new.preempted)

    def weights(self, model: Model) -> Weights:
        """A model's; where memory hasn't room for all, the last one's are free before the next one's are made."""
        if model not in self._weights:
            if not self._keep:
                self._weights.clear()
            self._weights[model] = weights_of(model, self.path, DTYPES[self.dtype].name)
        return self._weights[model]


def round_of(roofs: int, runs: Sequence[float]) -> list[int]:
    """The order of a round: of `roofs` variants, which stand first, and of runs that take so many seconds.

    A roof's sample takes a millisecond, a run as long as seconds: the longer it is, the more samples go before it.
    """
    order: list[int] = []
    for run, seconds in enumerate(runs, roofs):
        order += [*range(roofs)] * max(1, min(BESIDE, round(seconds / BESIDE_SECONDS))) + [run]
    return order
