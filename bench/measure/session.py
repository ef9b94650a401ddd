"""A measuring session: roofs first, between and last; kernels checked, then timed; all kept as a record's rows."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import kernels
from bench.host.facts import describe
from bench.host.placement import pinned
from bench.host.sysfs import llc_bytes
from bench.measure.probes import Probe
from bench.measure.problem import Problem
from bench.measure.process import Process, Worker
from bench.measure.roofs import Ceilings
from bench.measure.timing import Samples, interleave, timer_resolution
from bench.record import store
from bench.record.format import Circumstances, Machine
from bench.record.metrics import Metrics
from bench.record.row import Row, make_row
from bench.workloads.shapes import Case
from kernels import Kernel, _native
from kernels.backends import c, libraries, numba

Hired = TypeVar("Hired", bound=Process)


def machine_facts() -> Machine:
    """bench.machine's facts and how the C kernels were built."""
    module = Path(_native.__file__).read_bytes()
    build = {**c.build(), "module_sha256": hashlib.sha256(module).hexdigest()}
    return cast(Machine, {**describe(), "build": build})


class Session(Ceilings):
    """Collects rows. Use: start(), any number of measure(), finish(), then metrics().

    threads, dtypes, progress, quick  as of Ceilings
    others              backends of kernels.backends.libraries that will take part: they need memory
    arguments, options  of the command, for the record
    """

    def __init__(
        self,
        command: str,
        threads: Iterable[int],
        dtypes: Iterable[str] = ("f32",),
        progress: Callable[[str], None] = lambda text: None,
        quick: bool = False,
        others: Iterable[str] = (),
        arguments: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._workers: dict[tuple[str, int], Process] = {}
        self._spent = 0.0  # CPU seconds of workers that are gone
        super().__init__(threads, dtypes, progress, quick)
        self.command, self.arguments, self.options = command, list(arguments), dict(options or {})
        self.started = datetime.now(UTC)
        self.complete = False
        self.problem = Problem(arrays=4 + 3 * len(list(others)))
        self.machine = machine_facts()

    def finish(self) -> None:
        """The roofs and distances once more, the other libraries' processes gone."""
        super().finish()
        self.dismiss()
        self.complete = True

    def measure(
        self,
        case: Case,
        dtype: str,
        threads: int,
        chosen: Sequence[Kernel],
        seconds: float,
        beside: Sequence[Probe] = (),
    ) -> list[Row]:
        """Checks and times the kernels on one shape, interleaved, and adds their rows.

        beside: probes without samples that are timed in the same rounds; their rows come first.
        Weights are cold: every call takes the next copy. Activations, and the products of two of them, stay in cache.
        Raises WrongResult where a result, before or after the timing, is farther from float64's than rounding allows.
        """
        with pinned(threads), self.watched():
            places = [self._place(kernel, threads) for kernel in chosen]
            variants = [p.prepare(case, dtype, threads, k) for p, k in zip(places, chosen, strict=True)]
            elsewhere = any(place is not self.problem for place in places)
            pools = ["openmp"] * len(beside) + list(map(_pool, chosen))
            timed = [*(p.variant for p in beside), *variants]
            samples = interleave(timed, seconds, pools=pools if threads > 1 or elsewhere else None)
            self.add_samples(beside, samples[: len(beside)])
            samples = samples[len(beside) :]
            for place, kernel, s in zip(places, chosen, samples, strict=True):
                place.check_again(kernel, s.copy)
            cold = [case.weights] if case.weights else []
            rows = [self._row(case, kernel, threads, s, cold) for kernel, s in zip(chosen, samples, strict=True)]
            if case.weight and case.m == 1 and case.bytes(dtype) < (llc_bytes() or 0) / 2:
                for kernel, variant in zip(chosen, variants, strict=True):
                    if kernel.backend == "c" and kernel.operation == case.operation and isinstance(variant, list):
                        (hot,) = interleave([variant[:1]], seconds / 4)
                        rows.append(self._row(case, kernel, threads, hot, []))
        self.rows += [*(p.row for p in beside), *rows]
        if threads in self._probes:
            self.probe_round(threads)
        return rows

    def measure_together(
        self, cases: Sequence[Case], dtype: str, threads: int, kernel: Kernel, seconds: float
    ) -> list[Row]:
        """As measure(), but one kernel on several shapes of one weight matrix, all of them in the same rounds."""
        with pinned(threads), self.watched():
            problems = [Problem(weights=self.problem.weights) for _ in cases]
            variants = [s.prepare(case, dtype, threads, kernel) for s, case in zip(problems, cases, strict=True)]
            samples = interleave(variants, seconds)
            for problem, s in zip(problems, samples, strict=True):
                problem.check_again(kernel, s.copy)
            cold = [[case.weights] if case.weights else [] for case in cases]
            rows = [self._row(case, kernel, threads, s, c) for case, s, c in zip(cases, samples, cold, strict=True)]
        self.rows += rows
        self.probe_round(threads)
        return rows

    def verify(self, case: Case, dtype: str, threads: int, chosen: Sequence[Kernel]) -> None:
        """Runs each kernel once on one shape. Raises WrongResult as measure() does."""
        with pinned(threads):
            for kernel in chosen:
                self._place(kernel, threads).prepare(case, dtype, threads, kernel, copies=1)

    def _place(self, kernel: Kernel, threads: int) -> Problem | Worker:
        """Where the kernel is measured: here, or in its library's process, which is started when it is first needed."""
        if kernel.backend not in libraries.BACKENDS:
            return self.problem
        arrays = self.problem.weights.arrays
        return self.hire(kernel.backend, threads, lambda cpus: Worker(kernel.backend, cpus, arrays))

    def hire(self, backend: str, threads: int, make: Callable[[list[int]], Hired]) -> Hired:
        """A library's process, made when it is first asked for, with the CPUs for its threads; dismiss() ends it."""
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

    def _row(self, case: Case, kernel: Kernel, threads: int, samples: Samples, cold: list[str]) -> Row:
        size = case.delivered(kernel.types)
        row = make_row(
            "kernel",
            kernel.operation,
            kernel.types,
            kernel.backend,
            kernel.isa,
            threads,
            dims=case.dims,
            layers=list(case.layers),
            level="DRAM" if cold else self.level(size, threads),
            cold=cold,
            calls=samples.calls,
        )
        self.add(row, samples)
        return row

    def metrics(self) -> Metrics:
        """What was measured so far: a finished record, with all that follows from it."""
        session: Circumstances = {
            "isa": self.isa,
            "forced": os.environ.get(kernels.ISA_VARIABLE),
            "timer_resolution": timer_resolution(),
            "cpus": {str(t): cpus for t, cpus in self.cpus.items()},
            "pages": self.pages,
            "pings": self.pings,
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
        )


def _pool(kernel: Kernel) -> str:
    """The thread pool that a kernel runs on; C's and Numba's is the same OpenMP team."""
    return "openmp" if kernel.backend in ("c", "numba") else kernel.backend
