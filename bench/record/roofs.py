"""The roofs of a record: peaks of each type, read bandwidths, ridges, and how far they moved between visits.

Ridge: the arithmetic intensity, in FLOP/byte, at which peak FLOP/s and bandwidth bind equally (Williams et al. 2009).
A roof is the median of its samples, which were taken in the rounds of the kernels: so it is the roof that they met.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import NamedTuple

from bench.quantities import plural
from bench.record.intervals import Interval, Messages, median_interval, messages
from bench.record.probes import PROBES
from bench.record.row import OURS, Row, arithmetic, call_seconds, counted, good, multiplied, per_second
from kernels.types import TYPES, native_isa

NEIGHBOURS = 6  # rounds, of some 10 ms
Peak = tuple[str, str]
"""(type, isa)"""


class Held(NamedTuple):
    """The peak that products are held against; own: the one that is theirs, which may not have been measured."""

    peak: Peak
    own: Peak

    @property
    def stands_in(self) -> bool:
        return self.peak != self.own

    @property
    def text(self) -> str:
        """ "i8: its peak was not measured, f32's stands in"; with the ISAs where these differ."""
        (type_, isa), (own, own_isa) = self.peak, self.own
        if isa == own_isa:
            return f"{own}: its peak was not measured, {type_}'s stands in"
        return f"{own} of {own_isa}: its peak was not measured, that of {type_} of {isa} stands in"


@dataclass(frozen=True)
class Series:
    """A row's good samples: rates, of a probe in its unit per second, with their rounds and visits."""

    row: Row
    rates: Sequence[float]
    rounds: Sequence[int]
    visits: Sequence[int]

    @classmethod
    def of(cls, row: Row, amount: int | None = None) -> "Series":
        """amount: of one call; of a probe what it counts, if not given."""
        rates, which = per_second(row, counted(row) if amount is None else amount), good(row)
        return cls(row, [rates[i] for i in which], *([row[name][i] for i in which] for name in ("rounds", "visits")))

    @cached_property
    def by_round(self) -> Mapping[int, float]:
        """The median of each round: usually its only one; beside whole models, of several."""
        return _medians(self.rates, self.rounds)

    @cached_property
    def _ordered(self) -> Sequence[int]:
        return sorted(self.by_round)

    def at(self, n: int) -> float | None:
        """The rate in a round, or where a thread lost its CPU then, in the nearest within NEIGHBOURS; else None."""
        if n in self.by_round:
            return self.by_round[n]
        place = bisect(self._ordered, n)
        around = [m for m in self._ordered[max(0, place - 1) : place + 1] if abs(m - n) <= NEIGHBOURS]
        return self.by_round[min(around, key=lambda m: abs(m - n))] if around else None

    @cached_property
    def by_visit(self) -> Mapping[int, float]:
        """The median of each visit."""
        return _medians(self.rates, self.visits)

    @cached_property
    def interval(self) -> Interval:
        return median_interval(self.rates, self.visits)

    @property
    def best(self) -> float:
        return max(self.rates)

    @property
    def moved(self) -> float | None:
        """Largest over smallest of the visits' medians, minus one; None where there was one visit."""
        return spread(self.rates, self.visits)


def spread(values: Sequence[float], visits: Sequence[int]) -> float | None:
    """Largest over smallest of the visits' medians, minus one; None where there was one visit."""
    medians = _medians(values, visits).values()
    return max(medians) / min(medians) - 1 if len(medians) > 1 else None


def _medians(values: Sequence[float], of: Sequence[int]) -> dict[int, float]:
    """The median of the values of each round or visit."""
    found: dict[int, list[float]] = defaultdict(list)
    for value, n in zip(values, of, strict=True):
        found[n].append(value)
    return {n: median(group) for n, group in found.items()}


def line_through(pings: Sequence[Row]) -> Messages | None:
    """The line through messages between two ranks, a point per size and visit; None as messages()."""
    points = []
    for row in pings:
        times, which = call_seconds(row), good(row)
        for visit in sorted({row["visits"][i] for i in which}):
            points.append((counted(row), median(times[i] for i in which if row["visits"][i] == visit)))
    return messages(points)


def over(rates: Series, below: Series) -> Interval:
    """The median of the ratios of two rates of the same rounds; of the same visits, where they share no round; else the
    quotient of their medians.
    """
    visit = dict(zip(rates.rounds, rates.visits, strict=True))
    common = sorted(rates.by_round.keys() & below.by_round.keys())
    if common:
        return median_interval([rates.by_round[n] / below.by_round[n] for n in common], [visit[n] for n in common])
    mine, other = rates.by_visit, below.by_visit
    both = sorted(mine.keys() & other.keys())
    if not both:
        return rates.interval.over(below.interval)
    return median_interval([mine[v] / other[v] for v in both], both)


