"""Every figure that is printed, derived from a record's raw seconds: rates, roofs, ridges, verdicts, trust.

Nothing else computes a figure. Roofs are the best of all samples, kernels the median with its interval; a percentage of
roof is therefore median over best, and whoever prints it says so.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.conditions import judge
from bench.ridge import Interval, Knee, best_interval, find_knee, median_interval, ratio_interval, verdict
from kernels.reference import DTYPES, OPERATIONS

DRIFT = 0.05  # a roof that moved by more between the start and the end of a session is said to have moved
AGREE = 0.05  # and the DRAM figure holds only where arrays of once and twice the rule agree this well
HOT_GAIN = 1.15  # weights in cache make a memory-limited kernel at least this much faster

Row = Mapping[str, Any]


def flops(row: Row) -> int:
    """FLOPs of one call, from the shape: never from padded work."""
    dims = row["dims"]
    if row["operation"] == "fma":  # a multiply and an add per lane of each chain on each thread
        return 2 * dims["chains"] * dims["lanes"] * dims["iterations"] * row["threads"]
    return OPERATIONS[row["operation"]].flops(dims) if row["operation"] in OPERATIONS else 0


def moved_bytes(row: Row) -> int:
    """Bytes of one call that its level must deliver: of cold rows the cold operands, otherwise every operand once.

    Probes count as STREAM does: what update writes back, too.
    """
    if row["operation"] not in OPERATIONS:
        return 0
    op, size = OPERATIONS[row["operation"]], DTYPES[row["dtype"]].itemsize
    if not row.get("cold"):
        return op.delivered(row["dims"], size) if row["kind"] == "kernel" else op.bytes(row["dims"], size)
    words = 0
    for name, dims in op.operands:
        if name in row["cold"]:
            product = 1
            for d in dims:
                product *= row["dims"][d]
            words += product
    return words * size


def write_allocate_bytes(row: Row) -> int:
    """moved_bytes() and what regular stores read first because they miss."""
    if row["operation"] not in OPERATIONS:
        return 0
    return moved_bytes(row) + OPERATIONS[row["operation"]].allocates(row["dims"]) * DTYPES[row["dtype"]].itemsize


def call_seconds(row: Row) -> list[float]:
    """Seconds per call of each sample."""
    return [s / row["calls"] for s in row["seconds"]]


def family(row: Row) -> str:
    """The backend as it appears in tables: prepacked weights are another contestant."""
    return row["backend"] + (" prepacked" if row["operation"] == "gemm_prepacked" else "")


@dataclass(frozen=True)
class Roofs:
    """The ceilings of one thread count: peak per (dtype, isa) in FLOP/s, read bandwidth per level in bytes/s."""

    threads: int
    peaks: Mapping[tuple[str, str], Interval]
    bandwidths: Mapping[str, Interval]
    ridges: Mapping[tuple[str, str], Interval]

    def peak(self, dtype: str, isa: str) -> tuple[str, Interval] | None:
        """The peak of an ISA, and its name; for a library, whose ISA isn't known, the highest of that dtype."""
        mine = {i: peak for (d, i), peak in self.peaks.items() if d == dtype}
        if not mine:
            return None
        name = isa if isa in mine else max(mine, key=lambda i: mine[i].value)
        return name, mine[name]


def _probe_rates(rows: Iterable[Row], amount: Any) -> tuple[list[float], list[int]]:
    rates, rounds = [], []
    for row in rows:
        rates += [amount(row) / s for s in call_seconds(row)]
        rounds += row["rounds"]
    return rates, rounds


def roofs(rows: Iterable[Row]) -> dict[int, Roofs]:
    """The ceilings by thread count. The DRAM roof takes every read pattern, at the largest sizes."""
    peaks, reads = defaultdict(list), defaultdict(list)
    for row in rows:
        if row["kind"] == "probe" and row["operation"] == "fma":
            peaks[row["threads"], row["dtype"], row["isa"]].append(row)
        elif row["kind"] == "probe" and row["operation"].startswith("read"):
            reads[row["threads"], row["level"]].append(row)
    found = {}
    for threads in sorted({key[0] for key in (*peaks, *reads)}):
        up = {(d, i): _probe_rates(r, flops) for (t, d, i), r in peaks.items() if t == threads}
        down = {level: _probe_rates(r, moved_bytes) for (t, level), r in reads.items() if t == threads}
        ridges = {key: ratio_interval(*rates, *down["DRAM"]) for key, rates in up.items()} if "DRAM" in down else {}
        found[threads] = Roofs(
            threads,
            {key: best_interval(*rates) for key, rates in up.items()},
            {level: best_interval(*rates) for level, rates in down.items()},
            ridges,
        )
    return found


