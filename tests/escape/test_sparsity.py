"""Sparsity: figures of a made-up record, where curves cross 1, what the tables say, and the picture."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.escape.sparsity import figures, plot, tables
from bench.escape.sparsity.figures import Curve, Point
from bench.record import store
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.row import Row
from support import records

N = K = 1024


def row(operation: str, percent: int, seconds: float, **other: Any) -> Row:
    dims = {"n": N, "k": K} | ({} if operation == "gemv" else {"nnz": N * K * percent // 100})
    fields = {"cold": ["w"], "layers": [f"density {percent} %"]} | other
    starts = [start + 0.2 for start in records.STARTS]
    return records.sampled("kernel", operation, "f32", 1, dims, [seconds] * 9, starts, **fields)


def swept() -> Metrics:
    """Dense weights take 1 ms; the bitmap 0.25, 0.5 and 2 ms at 10, 20 and 60 % density."""
    found = []
    for percent, seconds in ((10, 0.25e-3), (20, 0.5e-3), (60, 2e-3)):
        found += [row("gemv", percent, 1e-3), row("gemv_bitmap", percent, seconds)]
    return records.make([*found, row("gemv_bitmap", 40, 1e-3)])  # without dense weights beside it: left out


def curve(*points: tuple[float, float, float, float]) -> Curve:
    """Density, and the speedup with its interval."""
    of = [Point(density, N, K, 1, 2.0 - density, Interval(value, low, high)) for density, value, low, high in points]
    return Curve("bitmap f32", "c", 1, tuple(of))


def test_figures() -> None:
    (found,) = figures.entries(swept())
    assert (found.format, found.backend, found.threads) == ("bitmap f32", "c", 1)
    assert [round(p.density, 3) for p in found.points] == [0.1, 0.2, 0.6]
    assert [p.speedup.value for p in found.points] == pytest.approx([4, 2, 0.5])
    at_20 = found.points[1]
    assert at_20.bytes == N * K // 8 + 4 * (N * K * 20 // 100)
    assert at_20.ceiling == pytest.approx(4 / (1 / 8 + 0.8), rel=1e-5)
    assert at_20.of_ceiling.value == pytest.approx(100 * 2 * 0.925 / 4, rel=1e-5)
    assert found.crossover is not None and found.crossover.value == pytest.approx(0.2 + 0.4 * (2 - 1) / 1.5, rel=1e-3)
    assert figures.entries(records.make([])) == []


def test_its_record_is_read_again(tmp_path: Path) -> None:
    store.save(swept().record, tmp_path / "r.json")
    assert figures.entries(store.load(tmp_path / "r.json")) == figures.entries(swept())


def test_crossover_is_an_interval() -> None:
    """Linear between densities, and where the limits of the speedups cross 1; one that does not: the last density."""
    crossing = curve((0.1, 2, 1.5, 3), (0.3, 1, 0.5, 2), (0.5, 0.5, 0.4, 1.5)).crossover
    assert crossing is not None
    assert (crossing.value, crossing.low, crossing.high) == pytest.approx((0.3, 0.2, 0.5))
    wavering = curve((0.1, 0.9, 0.8, 0.95), (0.2, 1.5, 1.4, 1.6), (0.4, 0.5, 0.4, 0.6)).crossover
    assert wavering is not None and wavering.value == pytest.approx(0.3)
    assert curve((0.1, 2, 1.5, 3), (0.3, 1.5, 1.2, 2)).crossover is None
    assert curve((0.1, 0.9, 0.8, 0.95)).crossover is None
    assert curve((0.5, 2, 2, 2), (1.5, 2, 2, 2)).at_ceiling == pytest.approx(1.0)


def test_tables() -> None:
    metrics = swept()
    found = figures.entries(metrics)
    console = Console(width=200, record=True, file=StringIO())
    console.print(*tables.show(metrics, found))
    text = console.export_text()
    assert tables.TITLE in text and "bitmap f32" in text
    page = "\n".join(tables.page(metrics, found))
    assert "47 [47, 47]" in page
    assert "2.00 [-]x, 46 %" in page


def test_a_curve_that_never_crosses_says_so() -> None:
    metrics = swept()
    always, never = curve((0.1, 2, 2, 2), (0.3, 1.5, 1, 2)), curve((0.1, 0.9, 0.8, 1), (0.3, 0.5, 0.4, 1))
    page = "\n".join(tables.page(metrics, [always, never]))
    assert "faster at all" in page and "faster at none" in page


def test_picture(tmp_path: Path) -> None:
    metrics = swept()
    paths = plot.draw(metrics, figures.entries(metrics), tmp_path / "made")
    assert sorted(path.name for path in paths) == ["made-sparsity.png", "made-sparsity.svg"]
    assert all(path.stat().st_size > 1000 for path in paths)
