"""Every figure that is printed, derived from a record's raw seconds: rates, roofs, ridges, verdicts, trust.

Nothing else computes a figure. A kernel's share of its roof is the median over rounds of its rate over the roof of the
same round: what changes for both alike, clock or neighbours, falls out.
"""

from collections import defaultdict
from functools import cached_property
from typing import Any, NamedTuple

from bench.record.format import Figures, MeasuredRidgeFigures, Record, RowFigures, Trust, Verdict
from bench.record.intervals import Interval, median_interval
from bench.record.ridge import MeasuredRidge, find_ridge, verdict
from bench.record.roofs import Peak, drift, named, roofs, spread
from bench.record.row import (
    Row,
    arithmetic,
    family,
    flops,
    good,
    moved_bytes,
    per_second,
    types_label,
    write_allocate_bytes,
)
from bench.record.runs.figures import RunMetrics, peaks_of
from bench.record.runs.run import Run, RunFigures
from bench.record.trust import grade, half, trust

HOT_GAIN = 1.15  # weights in cache make a memory-limited kernel at least this much faster
NEAR = 50.0  # % of its roof: what stays wholly below is limited by neither
ABOVE = 103.0  # % of its roof that a row may reach: another pattern of reads gains or loses some per cent
LEAST_POINTS = 6  # of a measured ridge


