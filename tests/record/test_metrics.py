"""Figures of rows that can be worked out by hand, and what is said of a session."""

from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.record import store
from bench.record.metrics import Metrics
from bench.record.placement import judged
from bench.record.roofs import Series, over
from bench.record.row import Row, make_row
from bench.report.text import trust_text
from support import records
from support.records import PEAK, READ, product


@pytest.fixture
def good() -> Metrics:
    return records.make([product(1, 9), product(10, 60), product(64, 80)])


def test_ceilings(good: Metrics) -> None:
    roofs = good.roofs[1]
    peak, read, ridge = roofs.peaks["f32", "avx2"], roofs.bandwidths["DRAM"], roofs.ridges["f32", "avx2"]
    assert [peak.value, read.value, ridge.value] == pytest.approx([PEAK, READ, 5])
    assert ridge.low == pytest.approx(ridge.high)


def test_the_ridge_is_of_rounds_and_not_of_extremes() -> None:
    """Half of the rounds with everything at half speed: both roofs range over 2x, their quotient in a round doesn't."""
    slow = [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]
    rows = [records.fma(rates=[PEAK * f for f in slow]), records.read(rates=[READ * f for f in slow])]
    roofs = records.of(rows).roofs[1]
    assert roofs.ridges["f32", "avx2"].as_dict() == pytest.approx({"value": 5, "low": 5, "high": 5})
    assert roofs.best_peaks["f32", "avx2"] == pytest.approx(PEAK)


def linear(operation: str, element: str, gflops: float) -> Row:
    """Eight rows times weights of 1024 x 1024."""
    dims = {"m": 8, "n": 1024, "k": 1024}
    starts = [s + 0.2 for s in records.STARTS]
    seconds = [2 * 8 * 2**20 / (gflops * 1e9) * (1 + 0.001 * (i % 3 - 1)) for i in records.ROUNDS]
    return records.sampled("kernel", operation, {"w": element}, 1, dims, seconds, starts, cold=["w"])


@pytest.mark.parametrize(
    ("operation", "element", "gflops", "percent"),
    [  # 20 GB/s: 8 rows of i8 have 16 FLOP/byte, of i4g32 28
        ("linear_a8", "i8", 120.0, 75.0),
        ("linear_a8", "i8g32", 120.0, 75.0),
        ("linear_a8", "i4g32", 150.0, 50.0),
        ("linear_a8", "u4g128", 150.0, 50.0),
        ("linear", "i8", 75.0, 75.0),  # widened: as f32
        ("linear", "bf16", 75.0, 75.0),
        ("linear_a16", "bf16", 100.0, 80.0),
    ],
)
def test_rounded_activations_are_held_against_their_own_peak(
    operation: str, element: str, gflops: float, percent: float
) -> None:
    peaks = [records.fma(), records.dot("i8", 160e9), records.dot("i4g32", 300e9), records.dot("bf16", 125e9)]
    metrics = records.of([*peaks, records.read(), linear(operation, element, gflops)])
    figures = metrics.row_figures[-1]
    assert figures["percent_of_roof"]["value"] == pytest.approx(percent, rel=1e-3)
    assert (figures["verdict"], metrics.stand_ins) == ("compute-bound", [])
    assert {type_ for type_, _ in metrics.roofs[1].ridges} == {"f32", "i8", "i4g32", "bf16"}


def test_without_a_peak_of_its_own_integers_are_held_against_f32s_and_that_is_said() -> None:
    metrics = records.of([records.fma(), records.read(), linear("linear_a8", "i4g128", 75)])
    assert metrics.row_figures[-1]["percent_of_roof"]["value"] == pytest.approx(75, rel=1e-3)
    assert metrics.stand_ins == ["i4g32: its peak was not measured, f32's stands in"]
    assert metrics.stand_ins[0] in trust_text(metrics).plain


def test_percent_of_roof_is_of_the_same_rounds() -> None:
    """A kernel at 90 % of whatever memory delivers in its round."""
    rates = [READ * f for f in (1.0, 0.4, 0.7, 1.0, 0.3, 0.9, 0.5, 0.6, 1.0)]
    kernel = product(1, 9) | {"seconds": [4e6 / (0.9 * rate) for rate in rates]}
    figures = records.of([records.fma(), records.read(rates=rates), kernel]).row_figures[-1]
    assert figures["percent_of_roof"] == pytest.approx({"value": 90, "low": 90, "high": 90}, rel=1e-5)
    assert figures["grade"] == "A"


def test_preempted_samples_are_left_out_where_enough_others_are_left() -> None:
    slow = product(1, 9)
    for i in (3, 4, 5):  # a whole visit
        slow["seconds"][i] *= 5
    marked = slow | {"marks": {"preempted": [3, 4, 5]}}
    lost = slow | {"marks": {"preempted": [0, 1, 2, 3, 4, 6, 7]}}
    of_slow, of_marked, of_lost = records.make([slow, marked, lost]).row_figures[2:]
    assert [of_slow["grade"], of_marked["grade"], of_lost["grade"]] == ["D", "A", "D"]
    assert of_marked["seconds"]["high"] < of_slow["seconds"]["high"] == of_lost["seconds"]["high"]


