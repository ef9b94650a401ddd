"""What a session ends with: the answer in words, one screen, the page beside the record; and a -k that leaves nothing.

Figures are of support.records: peak 100 GFLOP/s, memory 20 GB/s, so the ridge is at 5 FLOP/byte and 10 rows of f32.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import roofline
from bench.cli import console
from bench.measure.suite import nothing_of
from bench.record import store
from bench.record.intervals import geometric_mean_interval
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.report import roofline_plot
from bench.report.classes import classes, headline, members
from bench.report.labels import Labels, Place
from bench.report.plots import plt
from bench.report.screen import extremes, page, summary
from bench.report.words import answer
from support import records
from support.process import ROOT

RECORDS = ROOT / "tests" / "record"


def of_two_threads() -> Metrics:
    """Two threads have twice the peak and 1.1 times the bandwidth, and the kernels as much."""
    roofs = [
        records.fma(),
        records.read(),
        records.fma(2, (2 * records.PEAK,) * 9),
        records.read(2, (1.1 * records.READ,) * 9),
    ]
    kernels = [records.product(m, g, t) for m, *both in ((1, 9, 9.9), (64, 90, 180)) for t, g in enumerate(both, 1)]
    return records.of([*roofs, *kernels], machine={**records.MACHINE, "topology": {"logical_cpus": [0, 1]}})


def screen(metrics: Metrics, width: int = 100, rows: bool = False) -> list[str]:
    out = console()
    out.width = width
    with out.capture() as captured:
        out.print(summary(metrics, rows))
    return captured.get().splitlines()


# --- words


def test_where_the_wall_is() -> None:
    said = answer(records.make([]))
    assert said[0] == "This machine multiplies at 100 GFLOP/s (f32, avx2) and reads memory at 20 GB/s on 1 thread."
    assert said[1].startswith("It hits the memory wall at 5 FLOP/byte, its ridge")
    assert said[1].endswith("A matrix of f32 weights gets there with 10 rows of activations (m).")
    assert len(said) == 2


def test_what_kernels_reach_and_what_to_do() -> None:
    hot = records.product(1, 36, cold=[], level="L2")
    reads = records.read(level="L2", rates=(80e9,) * 9)
    rows = [records.product(m, g) for m, g in ((1, 9), (8, 60), (16, 90), (64, 92.5))]
    said = "\n".join(answer(records.make([reads, *rows, hot, records.product(1, 5) | {"backend": "blas"}])))
    assert "(m = 1) with cold weights (in no cache), reaches on 1 thread, in % of its roof" in said
    assert ": C 90, BLAS 50." in said  # 9 and 5 of 10 GFLOP/s
    assert "With 16 rows and more, as in encoders and prompts: C 91." in said  # the root of 0.9 x 0.925
    assert "Batch: 8 rows take 1.2x the time of one (C)" in said  # 8 x 9 / 60
    assert "memory-bound, so that time goes with bytes, in 1 of 1 row (C)" in said
    assert "with hot weights (from a cache) it takes 0.25x the time" in said  # 9 / 36
    assert "over one" not in said


def test_how_many_threads() -> None:
    said = "\n".join(answer(of_two_threads()))
    assert "at 200 GFLOP/s (f32, avx2) and reads memory at 22 GB/s on 2 threads; one thread at 100 and 20." in said
    assert "2 threads are, over one, 1.1x decoding and 2x from 16 rows on (C): use 2 threads." in said
    both = [records.product(1, 9), records.product(1, 9.1, 2), records.product(64, 50), records.product(64, 90, 2)]
    said = "\n".join(answer(records.of(both)))
    assert "1.01x decoding and 1.8x from 16 rows on (C): decoding use 1 thread, from 16 rows on use 2 threads." in said


def test_which_type() -> None:
    said = "\n".join(answer(records.make([records.product(1, 9), records.product(1, 4.5, types="f64")])))
    assert "f64 takes 2x the time of f32" in said


def test_doubt_comes_first() -> None:
    kernels = [records.product(1, 9)]
    assert answer(records.make(kernels, untrusted=["no roof"]))[0] == "Don't rely on this, trust is D: no roof."
    assert answer(store.load(RECORDS / "record-1.json"))[0].startswith(
        "Trust has no grade: nothing was measured in two"
    )
    slower = [{**records.product(1, 9), "seconds": [2e6 / 9e9 * (1 + 0.15 * v) for v in records.VISITS]}]
    moved = records.of(slower)
    assert moved.trust["grade"] == "C"
    assert answer(moved)[0] == "Read this with care, trust is C: figures differ by 13 %."
    assert answer(records.make(kernels))[0].startswith("This machine")


def test_neither() -> None:
    said = answer(records.make([records.product(1, 9), records.product(64, 30)]))
    assert said[-1] == "1 of 2 rows come near neither limit (wholly below half of their roof)."


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], []),
        ([records.fma()], ["This machine multiplies at 100 GFLOP/s (f32, avx2) on 1 thread."]),
        ([records.read()], ["This machine reads memory at 20 GB/s on 1 thread."]),
        (
            [records.sampled("probe", "triad", "f64", 1, {"n": 10**6}, [1e-3] * 9, records.STARTS)],
            ["STREAM counts, at best, triad 24 GB/s."],
        ),
    ],
    ids=["nothing", "peak", "read", "triad"],
)
def test_what_is_not_known_is_not_said(rows: list[Row], words: list[str]) -> None:
    assert answer(records.of(rows))[-len(words) or 9 :] == words


# --- classes, screen, page


def test_means_over_visits() -> None:
    """Rows that move together from visit to visit don't average it out; those that move apart do."""
    together = geometric_mean_interval([1.0, 1.0], [{0: 0.9, 1: 1.0, 2: 1.1}] * 2)
    apart = geometric_mean_interval([1.0, 4.0], [{0: 0.9, 1: 1.0, 2: 1.1}, {0: 4 / 0.9, 1: 4.0, 2: 4 / 1.1}])
    assert together.value == pytest.approx(1) and together.low < 0.9 < 1.1 < together.high
    assert (apart.value, apart.low, apart.high) == pytest.approx((2, 2, 2))
    assert geometric_mean_interval([2.0], [{}]).high == 2