class Share(NamedTuple):
    """A kernel's rate over the roof of the same round, of each round, and the visits of these."""

    values: list[float]
    visits: list[int]


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
        found = [self._of_row(*of) for of in zip(self.rows, self.shares, self._moves, strict=True)]
        self._compare_hot(found)
        return found

    def _of_row(self, row: Row, share: Share | None, moved: float | None) -> RowFigures:
        which = good(row)
        seconds = [row["seconds"][i] / row["calls"] for i in which]
        took = median_interval(seconds, [row["visits"][i] for i in which])
        work, size = flops(row), moved_bytes(row)
        figures: RowFigures = {"seconds": took.as_dict(), "best_seconds": min(seconds)}
        if work:
            figures["gflops"] = took.inverse(work / 1e9).as_dict()
        if size:
            figures["gbps"] = took.inverse(size / 1e9).as_dict()
            figures["best_gbps"] = size / figures["best_seconds"] / 1e9
            figures["gbps_write_allocate"] = took.inverse(write_allocate_bytes(row) / 1e9).as_dict()
        if row["kind"] == "kernel":
            figures.update(self._against_roof(row, took, share))
        if moved is not None:
            figures["grade"] = "D" if "error" in figures else grade(half(moved))
        return figures

    @cached_property
    def shares(self) -> list[Share | None]:
        """Of each row its shares of the roof, round by round; None for probes, and where the roof isn't known."""
        return [self._share(row) if row["kind"] == "kernel" else None for row in self.rows]

    def _share(self, row: Row) -> Share | None:
        known = self.roofs.get(row["threads"])
        held = known.peak_of(row) if known else None
        return self.share_of(row, held.peak) if held else None

    def share_of(self, row: Row, peak: Peak) -> Share | None:
        """Shares of the roof under this peak, round by round.

        None where it was sampled near less than half of the row's rounds.
        """
        known = self.roofs[row["threads"]]
        if row["level"] not in known.read_series:
            return None
        intensity, rates, which = flops(row) / moved_bytes(row), per_second(row, flops(row)), good(row)
        up, down = known.peak_series[peak], known.read_series[row["level"]]
        shares = Share([], [])
        for i in which:
            highest, bandwidth = up.at(row["rounds"][i]), down.at(row["rounds"][i])
            if highest and bandwidth:
                shares.values.append(rates[i] / min(highest, intensity * bandwidth))
                shares.visits.append(row["visits"][i])
        return shares if 2 * len(shares.values) >= len(which) else None

    @cached_property
    def _moves(self) -> list[float | None]:
        """Of each row largest over smallest of its visits' medians, minus one: of shares of its roof, else of time."""
        found = []
        for row, share in zip(self.rows, self.shares, strict=True):
            which = good(row)
            times = ([row["seconds"][i] for i in which], [row["visits"][i] for i in which])
            found.append(spread(share.values, share.visits) if share else spread(*times))
        return found

    def _against_roof(self, row: Row, took: Interval, share: Share | None) -> RowFigures:
        intensity = flops(row) / moved_bytes(row)
        known = self.roofs.get(row["threads"])
        held = known.peak_of(row) if known else None
        bandwidth = known.bandwidths.get(row["level"]) if known else None
        if known is None or held is None or bandwidth is None:
            return {"intensity": intensity, "verdict": "undecided", "note": "its roof was not measured"}
        peak = held.peak
        roof = min(known.peaks[peak].value, intensity * bandwidth.value)
        # of records of version 1: the row's median over the roof's
        of_roof = median_interval(share.values, share.visits) if share else took.inverse(flops(row) / roof)
        percent = of_roof.scaled(100)
        ridge = self._ridge(row["threads"], peak, row["level"])
        found: Verdict = "neither" if percent.high < NEAR else verdict(intensity, ridge)
        figures: RowFigures = {
            "intensity": intensity,
            "roof_gflops": roof / 1e9,
            "percent_of_roof": percent.as_dict(),
            "verdict": found,
        }
        if percent.low > ABOVE and held.stands_in and intensity > ridge.value:
            figures["note"] = f"above its roof: {held.text}"
        elif percent.low > ABOVE:
            figures["error"] = self._cause(row, compute=intensity > ridge.value)
        return figures

    @cached_property
    def stand_ins(self) -> list[str]:
        """A line for each type, or ISA, whose products are held against another's peak, for its own wasn't measured."""
        kernels = [row for row in self.rows if row["kind"] == "kernel" and row["threads"] in self.roofs]
        held = [self.roofs[row["threads"]].peak_of(row) for row in kernels]
        held += [one for run in self.record.get("runs", []) for one in peaks_of(run, self.roofs.get(run["threads"]))]
        return list(dict.fromkeys(one.text for one in held if one and one.stands_in))

    def _ridge(self, threads: int, peak: tuple[str, str], level: str) -> Interval:
        """The ceilings' ridge for where a row's data is: DRAM's, or that of the cache it lives in."""
        key = (threads, peak, level)
        if key not in self._ridges:
            self._ridges[key] = self.roofs[threads].ridge(peak, level)
        return self._ridges[key]

    @cached_property
    def _ridges(self) -> dict[Any, Interval]:
        return {}

    def _cause(self, row: Row, compute: bool) -> str:
        if compute:
            return "above its roof: the clock rose between the peak probe and this kernel"
        if row["level"] == "DRAM":
            return "above its roof: weights were still in a cache, or its reads are faster than the probe's"
        return f"above its roof: data nearer than {row['level']}, or its reads are faster than the probe's"

    def _compare_hot(self, found: list[RowFigures]) -> None:
        """Says of cold memory-bound rows whether the same kernel with hot weights is really faster."""
        pairs = [(row, f) for row, f in zip(self.rows, found, strict=True) if row["kind"] == "kernel"]
        hot = {_identity(row): figures for row, figures in pairs if not row["cold"]}
        for row, figures in pairs:
            partner = hot.get(_identity(row)) if row["cold"] else None
            if partner is None:
                continue
            figures["cold_over_hot"] = figures["seconds"]["value"] / partner["seconds"]["value"]
            slow = figures.get("verdict") in ("memory-bound", "neither")
            if figures["cold_over_hot"] < HOT_GAIN and slow:
                figures["note"] = "no faster with weights in cache: instructions limit it, not memory"
            elif figures.get("verdict") == "neither":
                figures["note"] = "faster with weights in cache: too few reads are under way at once"

    @cached_property
    def measured_ridges(self) -> list[MeasuredRidgeFigures]:
        """The measured ridge of each backend, type and thread count, from its GEMMs with cold weights.

        A point is the kernel's share of the roof of its rounds, times the session's roof: moments at which the machine
        was slower don't bend the curve. GEMV is left out: it is another kernel, with a slope of its own.
        """
        points: dict[tuple[str, str, str, int], list[tuple[float, float, tuple[int, int]]]] = defaultdict(list)
        for row, figures in self.pairs:
            if row["kind"] == "kernel" and row["cold"] and row["operation"] in ("gemm", "gemm_prepacked"):
                key = (family(row), types_label(row), arithmetic(row), row["threads"])
                rate = 1e9 * figures["gflops"]["value"]
                if "percent_of_roof" in figures:
                    rate = 1e7 * figures["percent_of_roof"]["value"] * figures["roof_gflops"]
                matrix = (row["dims"]["n"], row["dims"]["k"])
                points[key].append((figures["intensity"], rate, matrix))
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
        return drift(self.roofs)

    @cached_property
    def trust(self) -> Trust:
        kernels = [f for row, f in self.pairs if row["kind"] == "kernel"]
        above = sum("error" in f for f in kernels) / max(1, len(kernels))
        session = self.record["session"]
        headline = named(self.roofs, session["isa"])
        moved = {name: by for name, series in headline.items() if (by := series.moved) is not None}
        moves = [(row, by) for row, by in zip(self.rows, self._moves, strict=True) if by is not None]
        rows = [by for row, by in moves if row["kind"] == "kernel"]
        rows += [by for by in self._run_metrics.moves if by is not None]
        if kernels or self._run_metrics.moves:
            return trust(session, moved, rows, above)
        # probes alone, whose best samples are told
        ours = {id(series.row) for series in headline.values()}
        rows = [by for row, by in moves if id(row) not in ours]
        best = {name: series.best / series.interval.value - 1 for name, series in headline.items()}
        others = [figures for row, figures in self.pairs if id(row) not in ours]
        apart = [figures["seconds"]["value"] / figures["best_seconds"] - 1 for figures in others]
        return trust(session, moved, rows, above, best, apart)

    @cached_property
    def _run_metrics(self) -> RunMetrics:
        return RunMetrics(self.record.get("runs", []), self.roofs, self.record["machine"])

    @property
    def run_figures(self) -> list[RunFigures]:
        """Of each run of a whole model its latency, rates, its bound and how near it came, part by part."""
        return self._run_metrics.figures

    @property
    def run_pairs(self) -> list[tuple[Run, RunFigures]]:
        """Every run with its figures. bench.record.runs.run.key() tells which runs of two records are the same one."""
        return list(zip(self.record.get("runs", []), self.run_figures, strict=True))

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
        figures: Figures = {
            "rows": self.row_figures,
            "ceilings": ceilings,
            "measured_ridges": self.measured_ridges,
            "drift": self.drift,
            "trust": self.trust,
        }
        if self.run_figures:
            figures["runs"] = self.run_figures
        return figures


def _identity(row: Row) -> tuple[Any, ...]:
    """What a row with cold weights and the same with hot ones share."""
    dims, types = (tuple(sorted(row[name].items())) for name in ("dims", "types"))
    return row["operation"], types, row["backend"], row["isa"], row["threads"], dims