class Roofs:
    """The ceilings of one thread count: peaks per (type, isa) in FLOP/s, read bandwidths per level in bytes/s."""

    def __init__(self, threads: int, peaks: Mapping[Peak, Series], reads: Mapping[str, Series]) -> None:
        self.threads, self.peak_series, self.read_series = threads, peaks, reads

    @cached_property
    def peaks(self) -> Mapping[Peak, Interval]:
        return {key: series.interval for key, series in self.peak_series.items()}

    @cached_property
    def bandwidths(self) -> Mapping[str, Interval]:
        return {level: series.interval for level, series in self.read_series.items()}

    @property
    def best_peaks(self) -> Mapping[Peak, float]:
        return {key: series.best for key, series in self.peak_series.items()}

    @property
    def best_bandwidths(self) -> Mapping[str, float]:
        return {level: series.best for level, series in self.read_series.items()}

    @cached_property
    def ridges(self) -> Mapping[Peak, Interval]:
        """Of each peak and DRAM's read bandwidth, in FLOP/byte."""
        return {key: self.ridge(key, "DRAM") for key in self.peak_series} if "DRAM" in self.read_series else {}

    def ridge(self, peak: Peak, level: str) -> Interval:
        """The median over rounds of peak / read bandwidth, both sampled in the same round.

        Where they share no round, as in records of version 1, the quotient of the two medians.
        """
        up, down = self.peak_series[peak], self.read_series[level]
        visit = dict(zip(up.rounds, up.visits, strict=True))
        common = sorted(up.by_round.keys() & down.by_round.keys())
        if not common:
            return up.interval.over(down.interval)
        return median_interval([up.by_round[n] / down.by_round[n] for n in common], [visit[n] for n in common])

    def peak(self, type_: str, isa: str) -> tuple[str, Interval] | None:
        """The peak of an ISA, and its name; where that has none, the highest of that type."""
        found = self.candidates([type_], isa)
        return (found[0][1], self.peaks[found[0]]) if found else None

    def candidates(self, types: Iterable[str], isa: str) -> list[Peak]:
        """The peaks that were measured of these types, in their order: of each that of the ISA, then the highest."""
        found: list[Peak] = []
        for type_ in dict.fromkeys(types):
            mine = {i: peak.value for (t, i), peak in self.peaks.items() if t == type_}
            own = nearest(isa, mine)
            found += [(type_, i) for i in sorted(mine, key=lambda i: (i != own, -mine[i]))]
        return found

    def held(self, multiplied: str, summed: str, backend: str, isa: str) -> Held | None:
        """What products are held against, the one place where one peak stands in for another: that of their type and
        ISA or, where it wasn't measured, the same type's of another ISA, or that of the type in which they are summed.

        None: nothing was measured.
        """
        found = self.candidates((multiplied, summed), isa)
        return Held(found[0], self.own(multiplied, backend, isa)) if found else None

    def own(self, type_: str, backend: str, isa: str) -> Peak:
        """The peak of products in a type, measured or not; of a library, whose ISA isn't known, the highest."""
        if backend in OURS:
            return type_, native_isa(isa) if TYPES[type_].native else isa
        return next(iter(self.candidates([type_], isa)), (type_, isa))

    def peak_of(self, row: Row) -> Held | None:
        """What a kernel is held against."""
        return self.held(multiplied(row), arithmetic(row), row["backend"], row["isa"])


def nearest(isa: str, known: Container[str]) -> str | None:
    """Of the ISAs whose peaks are known the one that a kernel has: its own, or that which its own extends."""
    return next((name for name in (isa, native_isa(isa)) if name in known), None)


def peak_label(type_: str, isa: str) -> str:
    """ "FMA peak f32 avx2"; of integers, which no FMA multiplies, "peak i8 avx2"."""
    return f"{'FMA ' * TYPES[type_].native}peak {type_} {isa}"


def peak_unit(type_: str) -> str:
    return "GFLOP/s" if TYPES[type_].native else "GOP/s"


def makes(row: Row, roof: str) -> bool:
    """Whether the row is a probe that makes a roof of this kind."""
    kind = PROBES.get(row["operation"])
    return row["kind"] == "probe" and kind is not None and kind.roof == roof


def is_peak(row: Row) -> bool:
    return makes(row, "peak")


def is_read(row: Row) -> bool:
    """Whether the row is a read probe, of any access pattern."""
    return makes(row, "bandwidth")


def roofs(rows: Iterable[Row]) -> dict[int, Roofs]:
    """The ceilings by thread count.

    Of several patterns and sizes at a level the roof is the one that was sampled beside the kernels, which is the most
    often; of those sampled alike, the fastest.
    """
    peaks: dict[int, dict[Peak, list[Series]]] = defaultdict(lambda: defaultdict(list))
    reads: dict[int, dict[str, list[Series]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if is_peak(row):
            peaks[row["threads"]][multiplied(row), row["isa"]].append(Series.of(row))
        elif is_read(row):
            reads[row["threads"]][row["level"]].append(Series.of(row))
    return {
        threads: Roofs(
            threads,
            {key: _beside_kernels(group) for key, group in peaks[threads].items()},
            {level: _beside_kernels(group) for level, group in reads[threads].items()},
        )
        for threads in sorted(peaks.keys() | reads.keys())
    }


def _beside_kernels(group: Sequence[Series]) -> Series:
    most = max(len(series.rates) for series in group)
    return max((s for s in group if 2 * len(s.rates) > most), key=lambda s: median(s.rates))


def drift(found: Mapping[int, Roofs]) -> dict[str, float]:
    """By roof, largest over smallest of its visits' medians, minus one."""
    moved = {name: series.moved for name, series in named(found).items()}
    return {name: by for name, by in moved.items() if by is not None}


def named(found: Mapping[int, Roofs], isa: str | None = None) -> dict[str, Series]:
    """All roofs by name; isa: only those that a session on this ISA stands on: its peaks and reads of memory."""
    every: dict[str, Series] = {}
    for threads, of in found.items():
        on = f"on {plural(threads, 'thread')}"
        peaks = {key: s for key, s in of.peak_series.items() if isa is None or native_isa(key[1]) == isa}
        reads = {level: s for level, s in of.read_series.items() if isa is None or level == "DRAM"}
        every |= {f"{peak_label(*key)} {on}": s for key, s in peaks.items()}
        every |= {f"read {level} {on}": s for level, s in reads.items()}
    return every