def test_a_roof_that_lost_its_cpu_is_taken_from_the_next_round() -> None:
    """A read probe that was preempted in a third of the rounds; the kernel wasn't."""
    rates = [READ if i % 3 else READ / 8 for i in range(9)]
    read = records.read(rates=rates) | {"marks": {"preempted": [0, 3, 6]}}
    figures = records.of([records.fma(), read, product(1, 9, spread=0)]).row_figures[-1]
    assert figures["percent_of_roof"] == pytest.approx({"value": 90, "low": 90, "high": 90})


@pytest.mark.parametrize(("percent", "verdict"), [(13, "neither"), (90, "memory-bound")])
def test_a_kernel_far_from_its_roof_is_bound_by_neither(percent: float, verdict: str) -> None:
    figures = records.make([product(1, 10 * percent / 100)]).row_figures[-1]
    assert figures["verdict"] == verdict


@pytest.mark.parametrize(
    ("m", "gflops", "gbps", "intensity", "roof", "verdict"),
    [
        (1, 9, 18, 0.5, 10, "memory-bound"),
        (10, 60, 12, 5, 100, "undecided"),  # on the ridge
        (64, 80, 2.5, 32, 100, "compute-bound"),
    ],
)
def test_kernel_figures(m: int, gflops: float, gbps: float, intensity: float, roof: float, verdict: str) -> None:
    (figures,) = records.make([product(m, gflops)]).row_figures[2:]
    assert figures["gflops"]["value"] == pytest.approx(gflops, rel=1e-5)
    assert figures["gbps"]["value"] == pytest.approx(gbps, rel=1e-5)  # of the cold weights alone: x and y stay in cache
    assert (figures["intensity"], figures["verdict"]) == (pytest.approx(intensity), verdict)
    assert figures["roof_gflops"] == pytest.approx(roof)
    assert figures["percent_of_roof"]["value"] == pytest.approx(100 * gflops / roof, rel=1e-3)
    assert "error" not in figures


def test_hot_rows_count_every_operand_and_stand_under_their_cache() -> None:
    l2 = records.read(rates=[80e9] * 9, level="L2")
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
    best = median = READ / 1e9
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
    assert metrics.row_figures[2]["grade"] == metrics.trust["grade"] == "D"
    assert metrics.trust["reasons"][0].startswith("100.0 % of the rows lie above their roof")
    store.save(metrics.record, tmp_path / "r.json")
    assert check.main([str(tmp_path / "r.json")]) == 1
    assert "above its roof" in capsys.readouterr().out


def test_a_row_above_its_roof_among_many_is_no_reason() -> None:
    metrics = records.make([product(1, 15), *(product(m, 9) for m in range(64, 128))])
    assert (metrics.row_figures[2]["grade"], metrics.trust["grade"]) == ("D", "A")


@pytest.mark.parametrize(("moved", "grade"), [(0.0, "A"), (0.08, "A"), (0.15, "B"), (0.40, "C"), (0.80, "D")])
def test_trust_goes_by_how_far_visits_differ(moved: float, grade: str) -> None:
    """A roof moved by 15 % differs by 7 % from its middle."""
    rates = [READ] * 3 + [READ * (1 + moved)] * 6
    trust = records.of([records.fma(), records.read(rates=rates)]).trust
    assert (trust["grade"], trust["effect"]) == (grade, pytest.approx(moved / (2 + moved), rel=1e-4))
    assert [f"read DRAM on 1 thread moved by {100 * moved:.0f} %" in reason for reason in trust["reasons"]] == (
        [] if grade == "A" else [True, False]
    )


@pytest.mark.parametrize(("above", "grade"), [(0.02, "A"), (0.15, "B"), (0.23, "C"), (1.0, "D")])
def test_of_probes_alone_best_samples_are_told_and_have_to_be_near_the_median(above: float, grade: str) -> None:
    """Two thirds of the samples of every visit are held up: no visit differs from another."""
    rates = [PEAK, PEAK / (1 + above), PEAK / (1 + above)] * 3
    rows = [records.fma(rates=rates), records.read()]
    trust = records.of(rows).trust
    assert (trust["grade"], trust["effect"]) == (grade, pytest.approx(above / (2 + above), rel=1e-4))
    words = f"FMA peak f32 avx2 on 1 thread: the best is {100 * above:.0f} % above the median"
    assert [reason.startswith(words) for reason in trust["reasons"]] == ([] if grade == "A" else [True, False])
    assert records.of([*rows, product(1, 9)]).trust["grade"] == "A", "a kernel is held against medians"


