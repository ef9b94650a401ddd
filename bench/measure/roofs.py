"""The roofs of a session: measured first, beside every kernel, and last; with what disturbed the session meanwhile."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import cast

from bench.host.conditions import Conditions
from bench.host.cpus import cpus_for, remarks
from bench.host.placement import clock_hertz, isa_in_use, pages_in_use, pinned, team_in_use
from bench.host.sysfs import cache_bytes, scarcest_memory
from bench.measure.arrays import LEAST, dram_bytes, stream_arrays, touch
from bench.measure.last_level import last_level
from bench.measure.pairs import measure_pairs
from bench.measure.probes import Probe, of_roof, peak_probe, walking
from bench.measure.timing import Samples, collect, interleave
from bench.quantities import plural
from bench.record.format import Condition, Pair
from bench.record.intervals import Interval, median_interval
from bench.record.roofs import Peak, Roofs, Series, is_peak, is_read, nearest, roofs
from bench.record.row import Level, Row, add_samples, counted, multiplied, per_second
from bench.record.trust import AGREE
from kernels.backends import c
from kernels.cpus import unset
from kernels.types import TYPES, native_isa

Say = Callable[..., None]
FEW = 3  # of the read patterns, where there are many sizes
ROUNDS = 3  # of all roofs, at the start of each visit and at the end


@cache
def _capacities() -> tuple[tuple[int | None, int | None], int, bool]:
    """Bytes of one L1 and one L2, of the last level in reach, and whether that is an L3: from sysfs in milliseconds."""
    last = last_level()
    return (cache_bytes(1), cache_bytes(2)), last.bytes, last.beyond or cache_bytes(3) is not None


class Ceilings:
    """Rows, roofs and circumstances of a session; bench.measure.session adds kernels.

    threads   the thread counts whose roofs are measured
    dtypes    of the peaks, see bench.measure.probes.peak_types()
    progress  called with what happens now, in one line, and the share of the work that is done, where it is known
    quick     fewer sizes
    """

    def __init__(self, threads: Iterable[int], dtypes: Iterable[str], progress: Say, quick: bool) -> None:
        self.threads, self.dtypes = sorted(set(threads)), list(dtypes)
        self.progress, self.quick = progress, quick
        self.began = time.perf_counter()
        self.isa = native_isa(isa_in_use())  # of the native types
        pages_in_use()  # refused before anything is measured
        self.rounds = 0
        self.visit = 0
        self._visited = False
        self.rows: list[Row] = []
        self.untrusted: list[str] = []
        self.remarks: list[str] = []
        self.placements: list[Pair] = []
        self.conditions: list[Condition] = []
        self.cpus = {t: cpus_for(t) for t in self.threads}
        for count in self.threads:
            team_in_use(count)
        last = last_level()
        if last.doubt:
            self.distrust(f"which cache is the last isn't known: {last.doubt}")
        if last.found:
            self.remark(f"which cache is the last was measured: {last.found}")
        self.remarks += remarks()
        self.remarks += [
            f"{name}={value} is of no effect: the session pins its threads" for name, value in unset().items()
        ]
        self._watch = Conditions(own=self.cpu_seconds)
        self._probes: dict[int, list[Probe]] = {}

    def visits(self, count: int) -> Iterator[int]:
        """Passes over what is measured, as self.visit, behind those that were made before."""
        for _ in range(count):
            self.visit += self._visited
            self._visited = True
            yield self.visit

    def start(self) -> None:
        """Measures the roofs at every thread count, memory at two sizes, and which CPUs share what."""
        self._place()
        for threads in self.threads:
            self.progress(f"roofs, {plural(threads, 'thread')}")
            with pinned(threads), self.watched():
                self.add_roofs(threads, self._all_roofs(threads))

    def add_roofs(self, threads: int, probes: Sequence[Probe]) -> None:
        """Samples these for the first time; kernels on as many threads are then measured beside them."""
        self.sample(probes, 0.01, least=3)
        self._probes[threads] = list(probes)

    def _all_roofs(self, threads: int) -> list[Probe]:
        probes = [self.memory(threads), *self._caches(threads)]
        for dtype in self.dtypes:
            isas = dict.fromkeys(c.owner("peak", dtype, isa) for isa in (isa_in_use(), self.isa, c.running()[-1]))
            probes += [peak_probe(threads, dtype, isa) for isa in isas if c.has_peak(dtype, isa)]
        return probes + [make(threads) for make in of_roof("clock")]

    def memory(self, threads: int) -> Probe:
        """Read bandwidth of memory, from every access pattern; arrays of once and twice the rule must agree.

        Returns the fastest pattern, walking through an array of the rule's size piece by piece, for samples beside the
        kernels; the rows of whole arrays are added.
        """
        size, trusted = dram_bytes(arrays=3)
        if not trusted:
            self.distrust(
                f"{scarcest_memory()[1]} leaves no room for arrays of {LEAST} times the last-level cache, so the read "
                "roof isn't DRAM's: raise that limit"
            )
        probes, patterns = [], of_roof("bandwidth")
        for factor in (1,) if self.quick else (1, 2):
            arrays = stream_arrays(1, factor * size // 8, threads)
            probes += [make("c", arrays, threads) for make in (patterns if factor == 1 else patterns[:FEW])]
        self.sample(probes, 0.03, least=3)
        sizes = sorted({p.row["dims"]["n"] for p in probes})
        for _ in range(4):  # stolen time makes sizes look different; more samples tell
            if len(sizes) < 2:
                break
            self._sample_again(probes, 4)
            excess = self._excess(probes, *sizes)
            if excess.low <= 1 + AGREE:
                break
        else:
            self.distrust(
                f"memory on {plural(threads, 'thread')}: arrays of {sizes[0] * 8 >> 20} MiB are read "
                f"{excess.value:.2f} times as fast as of {sizes[1] * 8 >> 20} MiB, so caches help: free memory, or set "
                "a smaller affinity mask"
            )
        self.rows += [p.row for p in probes]
        best = max((p for p in probes if p.row["dims"]["n"] == sizes[0]), key=_typical)
        return walking(best.row["operation"], size, threads)

    @staticmethod
    def _excess(probes: Sequence[Probe], small: int, large: int) -> Interval:
        """How many times as fast the smaller array is read as the larger one in the same rounds, best patterns."""

        def best(n: int) -> dict[int, float]:
            found: dict[int, float] = {}
            for series in (Series.of(p.row) for p in probes if p.row["dims"]["n"] == n):
                for round_, rate in series.by_round.items():
                    found[round_] = max(rate, found.get(round_, 0.0))
            return found

        ours, theirs = best(small), best(large)
        return median_interval([ours[n] / theirs[n] for n in ours if n in theirs])

    def _caches(self, threads: int) -> list[Probe]:
        """Read bandwidth of half of each cache level: of every thread's own L1 and L2, of the L3 in reach.

        Of L3 a quarter, if that is far larger than L2: neighbours may leave less than half, and most weights are less.
        The fastest pattern of each is returned, the others' rows are added.
        """
        own = cache_bytes(2)
        sizes: dict[Level, tuple[int | None, int]] = {
            "L1": (cache_bytes(1), threads),
            "L2": (own, threads),
            "L3": (last_level().bytes if cache_bytes(3) else None, 1),
        }
        found = []
        for level, (size, times) in sizes.items():
            if size is None:
                self.remark(f"{level}: sysfs doesn't give its size, so it has no roof")
                continue
            quarter = level == "L3" and own is not None and size // 4 >= 4 * own * threads
            arrays = stream_arrays(1, size * times // (4 if quarter else 2) // 8, threads)
            probes = [make("c", arrays, threads, level) for make in of_roof("bandwidth")[:FEW]]
            self.sample(probes, 0.01, least=3)
            best = max(probes, key=_typical)
            found.append(best)
            self.rows += [p.row for p in probes if p is not best]
        return found

    def distrust(self, reason: str) -> None:
        if reason not in self.untrusted:
            self.untrusted.append(reason)

    def remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def references(self, threads: int, wanted: Iterable[Peak], levels: Iterable[str]) -> list[Probe]:
        """The probes whose roofs kernels of this kind are held against: they take part in the kernels' rounds.

        wanted: what they multiply, and their ISA; where one has no peak of its own, as a library's, the widest of this
        CPU is taken.
        """
        probes = self._probes.get(threads, [])
        peaks = {(multiplied(p.row), p.row["isa"]): p for p in probes if is_peak(p.row)}
        used = []
        for type_, isa in wanted:
            mine = {i: p for (t, i), p in peaks.items() if t == type_}
            mine = mine or {i: p for (t, i), p in peaks.items() if t == TYPES[type_].accumulator}
            used += [mine[nearest(isa, mine) or [*mine][-1]]] if mine else []
        reads = [p for p in probes if is_read(p.row) and p.row["level"] in set(levels)]
        return list({id(p): p for p in [*used, *reads]}.values())

    def sample(self, probes: Sequence[Probe], seconds: float, least: int = 5) -> None:
        """Times the probes, interleaved, about `seconds` each, and adds to their rows."""
        calls = [p.calls or None for p in probes]
        samples = interleave([p.variant for p in probes], seconds, least, warm_up=0.03, calls=calls, hot=_hot(probes))
        self.add_samples(probes, samples)

    def add_samples(self, probes: Sequence[Probe], samples: Sequence[Samples]) -> None:
        """Adds what interleave() gave for the probes to their rows, as rounds of their own."""
        first = self.new_rounds(samples)
        for probe, new in zip(probes, samples, strict=True):
            self.add_probe(probe, new, first)

    def add_probe(self, probe: Probe, new: Samples, first: int) -> None:
        if not probe.calls:  # a row has one number of calls: the first timing decides
            probe.calls = new.calls
            probe.row["calls"] *= new.calls
        assert new.calls == probe.calls
        self.add(probe.row, new, first)

    def new_rounds(self, samples: Iterable[Samples]) -> int:
        """The session's number of the first of these samples' rounds."""
        first = self.rounds
        self.rounds += 1 + max((turn for s in samples for turn in s.turns), default=0)
        return first

    def add(self, row: Row, samples: Samples, first: int) -> None:
        starts = [start - self.began for start in samples.starts]
        rounds = [first + turn for turn in samples.turns]
        add_samples(row, samples.seconds, starts, rounds, self.visit, samples.preempted)

    def probe_round(self, threads: int | None = None) -> None:
        """A few more samples of all roofs: they belong to the same minutes as the kernels."""
        for t in [threads] if threads else self.threads:
            with pinned(t), self.watched():
                self._sample_again(self._probes[t], ROUNDS)

    def _sample_again(self, probes: Sequence[Probe], count: int) -> None:
        touch(x for p in probes for x in p.memory)
        samples = [Samples(p.calls) for p in probes]
        collect([p.variant for p in probes], samples, [count] * len(probes), hot=_hot(probes))
        self.add_samples(probes, samples)

    def ceiling(self, name: str, threads: int) -> Row:
        """The row of "peak_f32", "peak_f64" (of the ISA in use) or "read" at a thread count."""
        for probe in self._probes[threads]:
            row = probe.row
            if name == "read" and is_read(row) and row["level"] == "DRAM":
                return row
            if is_peak(row) and name == f"peak_{multiplied(row)}" and row["isa"] == self.isa:
                return row
        raise KeyError(name)

    def _place(self) -> None:
        self.placements += measure_pairs(cpus_for(max(self.threads)), self.rounds)

    def finish(self) -> None:
        """The roofs once more, and who shares what: what moved in between, moved under the kernels."""
        self.progress("roofs again")
        self.probe_round()
        self._place()

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
            condition = {"round": self.rounds, "clock_hertz": clock_hertz(), **figures}
            self.conditions.append(cast(Condition, condition))

    @staticmethod
    def level(size: int, threads: int, times: int = LEAST) -> Level:
        """Where `size` bytes of data in use again and again come from: the nearest level that can hold them.

        L3 keeps a part of what is larger, which is then read faster than memory: from so many `times` its size on it
        is memory that limits.
        """
        own, last, is_l3 = _capacities()
        if own[0] and size <= own[0] * threads:
            return "L1"
        if own[1] and size <= own[1] * threads:
            return "L2"
        return "L3" if size <= last or (is_l3 and size < times * last) else "DRAM"

    def roofs(self) -> dict[int, Roofs]:
        """The ceilings so far, by thread count."""
        return roofs(self.measured())

    def measured(self) -> list[Row]:
        """The rows so far that have samples, the ceilings' first."""
        probes = [p.row for probes in self._probes.values() for p in probes]
        return [row for row in (*probes, *self.rows) if row["seconds"]]


def _hot(probes: Sequence[Probe]) -> list[bool]:
    """Whether a probe's data has to be in a cache."""
    return [p.row["level"] in ("L1", "L2", "L3") for p in probes]


def _typical(probe: Probe) -> float:
    return median(per_second(probe.row, counted(probe.row)))
