"""A measuring session: roofs first, between and last; kernels checked, then timed; all kept as a record's rows."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import kernels
from bench.host.conditions import Conditions
from bench.host.facts import describe
from bench.host.placement import clock_hertz, cpus_for, isa_in_use, ping, pinned
from bench.host.sysfs import cache_bytes, llc_bytes
from bench.measure.arrays import LEAST, dram_bytes, page_bytes, stream_arrays
from bench.measure.probes import READS, Probe, clock_probe, fma_probe, stream_probe
from bench.measure.problem import Problem
from bench.measure.process import Process, Worker
from bench.measure.timing import Samples, collect, interleave, timer_resolution
from bench.record import store
from bench.record.format import Circumstances, Condition, Machine, Ping
from bench.record.metrics import Metrics
from bench.record.roofs import Roofs, roofs
from bench.record.row import Level, Row, add_samples, arithmetic, make_row
from bench.record.trust import AGREE
from bench.workloads.shapes import Case
from kernels import Kernel, _native
from kernels.backends import c, libraries, numba

Hired = TypeVar("Hired", bound=Process)


def machine_facts() -> Machine:
    """bench.machine's facts and how the C kernels were built."""
    module = Path(_native.__file__).read_bytes()
    build = {**c.build(), "module_sha256": hashlib.sha256(module).hexdigest()}
    return cast(Machine, {**describe(), "build": build})


@cache
def _capacities() -> tuple[tuple[int | None, int | None], int]:
    """Bytes of one L1 and one L2, and of the last level in reach; reading them from sysfs takes milliseconds."""
    return (cache_bytes(1), cache_bytes(2)), llc_bytes() or 0


