"""What follows from a run's seconds: rates, its bound by the roofs of the same rounds, how it compares with the unit.

The bound of a run is the sum over its calls of the longer of two times: FLOPs over the peak of what they multiply, and
bytes over the read bandwidth of where they are. Weights and KV cache are in the nearest level that holds all weights,
activations in the nearest that holds those of one call.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.record.intervals import median_interval
from bench.record.roofs import Held, Roofs, spread
from bench.record.runs.run import Figure, PartFigures, Run, RunFigures, good, key
from bench.record.runs.work import LINEAR, multiplied, work
from bench.record.trust import grade, half
from kernels.types import TYPES

UNIT = ("BERT-Base", "encode", 128)
"""The model, phase and length whose latency is 1, as in Gholami et al. (2024)."""
ABOVE = 105.0  # % of its bound that a run may reach: bytes in caches are counted roughly


def is_unit(run: Run) -> bool:
    """Whether other runs' seconds are told in this one's."""
    if run["what"] == "training":
        return run["interval"] == run["model"]["layers"]
    return (run["model"]["name"], run["phase"], run["length"]) == UNIT


class RunMetrics:
    """The figures of a record's runs, in their order.

    moves  of each run the largest over the smallest median of its visits, minus one: of its share of the bound, or of
           its time; None where there was one visit
    """

    def __init__(self, runs: Sequence[Run], roofs: Mapping[int, Roofs], machine: Mapping[str, Any]) -> None:
        self.bounds = {key(run): Bound.of(run, roofs.get(run["threads"]), machine) for run in runs}
        self.units = {_kin(run): run for run in runs if is_unit(run)}
        self.natives = {_place(run): run for run in runs if "linear" not in run}
        self.moves: list[float | None] = []
        self.figures = [self._of(run) for run in runs]

    def _of(self, run: Run) -> RunFigures:
        which, bound = good(run), self.bounds[key(run)]
        times, visits = [run["seconds"][i] for i in which], [run["visits"][i] for i in which]
        seconds = median_interval(times, visits)
        _, flops, cold, *_ = totals(np.concatenate(list(work(run).values())))
        figures: RunFigures = {
            "seconds": seconds.as_dict(),
            "tokens_per_second": seconds.inverse(run["length"]).as_dict(),
            "gflops": seconds.inverse(flops / 1e9).as_dict(),
            "gbps": seconds.inverse(cold / 1e9).as_dict(),
            "parts": {name: _part(run, name, which, bound) for name in work(run)},
        }
        if bound:
            figures["bound_seconds"] = bound.seconds(run)
            percent = [100 * bound.seconds(run, run["rounds"][i]) / run["seconds"][i] for i in which]
            share = median_interval(percent, visits)
            figures["percent_of_roof"] = share.as_dict()
            if share.low > ABOVE:
                figures["note"] = "above its bound: weights nearer than their size tells, or the probes were disturbed"
        moved = spread(percent if bound else times, visits)
        self.moves.append(moved)
        if moved is not None:
            figures["grade"] = "D" if "note" in figures else grade(half(moved))
        if unit := self.units.get(_kin(run)):
            self._beside(run, unit, figures)
        if "linear" in run:
            native = _native(run)
            figures["byte_ratio"] = totals(np.concatenate(list(work(native).values())))[2] / cold
            if (other := self.natives.get(_place(run))) and (ratio := _ratio(other, run)):
                figures["speedup"] = ratio
        return figures

    def _beside(self, run: Run, unit: Run, figures: RunFigures) -> None:
        if ratio := _ratio(run, unit):
            figures["over_unit"] = ratio
        bound = self.bounds[key(unit)]
        if bound and "bound_seconds" in figures:
            figures["bound_over_unit"] = figures["bound_seconds"] / bound.seconds(unit)


def _kin(run: Run) -> tuple[Any, ...]:
    """Equal for runs that one unit serves: on the same kernels; of training, of the same chain."""
    chain = (tuple(sorted(run["model"].items())), run["length"]) if run["what"] == "training" else ()
    types = (*sorted(run["types"].items()), run.get("linear"))
    return run["what"], run["backend"], run["isa"], run["threads"], types, chain


def _native(run: Run) -> Run:
    """The same run with weights of the type that they are multiplied in."""
    native: Run = {**run, "types": dict.fromkeys(run["types"], run["types"]["activations"])}
    native.pop("linear", None)
    return native


def _place(run: Run) -> tuple[Any, ...]:
    """Equal for runs that differ in their weights' type alone, and in the ISA that has kernels for it."""
    return key(_native({**run, "isa": ""}))


def _ratio(run: Run, other: Run) -> Figure | None:
    """The seconds of one over the other's in the same round, the median; None where they share no round."""
    mine, one = _by_round(run), _by_round(other)
    common = [n for n in mine if n in one]
    if not common:
        return None
    return median_interval([mine[n][0] / one[n][0] for n in common], [mine[n][1] for n in common]).as_dict()


def _by_round(run: Run) -> dict[int, tuple[float, int]]:
    """The median of a run's good samples in each round, and the visit."""
    found: dict[int, list[int]] = defaultdict(list)
    for i in good(run):
        found[run["rounds"][i]].append(i)
    return {n: (float(np.median([run["seconds"][i] for i in at])), run["visits"][at[0]]) for n, at in found.items()}


