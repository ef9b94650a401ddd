"""How fast compute, memory and models grew: the points of "AI and Memory Wall" and the lines through them.

Gholami et al. 2024, Fig. 1 and 2; growth.csv has the points and what has to be said about them. Each line is
ordinary least squares of log10(value) on date, as in the paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import scipy  # scipy.special, 0.2 s, is imported when it is first used

from bench.files import csv_rows
from bench.quantities import plural
from bench.record.intervals import CONFIDENCE, Interval

PRINTED = {
    "peak FLOPS": 3.0,
    "DRAM bandwidth": 1.6,
    "interconnect": 1.4,
    "Transformer parameters": 410.0,
    "accelerator memory": 2.0,
    "Transformer training": 750.0,
}
"""The paper's own growth per two years, of the series that it gives one for."""

MATRIX_UNITS = date(2017, 5, 1)  # peaks after this day are those of FP16 or bf16 matrix units
CAVEATS = (
    "points were read off the published figures, names marked inferred are; peak FLOPS mixes FP32 with FP16 and bf16 "
    "matrix units, from mid-2017 on; interconnect is the signalling rate of one lane"
)


@dataclass(frozen=True)
class Series:
    """One kind of points, by date. unit is that of the values; an empty label: the figure has none there."""

    name: str
    unit: str
    dates: list[date] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def before(self, day: date) -> "Series":
        """The points before a day alone."""
        kept = [point for point in zip(self.dates, self.values, self.labels, strict=True) if point[0] < day]
        dates, values, labels = map(list, zip(*kept, strict=True))
        return Series(f"{self.name} before {day:%B %Y}", self.unit, dates, values, labels)


@dataclass(frozen=True)
class Trend:
    """A line through log10(value): growth per two years with its 95 % interval by Student's t, from `points` points."""

    rate: Interval
    points: int
    r_squared: float
    slope: float
    intercept: float

    def at(self, day: date) -> float:
        """The line's value on a day."""
        return float(10 ** (self.intercept + self.slope * years(day)))


@cache
def series() -> dict[str, Series]:
    """name -> points, in the order of the data."""
    found: dict[str, Series] = {}
    for row in csv_rows("bench.wall", "growth"):
        one = found.setdefault(row["series"], Series(row["series"], row["unit"]))
        one.dates.append(date.fromisoformat(row["date"]))
        one.values.append(float(row["value"]))
        one.labels.append(row["label"])
    return found


def years(day: date) -> float:
    """A date in Julian years, from the start of the calendar."""
    return day.toordinal() / 365.25


def trend(one: Series) -> Trend:
    """The least-squares line through log10(value). Raises ValueError for fewer than three points."""
    count = len(one.values)
    if count < 3:
        raise ValueError(f"{one.name}: {plural(count, 'point')} leave no error to tell an interval from")
    x, y = np.array([years(day) for day in one.dates]), np.log10(one.values)
    (slope, intercept), covariance = np.polyfit(x - x[0], y, 1, cov=True)
    intercept -= slope * x[0]
    reach = float(scipy.special.stdtrit(count - 2, (1 + CONFIDENCE) / 2) * math.sqrt(covariance[0, 0]))
    rate = Interval(*(float(10 ** (2 * of)) for of in (slope, slope - reach, slope + reach)))
    return Trend(rate, count, float(np.corrcoef(x, y)[0, 1] ** 2), float(slope), float(intercept))


def balance(days: Sequence[date]) -> list[float]:
    """FLOP/byte on each day, of the line of peak FLOPS over the line of DRAM bandwidth."""
    peak, memory = trend(series()["peak FLOPS"]), trend(series()["DRAM bandwidth"])
    return [peak.at(day) / memory.at(day) for day in days]


def fitted() -> list[tuple[Series, float | None]]:
    """The series whose growth is told, each with the paper's own figure; None: it gives none."""
    known = series()
    told: list[tuple[Series, float | None]] = [(known[name], printed) for name, printed in PRINTED.items()]
    return [*told[:1], (known["peak FLOPS"].before(MATRIX_UNITS), None), *told[1:]]


def growth_rows() -> list[dict[str, Any]]:
    """Growth per two years of every fitted() series, beside the printed one."""
    rows = []
    for one, printed in fitted():
        fit = trend(one)
        rows.append(
            {
                "series": one.name,
                "unit": one.unit,
                "points": fit.points,
                "from": min(one.dates).isoformat(),
                "to": max(one.dates).isoformat(),
                "per_two_years": fit.rate.as_dict(),
                "printed": printed,
                "r_squared": fit.r_squared,
            }
        )
    return rows