def drift(rows: Iterable[Row]) -> dict[str, float]:
    """By probe, its best in the last fifth of the session's rounds over the first fifth's, minus one."""
    rows = [r for r in rows if r["kind"] == "probe" and r["operation"] in ("fma", "read", "read_2", "read_4", "read_8")]
    last = max((n for r in rows for n in r["rounds"]), default=0)
    names: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = f"peak {row['dtype']} {row['isa']}" if row["operation"] == "fma" else f"read {row['level']}"
        names[f"{name}, {row['threads']} threads"].append(row)
    moved = {}
    for name, group in names.items():
        rates, rounds = _probe_rates(group, flops if name.startswith("peak") else moved_bytes)
        head = [x for x, n in zip(rates, rounds, strict=True) if n <= last / 5]
        tail = [x for x, n in zip(rates, rounds, strict=True) if n >= last - last / 5]
        if last and head and tail:
            moved[name] = max(tail) / max(head) - 1
    return moved


class Figures:
    """All figures of a record; as_dict() is what the record stores and bench.check derives again."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.rows: list[Row] = record["rows"]
        self.roofs = roofs(self.rows)

    def row(self, row: Row) -> dict[str, Any]:
        """One row's figures: seconds per call, rates, intensity, its roof and how near it came."""
        seconds = median_interval(call_seconds(row))
        work, moved = flops(row), moved_bytes(row)
        figures: dict[str, Any] = {"seconds": seconds.as_dict(), "best_seconds": min(call_seconds(row))}
        if work:
            figures["gflops"] = seconds.inverse(work / 1e9).as_dict()
        if moved:
            figures["gbps"] = seconds.inverse(moved / 1e9).as_dict()
            figures["best_gbps"] = moved / figures["best_seconds"] / 1e9
            figures["gbps_write_allocate"] = seconds.inverse(write_allocate_bytes(row) / 1e9).as_dict()
        if row["kind"] == "kernel":
            figures.update(self._against_roof(row, seconds, work, moved))
        return figures

    def _against_roof(self, row: Row, seconds: Interval, work: int, moved: int) -> dict[str, Any]:
        intensity = work / moved
        known = self.roofs.get(row["threads"])
        peak = known.peak(row["dtype"], row["isa"]) if known else None
        bandwidth = known.bandwidths.get(row["level"]) if known else None
        if known is None or peak is None or bandwidth is None:
            return {"intensity": intensity, "verdict": "undecided", "note": "its roof was not measured"}
        isa, peak_rate = peak
        roof = min(peak_rate.value, intensity * bandwidth.value)
        ridge = known.ridges[row["dtype"], isa]
        if row["level"] != "DRAM":  # the ridge of the cache it lives in
            ridge = Interval(
                peak_rate.value / bandwidth.value, peak_rate.low / bandwidth.high, peak_rate.high / bandwidth.low
            )
        rate = seconds.inverse(work)
        figures = {
            "intensity": intensity,
            "roof_gflops": roof / 1e9,
            "percent_of_roof": 100 * rate.value / roof,
            "verdict": verdict(intensity, ridge),
        }
        then = self._roof_then(row, isa, intensity)
        if then:
            figures["percent_of_roof_then"] = 100 * work / min(call_seconds(row)) / then
        highest = min(peak_rate.high, intensity * bandwidth.high)
        if rate.low > highest:
            figures["error"] = self._cause(row, compute=peak_rate.value <= intensity * bandwidth.value)
        return figures

    def _roof_then(self, row: Row, isa: str, intensity: float) -> float | None:
        """The roof in FLOP/s from the samples taken just before and just after a row; None where there are none."""
        when = {row["rounds"][0], row["rounds"][0] + 1}
        peak = bandwidth = 0.0
        for probe in self.rows:
            if probe["kind"] != "probe" or probe["threads"] != row["threads"]:
                continue
            is_peak = (probe["operation"], probe["dtype"], probe["isa"]) == ("fma", row["dtype"], isa)
            is_read = probe["operation"].startswith("read") and probe["level"] == row["level"]
            if not is_peak and not is_read:
                continue
            amount = flops(probe) if is_peak else moved_bytes(probe)
            rates = [amount / s for s, n in zip(call_seconds(probe), probe["rounds"], strict=True) if n in when]
            if is_peak:
                peak = max([peak, *rates])
            else:
                bandwidth = max([bandwidth, *rates])
        return min(peak, intensity * bandwidth) or None

    def _cause(self, row: Row, compute: bool) -> str:
        if compute:
            return "above its roof: the clock rose, or neighbours left, between the peak probe and this kernel"
        if row["level"] == "DRAM":
            return "above its roof: weights were still in a cache, or the bandwidth probe met a slower moment"
        return f"above its roof: data nearer than {row['level']}, or the bandwidth probe met a slower moment"

    @cached_property
    def row_figures(self) -> list[dict[str, Any]]:
        found = [self.row(row) for row in self.rows]
        self._compare_hot(found)
        return found

    def _compare_hot(self, found: list[dict[str, Any]]) -> None:
        """Says of cold memory-bound rows whether the same kernel with hot weights is really faster."""
        hot = {
            self._identity(r): f
            for r, f in zip(self.rows, found, strict=True)
            if r["kind"] == "kernel" and not r["cold"]
        }
        for row, figures in zip(self.rows, found, strict=True):
            partner = hot.get(self._identity(row)) if row["kind"] == "kernel" and row["cold"] else None
            if partner is None:
                continue
            figures["cold_over_hot"] = figures["seconds"]["value"] / partner["seconds"]["value"]
            if figures["cold_over_hot"] < HOT_GAIN and figures.get("verdict") == "memory-bound":
                figures["note"] = "no faster with weights in cache: something other than memory limits it"

    @staticmethod
    def _identity(row: Row) -> tuple[Any, ...]:
        return (
            row["operation"],
            row["dtype"],
            row["backend"],
            row["isa"],
            row["threads"],
            tuple(sorted(row["dims"].items())),
        )

    @cached_property
    def knees(self) -> list[dict[str, Any]]:
        """The empirical ridge of each backend, dtype and thread count, from its GEMMs with cold weights.

        It is laid beside a ridge of best-of ceilings, so it takes the best sample of each row. GEMV is left out: it is
        another kernel, with a slope of its own.
        """
        points: dict[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
        for row, figures in zip(self.rows, self.row_figures, strict=True):
            if row["kind"] == "kernel" and row["cold"] and row["operation"] in ("gemm", "gemm_prepacked"):
                key = (family(row), row["dtype"], row["threads"])
                points[key].append((figures["intensity"], flops(row) / figures["best_seconds"]))
        knees = []
        for (backend, dtype, threads), pairs in points.items():
            if len(pairs) < 6:
                knee = Knee(None, 0.0, 0.0, 0.0, len(pairs), "fewer than 6 points were measured")
            else:
                knee = find_knee(*zip(*pairs, strict=True))
            knees.append({"backend": backend, "dtype": dtype, "threads": threads, **knee.as_dict()})
        return knees

    @cached_property
    def trust(self) -> dict[str, Any]:
        """A: nothing speaks against the figures. B, C: one reason, several. D: a roof or a row can't be believed."""
        session = self.record["session"]
        reasons, fatal = judge(session["conditions"]) if session["conditions"] else [], list(session["untrusted"])
        reasons += session["remarks"]
        for name, moved in drift(self.rows).items():
            if abs(moved) > DRIFT:
                reasons.append(f"{name}: moved by {100 * moved:+.0f} % within the session")
        pings = [p["seconds"] for p in session["pings"] if p["seconds"]]
        if pings and max(pings) > 1.5 * min(pings) and len({tuple(p["cpus"]) for p in session["pings"]}) == 1:
            reasons.append(
                f"the CPUs' distance changed from {1e9 * pings[0]:.0f} to {1e9 * pings[-1]:.0f} ns: their placement did"
            )
        above = sum("error" in f for f in self.row_figures)
        if above:
            fatal.append(f"{above} rows lie above their roof")
        grade = "D" if fatal else "A" if not reasons else "B" if len(reasons) == 1 else "C"
        return {"grade": grade, "reasons": fatal + reasons}

    def as_dict(self) -> dict[str, Any]:
        ceilings = [
            {
                "threads": r.threads,
                "peaks": [{"dtype": d, "isa": i, "flops": peak.as_dict()} for (d, i), peak in r.peaks.items()],
                "bandwidths": [{"level": level, "bytes": rate.as_dict()} for level, rate in r.bandwidths.items()],
                "ridges": [{"dtype": d, "isa": i, "ridge": ridge.as_dict()} for (d, i), ridge in r.ridges.items()],
            }
            for r in self.roofs.values()
        ]
        return {
            "rows": self.row_figures,
            "ceilings": ceilings,
            "knees": self.knees,
            "drift": drift(self.rows),
            "trust": self.trust,
        }