def test_classes_and_extremes() -> None:
    rates = ((1, 9.1), (2, 15), (8, 60), (16, 90), (64, 92), (128, 20), (256, 95))
    found = members(records.make([records.product(m, g) for m, g in rates]))
    assert [(c.name, len(c.rows)) for c in classes(found)] == [
        ("cold m = 1", 1),
        ("cold m 2-15", 2),
        ("cold m >= 16", 4),
    ]
    assert classes(found)[2].verdicts == {"compute-bound": 3, "neither": 1}
    assert [m.row["dims"].get("m", 1) for m in extremes(found)] == [256, 64, 1, 2, 8, 128]


def test_headline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of most threads, in the units that tables have; the JSON of bench.roofline has them, and the classes."""
    metrics = of_two_threads()
    short = headline(metrics)
    assert short and short.type == ("f32", "avx2")
    store.save(metrics.record, tmp_path / "r.json")
    assert roofline.main(["--json", str(tmp_path / "r.json"), "--picture", str(tmp_path / "p")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["headlines"] == [short.as_dict()]
    found = {
        name: value["value"] for name, value in short.as_dict().items() if name in ("peak", "read_bandwidth", "ridge")
    }
    assert found == pytest.approx({"peak": 200, "read_bandwidth": 22, "ridge": 200 / 22})
    assert short.threads == 2 and short.percent["c"].value == pytest.approx(90)
    assert [(one["class"], one["threads"]) for one in document["classes"][0]] == [
        ("cold m = 1", "one"),
        ("cold m = 1", "all"),
        ("cold m >= 16", "one"),
        ("cold m >= 16", "all"),
    ]
    assert document["classes"][0][0]["verdicts"] == {"memory-bound": 1}
    assert headline(records.of([])) is None


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("rows", [False, True])
def test_no_line_is_wider_than_the_screen(width: int, rows: bool) -> None:
    lines = screen(of_two_threads(), width, rows)
    assert max(len(line.rstrip()) for line in lines) <= width
    if not rows:
        assert len(lines) <= 45
        assert not [line for line in lines if "…" in line]


def test_all_rows_are_behind_a_switch() -> None:
    metrics = records.make([records.product(m, 9 * m**0.5) for m in range(1, 30)])
    assert len(screen(metrics, rows=True)) > len(screen(metrics)) + 25


def test_screen_of_odd_records() -> None:
    names = ("record-1.json", "record-2.json", "../../docs/ladder.json")
    odd = [store.load(RECORDS / name) for name in names]
    for metrics in (*odd, records.of([]), records.of([records.read(level="L2")]), records.of([records.product(1, 9)])):
        assert screen(metrics)
        assert page(metrics).startswith("# ")


def test_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = {**records.MACHINE, "id": "a|b<script>"}
    metrics = records.of([records.fma(), records.read(), records.product(1, 9)], machine=machine)  # type: ignore[arg-type]
    store.save(metrics.record, tmp_path / "r.json")
    assert roofline.main([str(tmp_path / "r.json"), "--picture", str(tmp_path / "a.b")]) == 0
    text = (tmp_path / "a.b.md").read_text()
    assert f"page: {tmp_path / 'a.b.md'}" in capsys.readouterr().out
    assert "![Roofline](a.b.png)" in text and (tmp_path / "a.b.png").exists()
    assert all(f"- {line}" in text for line in answer(metrics))
    assert "| gemv_t f32 c/avx2 |" in text
    assert not re.search(r"(?<!\\)<script", text)


# --- the picture


def test_labels_take_the_first_free_place() -> None:
    figure, axes = plt.subplots()
    axes.set(xscale="log", yscale="log", xlim=(1, 100), ylim=(1, 100))
    figure.draw_without_rendering()
    labels = Labels(axes)
    places = [Place((x, 10), (0, 0), "center", "center") for x in (10, 3, 30)]
    labels.avoid([(10, 10)])
    for text in ("a", "b"):
        labels.put(text, places, 9, "black")
    labels.put("outside or hidden", [Place((1, 1), (0, 0), "right", "top"), places[0]], 9, "black")
    labels.put("nowhere", [], 9, "black")
    assert [(made.get_text(), made.xy[0]) for made in axes.texts] == [("a", 3), ("b", 30), ("outside or hidden", 10)]
    plt.close(figure)


@pytest.mark.parametrize(
    "kernels", [[], [records.product(1, 9)], [records.product(64, 250)]], ids=["none", "one", "above"]
)
def test_picture_says_how_far_it_can_be_relied_on(kernels: list[Row], tmp_path: Path) -> None:
    metrics = records.make(kernels, untrusted=["no roof: " + "why " * 99])
    _, svg = roofline_plot.roofline([metrics] * 3, tmp_path / "r")
    text = svg.read_text()
    assert f"Made Up (00000000), {metrics.record['ended'][:10]}, trust D" in text
    assert "no roof" in text and "why " * 60 not in text


def test_picture_has_the_roof_of_every_type(tmp_path: Path) -> None:
    """Those of integers in the panel of what they are summed in, and what a label says as a comment in the SVG."""
    rows = [records.fma(), records.dot("i8", 160e9), records.dot("i4g32", 300e9), records.read()]
    _, svg = roofline_plot.roofline([records.of(rows)], tmp_path / "r")
    text = svg.read_text()
    for label in ("FMA peak f32 avx2: 100 GFLOP/s", "peak i8 avx2: 160 GOP/s", "peak i4g32 avx2: 300 GOP/s"):
        assert text.count(f"<!-- {label} -->") == 1
    assert text.count("<!-- f32, 1 thread -->") == 1 and "<!-- i8, 1 thread -->" not in text


# --- -k


def test_layers_of_a_sweep() -> None:
    said = nothing_of("LM_head", "quick")
    assert said.startswith("the sweep quick has no such layer, only ")
    assert "ffn_up" in said and said.endswith("; --sweep default and full have it")
    assert "--sweep" not in nothing_of("no such", "default")


def test_nothing_is_left(tmp_path: Path) -> None:
    def collected(keyword: str) -> Any:
        options = [
            "--collect-only",
            "-q",
            "--sweep",
            "quick",
            "--threads",
            "1",
            "-p",
            "no:cacheprovider",
            "-k",
            keyword,
        ]
        return subprocess.run(
            [sys.executable, "-m", "pytest", "bench/", *options], cwd=ROOT, capture_output=True, text=True
        )

    done = collected("lm_head")
    assert done.returncode == 4
    assert [line for line in done.stderr.splitlines() if line.startswith("ERROR")] == [
        f"ERROR: -k lm_head: {nothing_of('lm_head', 'quick')}"
    ]