class Session:
    """Collects rows. Use: start(), any number of measure(), finish(), then metrics().

    threads   the thread counts whose roofs are measured
    dtypes    of the peaks
    progress  called with one line on what happens now
    others    backends of kernels.backends.libraries that will take part: they need memory
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
        self.command, self.threads, self.dtypes = command, sorted(set(threads)), list(dtypes)
        self.progress, self.quick = progress, quick
        self.arguments, self.options = list(arguments), dict(options or {})
        self.started, self._began = datetime.now(UTC), time.perf_counter()
        self.isa = isa_in_use()
        self.round = 0
        self.rows: list[Row] = []
        self.untrusted: list[str] = []
        self.remarks: list[str] = []
        self.pings: list[Ping] = []
        self.conditions: list[Condition] = []
        self.complete = False
        self.pages: dict[str, int] | None = None
        self.cpus = {t: cpus_for(t) for t in self.threads}
        self.problem = Problem(arrays=4 + 3 * len(list(others)))
        self._workers: dict[tuple[str, int], Process] = {}
        self._spent = 0.0  # CPU seconds of workers that are gone
        self._watch = Conditions(own=self._cpu_seconds)
        self._probes: dict[int, list[Probe]] = {}
        self.machine = machine_facts()

    # --- roofs

    def start(self) -> None:
        """Measures the roofs at every thread count: caches, memory at two sizes, FMA peaks, the clock, distances."""
        self._ping()
        for threads in self.threads:
            self.progress(f"roofs, {threads} thread{'s' * (threads > 1)}")
            with pinned(threads), self.watched():
                self._start_at(threads)
        for _ in range(1 if self.quick else 4):
            self.probe_round()

    def _start_at(self, threads: int) -> None:
        probes = [self.memory(threads), *self._caches(threads)]
        isas = dict.fromkeys([self.isa, [isa for isa in c.ISAS if c.runs(isa)][-1]])
        probes += [fma_probe(threads, dtype, isa) for dtype in self.dtypes for isa in isas]
        probes.append(clock_probe(threads))
        fresh = [p for p in probes if not p.row["seconds"]]
        self.add_samples(fresh, interleave([p.variant for p in fresh], 0.02))
        self._probes[threads] = probes

    def memory(self, threads: int) -> Probe:
        """Read bandwidth of memory, from every access pattern; arrays of once and twice the rule must agree.

        Returns the best pattern on the smallest size, for more samples later; the rows of the others are added.
        """
        size, trusted = dram_bytes(arrays=3)
        if not trusted:
            self.distrust(
                f"memory has no room for arrays of {LEAST} times the last-level cache: the read roof isn't DRAM's"
            )
        probes = []
        for factor in (1,) if self.quick else (1, 2):
            arrays = stream_arrays(1, factor * size // 8, threads)
            self.pages = self.pages or page_bytes(arrays[0])
            probes += [stream_probe(op, "c", arrays, threads) for op in (READS if factor == 1 else READS[:3])]
        self.add_samples(probes, interleave([p.variant for p in probes], 0.1, least=3))
        for _ in range(6):  # stolen time makes sizes look different; more samples bring the best of each closer
            rates = self._rates_by_size(probes)
            if max(rates.values()) <= (1 + AGREE) * min(rates.values()):
                break
            self._sample_again(probes, 8)
        else:
            sizes = ", ".join(f"{rate / 1e9:.1f} GB/s from {n * 8 >> 20} MiB" for n, rate in rates.items())
            self.distrust(f"memory at {threads} threads: the sizes disagree by more than {AGREE:.0%}: {sizes}")
        smallest = min(rates)
        best = max(
            (p for p in probes if p.row["dims"]["n"] == smallest),
            key=lambda p: 1 / min(p.row["seconds"]) * p.row["calls"],
        )
        self.rows += [p.row for p in probes if p is not best]
        return best

    @staticmethod
    def _rates_by_size(probes: Sequence[Probe]) -> dict[int, float]:
        rates: dict[int, float] = {}
        for p in probes:
            n = p.row["dims"]["n"]
            rates[n] = max(rates.get(n, 0), 8 * n * p.row["calls"] / min(p.row["seconds"]))
        return rates

    def _caches(self, threads: int) -> list[Probe]:
        """Read bandwidth of half of each cache level: of every thread's own L1 and L2, of the L3 in reach.

        Of L3 also a quarter, if far larger than L2: neighbours may leave less than half, and most weights are less.
        """
        own = cache_bytes(2)
        sizes: dict[Level, tuple[int | None, int]] = {
            "L1": (cache_bytes(1), threads),
            "L2": (own, threads),
            "L3": (llc_bytes() if cache_bytes(3) else None, 1),
        }
        probes = []
        for level, (size, times) in sizes.items():
            if size is None:
                self.remarks.append(f"{level}: sysfs doesn't give its size, so it has no roof")
                continue
            quarter = level == "L3" and own is not None and size // 4 >= 4 * own * threads
            for part in (2, 4) if quarter else (2,):
                arrays = stream_arrays(1, size * times // part // 8, threads)
                probes += [stream_probe(op, "c", arrays, threads, level) for op in READS[:3]]
        return probes

    def distrust(self, reason: str) -> None:
        if reason not in self.untrusted:
            self.untrusted.append(reason)

    def add_samples(self, probes: Sequence[Probe], samples: Sequence[Samples]) -> None:
        """Adds what interleave() gave for the probes to their rows."""
        for probe, new in zip(probes, samples, strict=True):
            if not probe.row["seconds"]:  # a row has one number of calls: the first timing decides
                probe.calls = new.calls
                probe.row["calls"] *= new.calls
            assert new.calls == probe.calls
            self._add(probe.row, new)

    def _add(self, row: Row, samples: Samples) -> None:
        add_samples(row, samples.seconds, [start - self._began for start in samples.starts], self.round)

    def probe_round(self, threads: int | None = None) -> None:
        """A few more samples of peak, memory and clock: they belong to the same minutes as the kernels."""
        self.round += 1
        for t in [threads] if threads else self.threads:
            with pinned(t):
                self._sample_again(self._probes[t], 3)

    def _sample_again(self, probes: Sequence[Probe], count: int) -> None:
        samples = [Samples(p.calls) for p in probes]
        collect([p.variant for p in probes], samples, [count] * len(probes))
        self.add_samples(probes, samples)

    def ceiling(self, name: str, threads: int) -> Row:
        """The row of "peak_f32", "peak_f64" (of the ISA in use) or "read" at a thread count."""
        for probe in self._probes[threads]:
            row = probe.row
            if (name == "read" and row["operation"] in READS and row["level"] == "DRAM") or (
                name == f"peak_{arithmetic(row)}" and row["isa"] == self.isa
            ):
                return row
        raise KeyError(name)

    def _ping(self) -> None:
        cpus = cpus_for(max(self.threads))
        for other in cpus[1:]:
            self.pings.append({"round": self.round, "cpus": [cpus[0], other], "seconds": ping(cpus[0], other)})

    def finish(self) -> None:
        """The roofs and distances once more: what moved in between, moved under the kernels."""
        self.progress("roofs again")
        for _ in range(2 if self.quick else 5):
            with self.watched():
                self.probe_round()
        self._ping()
        self.dismiss()
        self.complete = True

    def watched(self) -> "_Watched":
        return _Watched(self)

    # --- kernels

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

    def _cpu_seconds(self) -> float:
        return time.process_time() + self._spent + sum(worker.cpu_seconds for worker in self._workers.values())

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
        self._add(row, samples)
        return row

    @staticmethod
    def level(size: int, threads: int) -> Level:
        """The nearest level that can hold `size` bytes of data in use again and again."""
        own, last = _capacities()
        if own[0] and size <= own[0] * threads:
            return "L1"
        if own[1] and size <= own[1] * threads:
            return "L2"
        return "L3" if size <= last else "DRAM"

    # --- the result

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
            self._rows(),
            started=self.started,
            arguments=self.arguments,
            options=self.options,
        )

    def roofs(self) -> dict[int, Roofs]:
        """The ceilings so far, by thread count."""
        return roofs(self._rows())

    def _rows(self) -> list[Row]:
        probes = [p.row for probes in self._probes.values() for p in probes]
        return [row for row in (*probes, *self.rows) if row["seconds"]]


def _pool(kernel: Kernel) -> str:
    """The thread pool that a kernel runs on; C's and Numba's is the same OpenMP team."""
    return "openmp" if kernel.backend in ("c", "numba") else kernel.backend


class _Watched:
    """Samples the circumstances around a block into the session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> None:
        self.session._watch.start()

    def __exit__(self, *_: object) -> None:
        figures = self.session._watch.stop()
        condition = {"round": self.session.round, "clock_hertz": clock_hertz(), **figures}
        self.session.conditions.append(cast(Condition, condition))
