"""The roofs of a session: measured first, between kernels, and last; with what disturbed the session meanwhile."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import cast

from bench.host.conditions import Conditions
from bench.host.cpus import cpus_for
from bench.host.placement import clock_hertz, isa_in_use, ping, pinned
from bench.host.sysfs import cache_bytes, llc_bytes
from bench.measure.arrays import LEAST, dram_bytes, page_bytes, stream_arrays
from bench.measure.probes import Probe, of_roof
from bench.measure.timing import Samples, collect, interleave
from bench.record.format import Condition, Ping
from bench.record.roofs import Roofs, is_peak, is_read, roofs
from bench.record.row import Level, Row, add_samples, arithmetic, call_seconds, counted
from bench.record.trust import AGREE
from kernels.backends import c

FEW = 3  # of the read patterns, where there are many sizes


@cache
def _capacities() -> tuple[tuple[int | None, int | None], int]:
    """Bytes of one L1 and one L2, and of the last level in reach; reading them from sysfs takes milliseconds."""
    return (cache_bytes(1), cache_bytes(2)), llc_bytes() or 0


class Ceilings:
    """Rows, roofs and circumstances of a session; bench.measure.session adds kernels.

    threads   the thread counts whose roofs are measured
    dtypes    of the peaks
    progress  called with one line on what happens now
    quick     fewer sizes and rounds
    """

    def __init__(
        self, threads: Iterable[int], dtypes: Iterable[str], progress: Callable[[str], None], quick: bool
    ) -> None:
        self.threads, self.dtypes = sorted(set(threads)), list(dtypes)
        self.progress, self.quick = progress, quick
        self.began = time.perf_counter()
        self.isa = isa_in_use()
        self.round = 0
        self.rows: list[Row] = []
        self.untrusted: list[str] = []
        self.remarks: list[str] = []
        self.pings: list[Ping] = []
        self.conditions: list[Condition] = []
        self.pages: dict[str, int] | None = None
        self.cpus = {t: cpus_for(t) for t in self.threads}
        self._watch = Conditions(own=self.cpu_seconds)
        self._probes: dict[int, list[Probe]] = {}

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
        probes += [make(threads, dtype, isa) for make in of_roof("peak") for dtype in self.dtypes for isa in isas]
        probes += [make(threads) for make in of_roof("clock")]
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
        probes, patterns = [], of_roof("bandwidth")
        for factor in (1,) if self.quick else (1, 2):
            arrays = stream_arrays(1, factor * size // 8, threads)
            self.pages = self.pages or page_bytes(arrays[0])
            probes += [make("c", arrays, threads) for make in (patterns if factor == 1 else patterns[:FEW])]
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
            rates[n] = max(rates.get(n, 0), counted(p.row) / min(call_seconds(p.row)))
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
                probes += [make("c", arrays, threads, level) for make in of_roof("bandwidth")[:FEW]]
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
            self.add(probe.row, new)

    def add(self, row: Row, samples: Samples) -> None:
        add_samples(row, samples.seconds, [start - self.began for start in samples.starts], self.round)

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
            if name == "read" and is_read(row) and row["level"] == "DRAM":
                return row
            if is_peak(row) and name == f"peak_{arithmetic(row)}" and row["isa"] == self.isa:
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

    def cpu_seconds(self) -> float:
        """What this session has used so far, for Conditions."""
        return time.process_time()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Samples the circumstances around a block into the session."""
        self._watch.start()
        try:
            yield
        finally:
            figures = self._watch.stop()
            condition = {"round": self.round, "clock_hertz": clock_hertz(), **figures}
            self.conditions.append(cast(Condition, condition))

    @staticmethod
    def level(size: int, threads: int) -> Level:
        """The nearest level that can hold `size` bytes of data in use again and again."""
        own, last = _capacities()
        if own[0] and size <= own[0] * threads:
            return "L1"
        if own[1] and size <= own[1] * threads:
            return "L2"
        return "L3" if size <= last else "DRAM"

    def roofs(self) -> dict[int, Roofs]:
        """The ceilings so far, by thread count."""
        return roofs(self.measured())

    def measured(self) -> list[Row]:
        """The rows so far that have samples, the ceilings' first."""
        probes = [p.row for probes in self._probes.values() for p in probes]
        return [row for row in (*probes, *self.rows) if row["seconds"]]
