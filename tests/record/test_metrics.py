"""Figures of rows that can be worked out by hand, and what is said of a session."""

from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.row import make_row
from support import records
from support.records import OFTEN, PEAK, READ, product


@pytest.fixture
def good() -> Metrics:
    return records.make([product(1, 9), product(10, 60), product(64, 80)])


def test_ceilings(good: Metrics) -> None:
    roofs = good.roofs[1]
    peak, read, ridge = roofs.peaks["f32", "avx2"], roofs.bandwidths["DRAM"], roofs.ridges["f32", "avx2"]
    assert [peak.value, peak.low, peak.high] == pytest.approx([PEAK] * 3)
    assert [read.value, read.low, read.high] == pytest.approx([READ, OFTEN, READ])
    assert [ridge.value, ridge.low, ridge.high] == pytest.approx([5, 5, PEAK / OFTEN])


@pytest.mark.parametrize(
    ("m", "gflops", "gbps", "intensity", "roof", "verdict"),
    [
        (1, 9, 18, 0.5, 10, "memory-bound"),
        (10, 60, 12, 5, 100, "undecided"),
        (64, 80, 2.5, 32, 100, "compute-bound"),
    ],
)
def test_kernel_figures(m: int, gflops: float, gbps: float, intensity: float, roof: float, verdict: str) -> None:
    (figures,) = records.make([product(m, gflops)]).row_figures[2:]
    assert figures["gflops"]["value"] == pytest.approx(gflops)
    assert figures["gbps"]["value"] == pytest.approx(gbps)  # of the cold weights alone: x and y stay in cache
    assert (figures["intensity"], figures["verdict"]) == (pytest.approx(intensity), verdict)
    assert figures["roof_gflops"] == pytest.approx(roof)
    assert figures["percent_of_roof"] == pytest.approx(100 * gflops / roof)
    assert "error" not in figures


def test_hot_rows_count_every_operand_and_stand_under_their_cache() -> None:
    l2 = records.read() | {"level": "L2", "seconds": [8e6 / 80e9] * 10}
    hot = product(10, 60, cold=[], level="L2")
    figures = records.make([l2, hot]).row_figures[-1]
    moved = 4 * (10 * 1000 + 1000 * 1000 + 10 * 1000)
    assert figures["intensity"] == pytest.approx(2e7 / moved)
    assert (figures["roof_gflops"], figures["verdict"]) == (pytest.approx(100), "compute-bound")  # ridge 1.25


def test_write_allocate_is_counted_beside_streams_bytes() -> None:
    def gbps(operation: str) -> list[float]:
        read = records.read()
        samples = {name: read[name] for name in ("dims", "seconds", "rounds", "starts")}
        figures = records.make([make_row("probe", operation, "f64", "c", "avx2", 1, **samples)]).row_figures[-1]
        return [figures[name] if name == "best_gbps" else figures[name]["value"] for name in NAMES]

    NAMES = ("best_gbps", "gbps", "gbps_write_allocate")
    best, median = READ / 1e9, OFTEN / 1e9
    assert gbps("read") == pytest.approx([best, median, median])
    assert gbps("update") == pytest.approx([2 * best, 2 * median, 2 * median])
    assert gbps("copy") == pytest.approx([2 * best, 2 * median, 3 * median])
    assert gbps("copy_nt") == pytest.approx([2 * best, 2 * median, 2 * median])
    assert gbps("triad") == pytest.approx([3 * best, 3 * median, 4 * median])
    assert gbps("triad_nt") == pytest.approx([3 * best, 3 * median, 3 * median])


def test_row_of_another_thread_count_has_no_roof() -> None:
    figures = records.make([product(1, 9, threads=2)]).row_figures[-1]
    assert (figures["verdict"], "percent_of_roof" in figures) == ("undecided", False)


@pytest.mark.parametrize(("m", "gflops", "cause"), [(1, 15, "weights were still in a cache"), (64, 120, "clock")])
def test_row_above_its_roof(m: int, gflops: float, cause: str, tmp_path: Path, capsys: Any) -> None:
    metrics = records.make([product(m, gflops)])
    assert cause in metrics.row_figures[2]["error"]
    assert metrics.trust == {"grade": "D", "reasons": ["1 rows lie above their roof"]}
    store.save(metrics.record, tmp_path / "r.json")
    assert check.main([str(tmp_path / "r.json")]) == 1
    assert "above its roof" in capsys.readouterr().out


def test_trust(good: Metrics) -> None:
    def grade(**session: Any) -> str:
        return records.make([], **session).trust["grade"]

    assert good.trust == {"grade": "A", "reasons": []}
    assert [grade(remarks=["x"]), grade(remarks=["x", "y"]), grade(untrusted=["z"])] == ["B", "C", "D"]
    pings = [{"round": r, "cpus": [0, 1], "seconds": s} for r, s in ((0, 30e-9), (9, 60e-9))]
    assert grade(pings=pings) == "B"
    slower = [records.fma(), records.read() | {"seconds": [4e-4] * 5 + [5e-4] * 5}]
    assert records.of(slower).trust["reasons"] == ["read DRAM, 1 threads: moved by -20 % within the session"]
