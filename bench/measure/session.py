"""A measuring session: roofs first, between and last; kernels checked, then timed; all kept as a record's rows."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import kernels
from bench.host.facts import describe, sources_sha256
from bench.host.placement import pinned
from bench.measure.arrays import touch
from bench.measure.groups import VISITS, Group, likely_parts, permuted, pool_of
from bench.measure.last_level import last_level
from bench.measure.problem import Problem
from bench.measure.process import Worker
from bench.measure.roofs import Ceilings, Say
from bench.measure.timing import OPENMP, Elsewhere, Samples, Variant, interleave, timed, timer_resolution
from bench.progress import Forecast
from bench.record import store
from bench.record.format import Circumstances, Interconnect, Machine, Record
from bench.record.metrics import Metrics
from bench.record.row import PREEMPTED, Level, Row, make_row
from bench.record.runs.run import Run
from bench.workloads.shapes import Case
from kernels import Kernel, _native
from kernels.backends import c, libraries, numba
from kernels.operations import OPERATIONS
from kernels.verify import WrongResult


class Hand(Protocol):
    """Somebody who works for a session beside its own process. cpu_seconds: what they have used so far."""

    cpu_seconds: float

    def close(self) -> None: ...


Hired = TypeVar("Hired", bound=Hand)

ROOT = Path(__file__).resolve().parents[2]
LEAST_ROUNDS, MOST_ROUNDS = 3, 8  # of a group in one visit
WARM_UP = 0.02  # s: the session kept clock and team awake
AGAIN = 0.2  # of the visits' time goes to what was disturbed


def machine_facts() -> Machine:
    """bench.machine's facts, the last level in any case, and how the C kernels were built."""
    module = Path(_native.__file__).read_bytes()
    hashes = {"module_sha256": hashlib.sha256(module).hexdigest(), "sources_sha256": sources_sha256(ROOT)}
    found, last = describe(), last_level()
    found["llc_bytes_aggregate"] = last.bytes
    if last.found:
        found["notes"].append(f"measured: the last-level cache, {last.found}")
    return cast(Machine, {**found, "build": {**c.build(), **hashes}})


@dataclass
class _Entry:
    """A kernel on a case in one visit; hot_weights: the same call again and again, beside the one on cold copies."""

    case: Case
    kernel: Kernel
    place: Problem | Worker
    variant: Variant
    cold: list[str]
    level: Level
    hot_weights: bool = False