def totals(calls: np.ndarray) -> list[float]:
    """Calls, FLOPs, cold, hot and returning bytes of all calls together."""
    return [float(calls[:, 0].sum()), *map(float, calls[:, 0] @ calls[:, 1:])]


def _part(run: Run, name: str, which: Sequence[int], bound: "Bound | None") -> PartFigures:
    does, spent = work(run)[name], run["parts"].get(name)
    calls, flops, cold, hot, _ = totals(does)

    def middle(values: Sequence[float]) -> Figure:
        return median_interval(values, [run["visits"][i] for i in which]).as_dict()

    return {
        "calls": round(calls),
        "flops": flops,
        "cold_bytes": cold,
        "hot_bytes": hot,
        "seconds": middle([spent[i] for i in which]) if spent else None,
        "bound_seconds": bound.part(name, does) if bound else None,
        "percent_of_roof": middle([100 * bound.part(name, does, run["rounds"][i]) / spent[i] for i in which])
        if bound and spent
        else None,
    }


def peaks_of(run: Run, roofs: Roofs | None) -> tuple[Held, ...]:
    """What products are held against: all but those of LINEAR, then these; none where nothing was measured."""
    summed = TYPES[run["types"]["activations"]].accumulator
    if roofs is None:
        return ()
    found = (roofs.held(type_, summed, run["backend"], run["isa"]) for type_ in (summed, multiplied(run)))
    return tuple(one for one in found if one)


class Rate(NamedTuple):
    """FLOP/s of a session, and of each round in which the peak was sampled."""

    value: float
    by_round: Mapping[int, float]


@dataclass(frozen=True)
class Bound:
    """The roofs over a run: of the session, and of each round in which they were sampled.

    peak, linear   FLOP/s of all parts but LINEAR, and of these, which may multiply integers
    sizes  bytes that each level holds, the nearest first; reads: its bytes/s
    home   which of the levels holds the weights
    """

    peak: Rate
    linear: Rate
    sizes: np.ndarray
    reads: np.ndarray
    home: int
    reads_by_round: Sequence[Mapping[int, float]]

    @staticmethod
    def of(run: Run, roofs: Roofs | None, machine: Mapping[str, Any]) -> "Bound | None":
        """None where the peak or memory wasn't measured."""
        held = peaks_of(run, roofs)
        if roofs is None or len(held) < 2 or "DRAM" not in roofs.bandwidths:
            return None
        native, linear = (one.peak for one in held)
        known = {level: size for level, size in holds(machine, run["threads"]).items() if level in roofs.bandwidths}
        known["DRAM"] = np.inf
        home = next(i for i, size in enumerate(known.values()) if weight_bytes(run) <= size)
        series = [roofs.peak_series[native], roofs.peak_series[linear], *(roofs.read_series[level] for level in known)]
        rounds = {run["rounds"][i] for i in good(run)}
        native_at, linear_at, *down = ({n: rate for n in rounds if (rate := one.at(n))} for one in series)
        reads = np.array([roofs.bandwidths[level].value for level in known])
        return Bound(
            Rate(roofs.peaks[native].value, native_at),
            Rate(roofs.peaks[linear].value, linear_at),
            np.array(list(known.values()), float),
            reads,
            home,
            down,
        )

    def part(self, name: str, calls: np.ndarray, round_: int = -1) -> float:
        """Seconds that a part's calls take at least, by the roofs of a round, or of the session where it has none."""
        rate = self.linear if name in LINEAR else self.peak
        peak = rate.by_round.get(round_, rate.value)
        reads = np.array([of.get(round_, read) for of, read in zip(self.reads_by_round, self.reads, strict=True)])
        times, flops, cold, hot, back = calls.T
        near = reads[np.searchsorted(self.sizes, hot - back)]
        return float(times @ np.maximum(flops / peak, cold / reads[self.home] + (hot - back) / near))

    def seconds(self, run: Run, round_: int = -1) -> float:
        return sum(self.part(name, calls, round_) for name, calls in work(run).items())


def weight_bytes(run: Run) -> float:
    """What a pass reads of a model's weights, biases and norms left out."""
    model, element = run["model"], TYPES[run["types"]["weights"]]
    d, f, transformer = model["width"], model["ffn"], run["what"] == "inference"
    layer = 2 * element.bytes(d * f) + transformer * 4 * element.bytes(d * d)
    head = element.bytes(model["vocabulary"] * d) if run["phase"] in ("prefill", "decode") else 0
    return model["layers"] * layer + head


def holds(machine: Mapping[str, Any], threads: int) -> dict[str, float]:
    """Bytes that each cache level holds for so many threads, the nearest first: their own L1 and L2, and all L3."""
    own = {cache["level"]: cache["bytes"] for cache in machine["caches"] if cache["type"] != "Instruction"}
    sizes = {"L1": threads * (own.get(1) or 0), "L2": threads * (own.get(2) or 0)}
    if own.get(3):
        sizes["L3"] = machine.get("llc_bytes_aggregate") or 0
    return {level: size for level, size in sizes.items() if size}
