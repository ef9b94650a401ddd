"""A measuring session: roofs first, between and last; kernels checked, then timed; all kept as a record's rows."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import kernels
from bench import record as records
from bench.buffers import LEAST, Weights, dram_bytes, page_bytes, stream_arrays
from bench.conditions import Conditions
from bench.figures import AGREE
from bench.host import cache_bytes, llc_bytes
from bench.layers import Case
from bench.machine import describe
from bench.measure import (
    Samples,
    Variant,
    clock_hertz,
    collect,
    cpus_for,
    interleave,
    isa_in_use,
    ping,
    pinned,
    timer_resolution,
)
from bench.probes import READS, Probe, clock_probe, fma_probe, make_row, stream_probe
from kernels import Kernel, jit, native
from kernels.operands import aligned_empty
from kernels.reference import DTYPES, check, reference


def machine_facts() -> dict[str, Any]:
    """bench.machine's facts and how the C kernels were built."""
    return {**describe(), "build": native.build()}


class Session:
    """Collects rows. Use: start(), any number of measure(), finish(), then record().

    threads   the thread counts whose roofs are measured
    dtypes    of the peaks
    progress  called with one line on what happens now
    """

    def __init__(
        self,
        command: str,
        threads: Iterable[int],
        dtypes: Iterable[str] = ("f32",),
        progress: Callable[[str], None] = lambda text: None,
        quick: bool = False,
    ) -> None:
        self.command, self.threads, self.dtypes = command, sorted(set(threads)), list(dtypes)
        self.progress, self.quick = progress, quick
        self.isa = isa_in_use()
        self.round = 0
        self.rows: list[dict[str, Any]] = []
        self.untrusted: list[str] = []
        self.remarks: list[str] = []
        self.pings: list[dict[str, Any]] = []
        self.conditions: list[dict[str, Any]] = []
        self.complete = False
        self.pages: dict[str, int] | None = None
        self.cpus = {t: cpus_for(t) for t in self.threads}
        self.weights = Weights()
        self._watch = Conditions()
        self._probes: dict[int, list[Probe]] = {}
        self._packed: tuple[Any, dict[tuple[str, int], Any]] = (None, {})
        self._random = np.random.default_rng(7)
        self.machine = machine_facts()

    # --- roofs

    def start(self) -> None:
        """Measures the roofs at every thread count: caches, memory at three sizes, FMA peaks, the clock, distances."""
        self._ping()
        for threads in self.threads:
            self.progress(f"roofs, {threads} thread{'s' * (threads > 1)}")
            with pinned(threads), self.watched():
                self._start_at(threads)
        for _ in range(1 if self.quick else 4):
            self.probe_round()

    def _start_at(self, threads: int) -> None:
        probes = [self.memory(threads), *self._caches(threads)]
        isas = dict.fromkeys([self.isa, [isa for isa in native.ISAS if native.runs(isa)][-1]])
        probes += [fma_probe(threads, dtype, isa) for dtype in self.dtypes for isa in isas]
        probes.append(clock_probe(threads))
        fresh = [p for p in probes if not p.row["seconds"]]
        self.add_samples(fresh, interleave([p.variant for p in fresh], 0.02))
        self._probes[threads] = probes

    def memory(self, threads: int) -> Probe:
        """Read bandwidth of memory, from every access pattern; arrays of 1, 2 and 4 times the rule must agree.

        Returns the best pattern on the smallest size, for more samples later; the rows of the others are added.
        """
        size, trusted = dram_bytes(arrays=7)
        if not trusted:
            self.distrust(
                f"memory has no room for arrays of {LEAST} times the last-level cache: the read roof isn't DRAM's"
            )
        probes = []
        for factor in (1,) if self.quick else (1, 2, 4):
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
        """Read bandwidth of half of each cache level: of every thread's own L1 and L2, of the L3 in reach."""
        sizes = {
            "L1": (cache_bytes(1), threads),
            "L2": (cache_bytes(2), threads),
            "L3": (llc_bytes() if cache_bytes(3) else None, 1),
        }
        probes = []
        for level, (size, times) in sizes.items():
            if size is None:
                self.remarks.append(f"{level}: sysfs doesn't give its size, so it has no roof")
                continue
            arrays = stream_arrays(1, size * times // 2 // 8, threads)
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
            probe.row["seconds"] += new.seconds
            probe.row["rounds"] += [self.round] * len(new.seconds)

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

    def ceiling(self, name: str, threads: int) -> dict[str, Any]:
        """The row of "peak_f32", "peak_f64" (of the ISA in use) or "read" at a thread count."""
        for probe in self._probes[threads]:
            row = probe.row
            if (name == "read" and row["operation"] in READS and row["level"] == "DRAM") or (
                name == f"peak_{row['dtype']}" and row["isa"] == self.isa
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
        self.complete = True

    def watched(self) -> "_Watched":
        return _Watched(self)

    # --- kernels

    def measure(
        self, case: Case, dtype: str, threads: int, chosen: Sequence[Kernel], seconds: float
    ) -> list[dict[str, Any]]:
        """Checks and times the kernels on one shape, interleaved, and adds their rows.

        Weights are cold: every call takes the next copy. Activations, and the products of two of them, stay in cache.
        Raises WrongResult where a result, before or after the timing, is farther from float64's than rounding allows.
        """
        with pinned(threads), self.watched():
            inputs, variants, outputs = self._prepare(case, dtype, threads, chosen)
            pools = [k.backend if k.backend == "blas" else "openmp" for k in chosen] if threads > 1 else None
            samples = interleave(variants, seconds, pools=pools)
            for kernel, out, s in zip(chosen, outputs, samples, strict=True):
                self._check_again(kernel, inputs[s.copy], out)
            cold = ["b" if "gemm" in case.operation else "w"] if case.weight else []
            rows = [self._row(case, kernel, threads, s, cold) for kernel, s in zip(chosen, samples, strict=True)]
            if case.weight and case.m == 1 and case.bytes(DTYPES[dtype].itemsize) < (llc_bytes() or 0) / 2:
                for kernel, variant in zip(chosen, variants, strict=True):
                    if kernel.backend == "c" and kernel.operation == case.operation:
                        (hot,) = interleave([variant[:1]], seconds / 4)
                        rows.append(self._row(case, kernel, threads, hot, []))
        self.rows += rows
        self.probe_round(threads)
        return rows

    def verify(self, case: Case, dtype: str, threads: int, chosen: Sequence[Kernel]) -> None:
        """Runs each kernel once on one shape. Raises WrongResult as measure() does."""
        with pinned(threads):
            self._prepare(case, dtype, threads, chosen, copies=1)

    def _prepare(
        self, case: Case, dtype: str, threads: int, chosen: Sequence[Kernel], copies: int | None = None
    ) -> tuple[list[list[np.ndarray]], list[Variant], list[np.ndarray]]:
        """Inputs of each call in turn, each kernel's calls on them and its output, right after a first call."""
        inputs, expected = self._inputs(case, dtype)
        inputs = inputs[:copies]
        variants: list[Variant] = []
        outputs: list[np.ndarray] = []
        for kernel in chosen:
            outputs.append(aligned_empty((case.m, case.n) if "gemm" in case.operation else case.n, DTYPES[dtype]))
            variants.append(
                [kernel.bind(*self._arguments(kernel, x), out=outputs[-1], threads=threads) for x in inputs]
            )
            variants[-1][0]()
            check(kernel.operation, inputs[0], outputs[-1], expected)
        return inputs, variants, outputs

    def _inputs(self, case: Case, dtype: str) -> tuple[list[list[np.ndarray]], np.ndarray]:
        """The inputs of each call in turn, and what the first of them has to give."""
        real = DTYPES[dtype]
        x = self.weights.values((case.m, case.k) if "gemm" in case.operation else (case.k,), real)
        shape = (case.n, case.k) if case.operation == "gemv" else (case.k, case.n)
        matrices = self.weights.copies(shape, real) if case.weight else [self.weights.values(shape, real)]
        inputs = [[w, x] if case.operation == "gemv" else [x, w] for w in matrices]
        return inputs, reference(case.operation, inputs[0])

    def _arguments(self, kernel: Kernel, inputs: list[np.ndarray]) -> list[Any]:
        """The inputs as this kernel takes them; packed weights are kept until another shape comes."""
        if kernel.operation != "gemm_prepacked":
            return inputs
        a, b = inputs
        shape = (kernel.dtype, b.shape)
        if self._packed[0] != shape:
            self._packed = (shape, {})
        key = (kernel.name, b.ctypes.data)
        if key not in self._packed[1]:
            self._packed[1][key] = kernel.pack(b, threads=max(self.threads))
        return [a, self._packed[1][key]]

    def _check_again(self, kernel: Kernel, inputs: list[np.ndarray], out: np.ndarray) -> None:
        """What the last timed call left; of a tall result, eight of its rows."""
        if out.ndim == 2 and out.shape[0] > 8:
            some = self._random.choice(out.shape[0], 8, replace=False)
            inputs, out = [inputs[0][some], inputs[1]], out[some]
        check(kernel.operation, inputs, out)

    def _row(self, case: Case, kernel: Kernel, threads: int, samples: Samples, cold: list[str]) -> dict[str, Any]:
        size = case.bytes(DTYPES[kernel.dtype].itemsize)
        return make_row(
            "kernel",
            kernel.operation,
            kernel.dtype,
            kernel.backend,
            kernel.isa,
            threads,
            dims={"m": case.m, "n": case.n, "k": case.k} if "gemm" in case.operation else {"n": case.n, "k": case.k},
            layers=list(case.layers),
            level="DRAM" if cold else self.level(size, threads),
            cold=cold,
            calls=samples.calls,
            seconds=samples.seconds,
            rounds=[self.round] * len(samples.seconds),
        )

    @staticmethod
    def level(size: int, threads: int) -> str:
        """The nearest level that can hold `size` bytes of data in use again and again."""
        for level, capacity in (("L1", cache_bytes(1)), ("L2", cache_bytes(2))):
            if capacity and size <= capacity * threads:
                return level
        return "L3" if size <= (llc_bytes() or 0) else "DRAM"

    # --- the result

    def record(self) -> dict[str, Any]:
        """The record of what was measured so far."""
        session = {
            "isa": self.isa,
            "forced": os.environ.get(kernels.ISA_VARIABLE),
            "timer_resolution": timer_resolution(),
            "cpus": {str(t): cpus for t, cpus in self.cpus.items()},
            "pages": self.pages,
            "pings": self.pings,
            "conditions": self.conditions,
            "untrusted": self.untrusted,
            "remarks": self.remarks,
            "jit_seconds": jit.first_call_seconds(),
            "vector_code": jit.evidence() if jit.first_call_seconds() else {},
        }
        probes = [p.row for probes in self._probes.values() for p in probes]
        rows = [row for row in (*probes, *self.rows) if row["seconds"]]
        return records.make(self.command, self.complete, self.machine, session, rows)


class _Watched:
    """Samples the circumstances around a block into the session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> None:
        self.session._watch.start()

    def __exit__(self, *_: object) -> None:
        figures = self.session._watch.stop()
        self.session.conditions.append({"round": self.session.round, "clock_hertz": clock_hertz(), **figures})