class Session(Ceilings):
    """Collects rows. Use: start(), run(), finish(), then metrics().

    threads, dtypes, progress, quick  as of Ceilings
    others              backends of kernels.backends.libraries that will take part: they need memory
    stored              how many kernels at a time have cold weights of their own, in a type that is only stored
    arguments, options  of the command, for the record
    """

    def __init__(
        self,
        command: str,
        threads: Iterable[int],
        dtypes: Iterable[str] = ("f32",),
        progress: Say = lambda text, share=None: None,
        quick: bool = False,
        others: Iterable[str] = (),
        arguments: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        stored: int = 0,
    ) -> None:
        self._workers: dict[tuple[str, int], Hand] = {}
        self._spent = 0.0  # CPU seconds of workers that are gone
        self._rows: dict[tuple[Group, Case, tuple[Kernel, bool]], Row] = {}  # True: with hot weights
        self.started = datetime.now(UTC)  # no later than the clock of the samples
        super().__init__(threads, dtypes, progress, quick)
        self.forecast = Forecast(AGAIN)
        self.command, self.arguments, self.options = command, list(arguments), dict(options or {})
        self.complete = False
        self.runs: list[Run] = []  # of whole models
        self.interconnect: Interconnect | None = None  # between ranks
        self.problem = Problem(arrays=4 + 3 * len(list(others)) + stored)
        self.machine = machine_facts()

    def finish(self) -> None:
        """The roofs once more, the other libraries' processes gone."""
        super().finish()
        self.dismiss()
        self.complete = True

    def run(
        self,
        groups: Sequence[Group],
        seconds: float,
        visits: int = VISITS,
        wrong: Callable[[Group, WrongResult], None] | None = None,
    ) -> None:
        """Passes over the groups `visits` times, the roofs measured before each; then over those that were disturbed.

        seconds  per kernel, of all visits together
        wrong    called for a group with a wrong result, which is left out from then on; without it that is raised
        """
        each = seconds / visits
        began, left = time.perf_counter(), list(groups)
        self.plan(groups, seconds, visits)

        def visit(group: Group, made: int) -> None:
            self.progress(group.label, self.forecast.share())
            start = time.perf_counter()
            try:
                self.measure(group, each)
            except WrongResult as error:
                if wrong is None:
                    raise
                left.remove(group)
                self.forecast.drop((group, i) for i in range(visits))
                wrong(group, error)
            self.forecast.done((group, made), time.perf_counter() - start)

        for made in range(visits):
            next(self.visits(1))
            self.probe_round()
            for group in permuted(left, self.visit, lambda group: group.matrix):
                visit(group, made)
        next(self.visits(1))
        until = time.perf_counter() + AGAIN * (time.perf_counter() - began)
        for group in self._disturbed(left):
            if time.perf_counter() > until:
                break
            visit(group, visits)

    def plan(self, groups: Iterable[Group], seconds: float, visits: int = VISITS) -> None:
        """For the progress: what run() is going to do, among other things."""
        for part in likely_parts(groups, seconds / visits, visits, self.roofs()):
            self.forecast.plan(*part)

    def _disturbed(self, groups: Iterable[Group]) -> list[Group]:
        """Groups with rows whose visits differ, that lie above their roof or lost most samples; the worst first."""
        so_far = Metrics(cast(Record, {"rows": self.measured()}))
        figures = {id(row): f for row, f in so_far.pairs}
        severity: dict[Group, float] = {}
        for (group, _, _), row in self._rows.items():
            worst = "DCBA".index(figures[id(row)].get("grade", "A"))
            marked = 2 * len(row["marks"].get(PREEMPTED, ())) >= len(row["seconds"])
            if worst < 2 or marked:
                severity[group] = min(worst, severity.get(group, 3))
        return sorted((g for g in groups if g in severity), key=lambda g: severity[g])

    def measure(self, group: Group, seconds: float) -> None:
        """One visit: checks and times the group's kernels beside their roofs, interleaved, and adds to their rows.

        Weights are cold: every call takes the next copy. Activations, and the products of two of them, stay in cache.
        Where C's GEMV has weights that fit a cache, it is timed with hot ones, too.
        Raises WrongResult where a result, before or after the timing, is farther from float64's than rounding allows.
        """
        threads, first_visit = group.threads, not any(key[0] == group for key in self._rows)
        with pinned(threads), self.watched():
            entries = self._prepare(group, verified=not first_visit)
            levels = dict.fromkeys(entry.level for entry in entries)
            multiply = [(OPERATIONS[k.operation].multiplied(k.types), k.isa) for _, k in group.members]
            beside = self.references(threads, dict.fromkeys(multiply), levels)
            problems = {id(e.place): e.place for e in entries if isinstance(e.place, Problem)}
            touch([*(x for p in beside for x in p.memory), *(x for p in problems.values() for x in p.cold())])
            pools = [OPENMP] * len(beside) + [pool_of(entry.kernel) for entry in entries]
            elsewhere = any(isinstance(entry.variant, Elsewhere) for entry in entries)
            samples = interleave(
                [*(p.variant for p in beside), *(entry.variant for entry in entries)],
                seconds,
                least=LEAST_ROUNDS,
                most=MOST_ROUNDS,
                warm_up=WARM_UP,
                pools=pools if threads > 1 or elsewhere else None,
                references=len(beside),
                hot=[p.row["level"] != "DRAM" and p.row["level"] != "core" for p in beside]
                + [not entry.cold for entry in entries],
                calls=[p.calls or None for p in beside] + [self._calls(group, entry) for entry in entries],
            )
            for entry, s in zip(entries, samples[len(beside) :], strict=True):
                if not (entry.hot_weights or (not first_visit and isinstance(entry.place, Problem))):
                    if entry.kernel in {other.kernel for other in entries if other.hot_weights}:
                        timed(entry.variant, s.copy, 1)  # the one with hot weights wrote into the same output
                    entry.place.check_again(entry.kernel, s.copy)
        first = self.new_rounds(samples)
        for probe, s in zip(beside, samples, strict=False):
            self.add_probe(probe, s, first)
        for entry, s in zip(entries, samples[len(beside) :], strict=True):
            self.add(self._row(group, entry, s), s, first)

    def _prepare(self, group: Group, verified: bool) -> list["_Entry"]:
        """What is timed, ready to be called."""
        cases = group.cases
        own = {case: Problem(beside=self.problem) for case in cases} if len(cases) > 1 else {}
        entries = []
        for case, kernel in group.members:
            place = self._place_of(kernel, group.threads)
            if place is self.problem:
                place = own.get(case, self.problem)
            variant = place.prepare(case, group.dtype, group.threads, kernel, verified=verified)
            op = OPERATIONS[kernel.operation]
            cold = [op.weights] if case.weights and op.weights else []
            size = op.delivered(case.sizes(kernel.operation), kernel.types)
            level = "DRAM" if cold else self.level(size, group.threads)
            entries.append(_Entry(case, kernel, place, variant, cold, level))
            small = case.weight and case.m == 1 and case.bytes(group.dtype) < last_level().bytes / 2
            if small and kernel.backend == "c" and kernel.operation == case.operation and isinstance(variant, list):
                level = self.level(size, group.threads)
                entries.append(_Entry(case, kernel, place, variant[:1], [], level, hot_weights=True))
        return entries

    def _calls(self, group: Group, entry: "_Entry") -> int | None:
        row = self._rows.get((group, entry.case, (entry.kernel, entry.hot_weights)))
        return row["calls"] if row else None

    def rows_of(self, group: Group) -> dict[Kernel, Row]:
        """The rows of a group of one case, by kernel; those with hot weights aside."""
        return {key[2][0]: row for key, row in self._rows.items() if key[0] == group and not key[2][1]}

    def verify(self, case: Case, dtype: str, threads: int, chosen: Sequence[Kernel]) -> None:
        """Runs each kernel once on one shape. Raises WrongResult as measure() does."""
        with pinned(threads):
            for kernel in chosen:
                self._place_of(kernel, threads).prepare(case, dtype, threads, kernel, copies=1)

    def _place_of(self, kernel: Kernel, threads: int) -> Problem | Worker:
        """Where the kernel is measured: here, or in its library's process, which is started when it is first needed."""
        if kernel.backend not in libraries.BACKENDS:
            return self.problem
        arrays = self.problem.weights.arrays
        return self.hire(kernel.backend, threads, lambda cpus: Worker(kernel.backend, cpus, arrays))

    def hire(self, backend: str, threads: int, make: Callable[[list[int]], Hired]) -> Hired:
        """A library's process or the like, made when it is first asked for, with the CPUs for its threads; dismiss()
        closes it.
        """
        key = (backend, threads)
        if key not in self._workers:
            self._workers[key] = make(self.cpus[threads])
        return cast(Hired, self._workers[key])

    def dismiss(self) -> None:
        """Ends the other libraries' processes, and with them their memory."""
        for worker in self._workers.values():
            self._spent += worker.cpu_seconds
            worker.close()
        self._workers.clear()

    def cpu_seconds(self) -> float:
        return super().cpu_seconds() + self._spent + sum(worker.cpu_seconds for worker in self._workers.values())

    def _row(self, group: Group, entry: "_Entry", samples: Samples) -> Row:
        """The entry's row, made on its first visit."""
        key = (group, entry.case, (entry.kernel, entry.hot_weights))
        if key not in self._rows:
            self._rows[key] = make_row(
                "kernel",
                entry.kernel.operation,
                entry.kernel.types,
                entry.kernel.backend,
                entry.kernel.isa,
                group.threads,
                dims=entry.case.sizes(entry.kernel.operation),
                layers=list(entry.case.layers),
                level=entry.level,
                cold=entry.cold,
                calls=samples.calls,
                huge_pages=entry.place.huge_pages if isinstance(entry.place, Problem) else None,
            )
            self.rows.append(self._rows[key])
        return self._rows[key]

    def metrics(self) -> Metrics:
        """What was measured so far: a finished record, with all that follows from it."""
        session: Circumstances = {
            "isa": self.isa,
            "forced": os.environ.get(kernels.ISA_VARIABLE),
            "timer_resolution": timer_resolution(),
            "cpus": {str(t): cpus for t, cpus in self.cpus.items()},
            "placements": self.placements,
            "conditions": self.conditions,
            "untrusted": self.untrusted,
            "remarks": self.remarks,
            "jit_seconds": numba.first_call_seconds(),
            "vector_code": numba.evidence() if numba.first_call_seconds() else {},
        }
        return store.make(
            self.command,
            self.complete,
            self.machine,
            session,
            self.measured(),
            started=self.started,
            arguments=self.arguments,
            options=self.options,
            runs=[run for run in self.runs if run["seconds"]],
            interconnect=self.interconnect,
        )
