"""Every figure that is printed, derived from a record's raw seconds: rates, roofs, ridges, verdicts, trust.

Nothing else computes a figure. Roofs are the best of all samples, kernels the median with its interval; a percentage of
roof is therefore median over best, and whoever prints it says so.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from bench.record.intervals import Interval, median_interval
from bench.record.ridge import Knee, find_knee, verdict
from bench.record.roofs import drift, roofs
from bench.record.row import Row, call_seconds, family, flops, moved_bytes, write_allocate_bytes
from bench.record.trust import DRIFT, judge

HOT_GAIN = 1.15  # weights in cache make a memory-limited kernel at least this much faster


class Metrics:
    """All figures of a record, each derived once, when first asked for; as_dict() is what the record stores."""

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

    @property
    def pairs(self) -> list[tuple[Row, dict[str, Any]]]:
        """Every row with its figures."""
        return list(zip(self.rows, self.row_figures, strict=True))

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
    def drift(self) -> dict[str, float]:
        return drift(self.rows)

    @cached_property
    def trust(self) -> dict[str, Any]:
        """A: nothing speaks against the figures. B, C: one reason, several. D: a roof or a row can't be believed."""
        session = self.record["session"]
        reasons, fatal = judge(session["conditions"]) if session["conditions"] else [], list(session["untrusted"])
        reasons += session["remarks"]
        for name, moved in self.drift.items():
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
            "drift": self.drift,
            "trust": self.trust,
        }