def test_half_of_the_other_probes_count_as_well() -> None:
    """bench.stream tells the best of every loop."""
    held_up = records.read(rates=[READ, 0.8 * READ, 0.8 * READ] * 3)
    fields = {name: held_up[name] for name in ("dims", "seconds", "rounds", "starts", "visits")}
    slow = [make_row("probe", name, "f64", "c", "avx2", 1, dims={"n": 10**6}) | fields for name in ("copy", "add")]
    trust = records.of([records.read(), *slow]).trust
    assert trust["grade"] == "C" and trust["reasons"][0].startswith("half of the rows: the best is 25 % above")


def test_rates_that_share_no_visit_have_a_quotient() -> None:
    """All samples of a visit may be preempted, in one row those of the first and in another those of the last."""
    first = records.read() | {"marks": {"preempted": [0, 1, 2, 3, 4, 5]}}
    last = records.read(rates=[READ / 2] * 9) | {"marks": {"preempted": [3, 4, 5, 6, 7, 8]}}
    assert over(Series.of(first), Series.of(last)).value == pytest.approx(2)


def test_trust_by_rows() -> None:
    kernels = [product(1, 9) | {"seconds": [4e-4] * 3 + [5e-4] * 6} for _ in range(3)]
    trust = records.make(kernels).trust
    assert (trust["grade"], trust["reasons"][0][:16]) == ("C", "half of the rows")


def test_what_is_not_believed_is_d_and_what_was_measured_once_has_no_grade() -> None:
    assert records.make([], untrusted=["the sizes disagree"]).trust["grade"] == "D"
    once = [row | {"visits": [0] * 9} for row in (records.fma(), records.read())]
    assert records.of(once).trust | {"reasons": []} == {"grade": None, "effect": None, "reasons": []}


def test_causes_are_named_where_the_figures_moved() -> None:
    """Not where they held: what others did then did no harm."""
    busy = {"round": 0, "clock_hertz": 3e9, "wall_seconds": 1.0, "steal_share": 0.0, "other_share": 0.5}
    busy |= {"throttled_seconds": 0.0, "throttled_periods": 0, "involuntary_switches": 0}
    pair = {"round": 0, "cpus": [0, 1], "seconds": 5e-8, "fma_together": 1.0, "read_together": 1.0, "found": "apart"}
    around = {"conditions": [busy], "placements": [pair, pair | {"round": 9, "found": "one core"}]}
    moved = records.read(rates=[READ] * 3 + [1.5 * READ] * 6)
    assert records.make([], **around).trust["reasons"] == []
    reasons = records.of([records.fma(), moved], **around).trust["reasons"]
    assert len(reasons) == 3
    assert all(word in reason for word, reason in zip(("moved by", "50 %", "one core"), reasons, strict=True))


@pytest.mark.parametrize(
    ("throttled", "cpus", "grade"),
    [
        (0.9, 1, "D"),
        (0.12, 1, "C"),
        (0.07, 1, "B"),
        (0.03, 1, "A"),
        (0.0, 1, "A"),
        (7.2, 8, "D"),
        (0.56, 8, "B"),
        (9.0, 1, "D"),
    ],
)
def test_throttling_is_an_effect_even_where_figures_agree(throttled: float, cpus: int, grade: str) -> None:
    """Each visit stands still for as long: none of them differs, and all of them are too slow."""
    second = {"round": 0, "clock_hertz": 3e9, "wall_seconds": 1.0, "steal_share": 0.0, "other_share": 0.0}
    second |= {"throttled_seconds": throttled, "throttled_periods": 9, "involuntary_switches": 0}
    around = {"conditions": [second], "cpus": {str(n): list(range(n)) for n in {1, cpus}}}
    trust = records.make([], **around).trust
    assert trust["grade"] == grade
    assert [
        f"throttled for {100 * min(1, throttled / cpus):.2g} % of the time" in text for text in trust["reasons"]
    ] == ([] if grade == "A" else [True])


@pytest.mark.parametrize(
    ("fma", "read", "nanoseconds", "found"),
    [
        (0.51, 0.60, 116, "one core"),  # whatever the distance says
        (0.72, 0.78, 65, "one core"),
        (1.00, 0.55, 450, "one L3"),
        (0.95, 0.79, 105, "one L3"),
        (0.95, 0.84, 450, "apart"),
        (0.95, 0.92, 105, "apart"),
        (0.95, None, 105, "one L3"),
        (None, None, 30, "one core"),
        (None, None, None, "unknown"),
    ],
)
def test_what_two_cpus_share(fma: float | None, read: float | None, nanoseconds: int | None, found: str) -> None:
    pair = {"fma_together": fma, "read_together": read, "seconds": nanoseconds and nanoseconds * 1e-9}
    assert judged(pair) == found
