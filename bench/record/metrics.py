"""Every figure that is printed, derived from a record's raw seconds: rates, roofs, ridges, verdicts, trust.

Nothing else computes a figure. Roofs are the best of all samples, kernels the median with its interval; a percentage of
roof is therefore median over best, and whoever prints it says so.
"""

from collections import defaultdict
from functools import cached_property
from typing import Any

from bench.record.format import Figures, MeasuredRidgeFigures, Record, RowFigures, Trust
from bench.record.intervals import Interval, median_interval
from bench.record.ridge import MeasuredRidge, find_ridge, verdict
from bench.record.roofs import Roofs, drift, is_peak, is_read, roofs
from bench.record.row import (
    Row,
    arithmetic,
    call_seconds,
    counted,
    family,
    flops,
    moved_bytes,
    rates,
    types_label,
    write_allocate_bytes,
)
from bench.record.trust import trust

HOT_GAIN = 1.15  # weights in cache make a memory-limited kernel at least this much faster
LEAST_POINTS = 6  # of a measured ridge


class Metrics:
    """All figures of a record, each derived once, when first asked for; as_dict() is what the record stores."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.rows = record["rows"]
        self.roofs = roofs(self.rows)

    @property
    def pairs(self) -> list[tuple[Row, RowFigures]]:
        """Every row with its figures."""
        return list(zip(self.rows, self.row_figures, strict=True))

    @cached_property
    def row_figures(self) -> list[RowFigures]:
        """Of each row seconds per call, rates, intensity, its roof and how near it came."""
        found = [self._of_row(row) for row in self.rows]
        self._compare_hot(found)
        return found

    def _of_row(self, row: Row) -> RowFigures:
        seconds = median_interval(call_seconds(row))
        work, moved = flops(row), moved_bytes(row)
        figures: RowFigures = {"seconds": seconds.as_dict(), "best_seconds": min(call_seconds(row))}
        if work:
            figures["gflops"] = seconds.inverse(work / 1e9).as_dict()
        if moved:
            figures["gbps"] = seconds.inverse(moved / 1e9).as_dict()
            figures["best_gbps"] = moved / figures["best_seconds"] / 1e9
            figures["gbps_write_allocate"] = seconds.inverse(write_allocate_bytes(row) / 1e9).as_dict()
        if row["kind"] == "kernel":
            figures.update(self._against_roof(row, seconds, work, moved))
        return figures

    def _against_roof(self, row: Row, seconds: Interval, work: int, moved: int) -> RowFigures:
        intensity = work / moved
        known = self.roofs.get(row["threads"])
        peak = known.peak(arithmetic(row), row["isa"]) if known else None
        bandwidth = known.bandwidths.get(row["level"]) if known else None
        if known is None or peak is None or bandwidth is None:
            return {"intensity": intensity, "verdict": "undecided", "note": "its roof was not measured"}
        isa, peak_rate = peak
        roof = min(peak_rate.value, intensity * bandwidth.value)
        rate = seconds.inverse(work)
        figures: RowFigures = {
            "intensity": intensity,
            "roof_gflops": roof / 1e9,
            "percent_of_roof": 100 * rate.value / roof,
            "verdict": verdict(intensity, self._ridge(row, known, isa)),
        }
        at_that_moment = self._roof_at_that_moment(row, isa, intensity)
        if at_that_moment:
            figures["percent_of_roof_at_that_moment"] = 100 * work / min(call_seconds(row)) / at_that_moment
        highest = min(peak_rate.high, intensity * bandwidth.high)
        if rate.low > highest:
            figures["error"] = self._cause(row, compute=peak_rate.value <= intensity * bandwidth.value)
        return figures

    @staticmethod
    def _ridge(row: Row, known: Roofs, isa: str) -> Interval:
        """The ceilings' ridge for where the row's data is: DRAM's, or that of the cache it lives in."""
        if row["level"] == "DRAM":
            return known.ridges[arithmetic(row), isa]
        peak, bandwidth = known.peaks[arithmetic(row), isa], known.bandwidths[row["level"]]
        return Interval(peak.value / bandwidth.value, peak.low / bandwidth.high, peak.high / bandwidth.low)

    def _roof_at_that_moment(self, row: Row, isa: str, intensity: float) -> float | None:
        """The roof in FLOP/s from the samples taken just before and just after a row; None where there are none."""
        when = (row["rounds"][0], row["rounds"][0] + 1)
        peaks = self._best_by_round.get((row["threads"], arithmetic(row), isa), {})
        reads = self._best_by_round.get((row["threads"], row["level"]), {})
        peak, read = (max(of.get(n, 0.0) for n in when) for of in (peaks, reads))
        return min(peak, intensity * read) or None

    @cached_property
    def _best_by_round(self) -> dict[tuple[Any, ...], dict[int, float]]:
        """Of each peak (threads, type, isa) in FLOP/s and each read (threads, level) in bytes/s the best by round."""
        found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
        for row in self.rows:
            if is_peak(row) or is_read(row):
                name = (arithmetic(row), row["isa"]) if is_peak(row) else (row["level"],)
                best = found[row["threads"], *name]
                for rate, n in zip(*rates([row], counted), strict=True):
                    best[n] = max(rate, best.get(n, 0.0))
        return found

    def _cause(self, row: Row, compute: bool) -> str:
        if compute:
            return "above its roof: the clock rose, or neighbours left, between the peak probe and this kernel"
        if row["level"] == "DRAM":
            return "above its roof: weights were still in a cache, or the bandwidth probe met a slower moment"
        return f"above its roof: data nearer than {row['level']}, or the bandwidth probe met a slower moment"

    def _compare_hot(self, found: list[RowFigures]) -> None:
        """Says of cold memory-bound rows whether the same kernel with hot weights is really faster."""
        pairs = [(row, f) for row, f in zip(self.rows, found, strict=True) if row["kind"] == "kernel"]
        hot = {_identity(row): figures for row, figures in pairs if not row["cold"]}
        for row, figures in pairs:
            partner = hot.get(_identity(row)) if row["cold"] else None
            if partner is None:
                continue
            figures["cold_over_hot"] = figures["seconds"]["value"] / partner["seconds"]["value"]
            if figures["cold_over_hot"] < HOT_GAIN and figures.get("verdict") == "memory-bound":
                figures["note"] = "no faster with weights in cache: something other than memory limits it"

    @cached_property
    def measured_ridges(self) -> list[MeasuredRidgeFigures]:
        """The measured ridge of each backend, type and thread count, from its GEMMs with cold weights.

        It is laid beside a ridge of best-of ceilings, so it takes the best sample of each row. GEMV is left out: it is
        another kernel, with a slope of its own.
        """
        points: dict[tuple[str, str, str, int], list[tuple[float, float]]] = defaultdict(list)
        for row, figures in self.pairs:
            if row["kind"] == "kernel" and row["cold"] and row["operation"] in ("gemm", "gemm_prepacked"):
                key = (family(row), types_label(row), arithmetic(row), row["threads"])
                points[key].append((figures["intensity"], flops(row) / figures["best_seconds"]))
        found: list[MeasuredRidgeFigures] = []
        for (backend, types, type_, threads), pairs in points.items():
            if len(pairs) < LEAST_POINTS:
                one = MeasuredRidge(None, 0.0, 0.0, 0.0, len(pairs), f"fewer than {LEAST_POINTS} points were measured")
            else:
                one = find_ridge(*zip(*pairs, strict=True))
            found.append(
                {
                    "backend": backend,
                    "types": types,
                    "type": type_,
                    "threads": threads,
                    "ridge": one.ridge.as_dict() if one.ridge else None,
                    "flat": one.flat,
                    "slope": one.slope,
                    "sharpness": one.sharpness,
                    "points": one.points,
                    "reason": one.reason,
                }
            )
        return found

    @cached_property
    def drift(self) -> dict[str, float]:
        return drift(self.rows)

    @cached_property
    def trust(self) -> Trust:
        return trust(self.record["session"], self.drift, sum("error" in f for f in self.row_figures))

    def as_dict(self) -> Figures:
        ceilings = [
            {
                "threads": r.threads,
                "peaks": [{"type": t, "isa": i, "flops": peak.as_dict()} for (t, i), peak in r.peaks.items()],
                "bandwidths": [{"level": level, "bytes": rate.as_dict()} for level, rate in r.bandwidths.items()],
                "ridges": [{"type": t, "isa": i, "ridge": ridge.as_dict()} for (t, i), ridge in r.ridges.items()],
            }
            for r in self.roofs.values()
        ]
        return {
            "rows": self.row_figures,
            "ceilings": ceilings,
            "measured_ridges": self.measured_ridges,
            "drift": self.drift,
            "trust": self.trust,
        }


def _identity(row: Row) -> tuple[Any, ...]:
    """What a row with cold weights and the same with hot ones share."""
    dims, types = (tuple(sorted(row[name].items())) for name in ("dims", "types"))
    return row["operation"], types, row["backend"], row["isa"], row["threads"], dims
