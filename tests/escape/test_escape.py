"""The ways through the wall: what stops a kernel, figures of a made-up record, and the command from end to end."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.escape.__main__ import SECTIONS, main, page
from bench.escape.chip import figures as chip
from bench.escape.decode import figures as decode
from bench.escape.layers import figures as layers
from bench.escape.layers.errors import relative_error
from bench.escape.layers.limits import limited_by
from bench.escape.layers.summary import summaries
from bench.host.placement import pinned
from bench.measure.probes import fma_probe, walking
from bench.measure.session import Session
from bench.record import store
from bench.record.demands.session import _physical
from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.record.runs.run import Run
from support import records, runs

N = K = 1024
HALF, FOUR = {"w": "bf16"}, {"w": "i4g32"}
"""Types of weights: 2 bytes each, and 9/16 of a byte."""


def product(operation: str, types: Any, gbps: float, threads: int = 1, *, n: int = N, **other: Any) -> Row:
    """One row of activations times weights of n x 1024, so many GB/s of them as they are stored."""
    each = 2 if types is HALF else 9 / 16 if types is FOUR else 4
    dims = {"n": n, "k": K} | ({"m": 1} if operation.startswith("linear") else {})
    fields = {"cold": ["w"], "layers": ["GPT-2 o"]} | other
    starts = [s + 0.2 for s in records.STARTS]
    return records.sampled("kernel", operation, types, threads, dims, [n * K * each / gbps / 1e9] * 9, starts, **fields)


def hot(operation: str, types: Any, gbps: float) -> Row:
    return product(operation, types, gbps, layers=[layers.HOT], level="L2", cold=[], n=64)


def decoded() -> list[Run]:
    """A model that takes a second in f32, and half of it with four bits per weight."""
    stored = {"types": {"weights": "i4g32", "activations": "f32"}, "linear": "linear_a8"}
    return [
        runs.inference(runs.GPT2, "decode", 16),
        runs.inference(runs.GPT2, "decode", 16, (0.5,) * 9, **stored),
    ]


def whole() -> Metrics:
    """Memory gives 20 GB/s, the peak is 100 GFLOP/s. f32 and bf16 meet the roof, four bits the decoder."""
    return records.make(
        [
            product("gemv_t", "f32", 20.0),
            product("linear", HALF, 19.0),
            product("linear_a8", FOUR, 12.0),
            hot("linear", HALF, 60.0),
            hot("linear_a8", FOUR, 12.5),
            records.dot("i4g32", 300e9),
        ]
    )


def curve() -> Metrics:
    """In L1 1e9 weights take a tenth of the time that they take from memory."""
    sizes: list[tuple[str, int, float]] = [("L1", 8, 200.0), ("L2", 64, 80.0), ("DRAM", 2048, 20.0)]
    rows = [
        product("gemv", "f32", gbps, n=n, layers=[chip.SET], level=level, cold=[]) for level, n, gbps in reversed(sizes)
    ]
    rows += [product("linear_a8", FOUR, 9.0, n=n, layers=[chip.SET], level=level, cold=[]) for level, n, _ in sizes]
    return records.make(rows)


def keys_of(row: dict[str, Any]) -> bool:
    """Whether it has what every row of --json has."""
    keys = {"type", "backend", "threads", "layer", "byte_ratio", "speedup", "percent_of_read_roof", "limited_by"}
    return keys <= row.keys()


@pytest.mark.parametrize(
    "cold, roof, hot_, of_peak, limit",
    [
        (19, 20, 60, 0.3, "bandwidth"),
        (19, 20, 60, 0.9, "bandwidth"),
        (12, 20, 12.5, 0.2, "unpacking"),
        (12, 20, 12.5, 0.6, "issue"),
        (10, 20, 21, 0.2, "latency"),
        (8, 20, 12.5, 0.6, "latency"),
        (12, 20, 12.5, None, "instructions"),
    ],
)
def test_what_stops_a_kernel(cold: float, roof: float, hot_: float, of_peak: float | None, limit: str) -> None:
    assert limited_by(cold, roof, hot_, of_peak) == limit


def test_figures() -> None:
    half, four = layers.entries(whole())
    assert (half.type, half.activations, half.packed) == ("bf16", "f32", True)
    assert (four.type, four.activations, four.packed) == ("i4g32", "8", True)
    assert (half.byte_ratio, four.byte_ratio) == pytest.approx((2, 64 / 9))
    assert (half.speedup.value, four.speedup.value) == pytest.approx((1.9, 0.6 * 64 / 9))
    assert (half.achieved, four.achieved) == pytest.approx((0.95, 0.6))
    assert half.percent_of_read_roof and half.percent_of_read_roof.value == pytest.approx(95)
    assert (half.limited_by, four.limited_by) == ("bandwidth", "unpacking")
    assert (half.saturating, four.saturating) == pytest.approx((1 / 3, 1.6), rel=1e-3)
    assert four.of_peak == pytest.approx(2 * 12.5e9 * 16 / 9 / 300e9, rel=1e-3)
    assert not half.claim and "INT4" in four.claim


def test_integers_at_their_own_peak_are_limited_by_issue() -> None:
    """Hot, 18 GB/s of 4 bits are 64 GOP/s: most of a peak that was measured; without it nothing tells which it is."""
    rows = [product("gemv_t", "f32", 20.0), product("linear_a8", FOUR, 16.0), hot("linear_a8", FOUR, 18.0)]
    (before,), (way,) = (layers.entries(records.make([*rows, *more])) for more in ([], [records.dot("i4g32", 80e9)]))
    assert before.of_peak is None
    assert way.of_peak == pytest.approx(2 * 18 * 16 / 9 / 80, rel=1e-3)
    assert (before.limited_by, way.limited_by) == ("instructions", "issue")


def test_what_was_not_measured_is_not_told() -> None:
    """Without a hot row nothing is said to stop a kernel; without f32 beside it, it has no speedup; nor has f32."""
    f32, half, four, *hottest = whole().rows[2:7]
    assert [way.limited_by for way in layers.entries(records.make([f32, half, four]))] == [None, None]
    assert not layers.entries(records.make([half, four, *hottest]))
    other: Any = {**four, "backend": "numba"}
    assert [way.backend for way in layers.entries(records.make([f32, half, other]))] == ["c"]


def test_layers_are_summed_up() -> None:
    slow, fast = product("linear", HALF, 10.0), product("linear", HALF, 20.0, n=2 * N)
    rows = [product("gemv_t", "f32", 20.0), product("gemv_t", "f32", 20.0, n=2 * N)]
    (one,) = summaries(layers.entries(records.make([*rows, slow, fast, hot("linear", HALF, 60.0)])))
    assert one.layers == 2 and one.byte_ratio == pytest.approx(2) and one.roof == pytest.approx((50, 100), rel=1e-3)
    assert one.speedup.value == pytest.approx(2**0.5)
    assert one.limits == [("latency", 1), ("bandwidth", 1)]


def test_curves() -> None:
    points = chip.entries(curve())
    assert [p.level for p in points] == ["L1", "L2", "DRAM"] * 2
    f32, four = chip.curves(points)
    assert {level: p.gain.value for level, p in f32.best.items()} == pytest.approx(
        {"L1": 10, "L2": 4, "DRAM": 1}, rel=1e-3
    )
    assert {level: p.weights.value for level, p in four.best.items()} == pytest.approx(
        {"L1": 16.0, "L2": 16.0, "DRAM": 16.0}, rel=1e-3
    )
    assert four.best["L1"].bytes == 8 * K * 9 // 16


def test_a_gain_is_the_quotient_of_what_is_shown() -> None:
    """Of two sets in memory the smaller is the faster one, and visits differ."""
    moved = [1.0] * 3 + [0.7] * 3 + [1.3] * 3
    sizes = [("L1", 8, 200.0), ("DRAM", 1024, 24.0), ("DRAM", 2048, 20.0)]
    rows = [product("gemv", "f32", gbps, n=n, layers=[chip.SET], level=lv, cold=[]) for lv, n, gbps in sizes]
    rows[0]["seconds"] = [s * by for s, by in zip(rows[0]["seconds"], moved, strict=True)]
    points = chip.entries(records.make(rows))
    (only,) = chip.curves(points)
    assert only.best["DRAM"] is points[-1]
    for point in points:
        assert point.gain.value == pytest.approx(point.weights.value / only.best["DRAM"].weights.value)
        assert point.gain.low <= point.gain.value <= point.gain.high


def test_whole_models() -> None:
    """In half of the time, with fewer bytes; the native one is no way of its own."""
    metrics = records.of([records.fma(), records.read(), hot("linear_a8", FOUR, 30.0)], runs=decoded())
    (one,) = decode.entries(metrics)
    assert (one.type, one.activations, one.layer) == ("i4g32", "8", "GPT-2 decode, 16 tokens")
    assert one.speedup.value == pytest.approx(2, rel=1e-6) and 2 < one.byte_ratio < 64 / 9
    assert (one.tokens, one.native) == pytest.approx((32, 16), rel=1e-6)
    assert one.limited_by == "latency" and one.error is None
    assert keys_of(one.as_dict()) and not decode.entries(whole())


def test_errors_follow_from_the_types() -> None:
    """Rounded activations add to the error of the weights; fewer bits have a larger one."""
    kept = [relative_error("linear", name, 256) for name in ("bf16", "i8", "i4g32")]
    assert kept == sorted(kept) and 0.0005 < kept[0] < 0.004 and 0.05 < kept[2] < 0.2
    assert relative_error("linear_a8", "i8", 256) > kept[1]
    assert relative_error("gemv_t", "bf16", 256) == kept[0]


def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for section in SECTIONS:
        monkeypatch.setattr(f"bench.escape.{section}.plot.draw", lambda *_: [])


def test_a_record_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [records.fma(), records.read(), *whole().rows[2:], *curve().rows[2:]]
    every = records.of(rows, runs=decoded())
    store.save(every.record, tmp_path / "every.json")
    assert main([str(tmp_path / "every.json")]) == 0
    said = capsys.readouterr().out
    assert "unpacking" in said and "1.90 [-]" in said and "on chip" in said.lower()
    names = ("layers", "chip", "decode")
    assert {path.name for path in tmp_path.glob("*.png")} == {f"every-{name}.png" for name in names}
    undrawn(monkeypatch)
    assert main([str(tmp_path / "every.json"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["rows"]) == 3 and all(map(keys_of, document["rows"]))
    assert len(document["chip"]) == 6
    assert main([str(tmp_path / "every.json"), "--markdown"]) == 0
    assert capsys.readouterr().out.count("| i4g32 | 8 | C |") == 3


def test_every_section_has_its_parts() -> None:
    both = records.make([*whole().rows[2:], *curve().rows[2:]])
    found: dict[str, Sequence[Any]] = {"layers": layers.entries(both), "chip": chip.entries(both)}
    assert found.keys() <= SECTIONS.keys()
    assert sum(line.startswith("**") for line in page(both, found)) == len(found)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--types", "i9"], "--types i9: one or several of bf16"),
        (["--types", ""], "--types : one or several"),
        (["--activations", "16"], "--activations 16"),
        (["--sections", "walls"], "--sections walls"),
        (["--backends", "blas"], "--backends blas: one or several of c, numba"),
        (["--model", "BERT-Base"], "--model BERT-Base: it doesn't generate tokens"),
        (["--length", "0"], "--length 0: GPT-2 takes 1 to 1024 tokens"),
        (["--length", "2000"], "--length 2000: GPT-2 takes"),
        (["--layer", "nothing"], "--layer nothing: there are GPT-2 o"),
    ],
)
def test_bad_input(arguments: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        main(arguments)


def few_roofs(session: Session) -> None:
    """Those of one thread that figures need: all of them take a while."""
    with pinned(1):
        session.add_roofs(1, [walking("read", 1 << 22, 1), fma_probe(1, "f32", session.isa)])


def test_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each section that measures in a second or two; what has no kernel is left out by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Session, "start", few_roofs)
    monkeypatch.setattr("bench.escape.chip.measuring.sizes", lambda threads: [1 << 15, 1 << 17])
    monkeypatch.setattr("bench.measure.arrays.dram_bytes", lambda arrays: (1 << 22, True))
    undrawn(monkeypatch)
    small = ["layers = 2", "width = 64", "heads = 4", "ffn = 96", "vocabulary = 50", "positions = 40", "decoder = true"]
    Path("small.toml").write_text("\n".join(['name = "small"', *small]))
    arguments = ["--sections", "layers,chip,decode", "--model", "small.toml", "--length", "4", "--layer", "GPT-2 o"]
    arguments += ["--threads", "1", "--types", "i4g32", "--activations", "8", "--backends", "c", "--seconds", "0.001"]
    assert main([*arguments, "--json", "--record", "r.json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["layer"] for row in document["rows"]} == {"GPT-2 o", "small decode, 4 tokens"}
    assert all(map(keys_of, document["rows"])) and {row["type"] for row in document["rows"]} == {"i4g32"}
    assert document["rows"][0]["limited_by"] in {"bandwidth", "instructions", "latency"}
    assert {point["type"] for point in document["chip"]} == {"f32", "i4g32"}
    assert store.load(Path("r.json")).rows
    assert main(["r.json", "--markdown"]) == 0
    assert "| small decode, 4 tokens | i4g32 | 8 | C | 1 |" in capsys.readouterr().out


def test_products_of_8_bits_are_four_times_as_many() -> None:
    """60 FLOP a cycle are more than AVX2 can do in f32, but not in 8 bits."""
    rows = [product("gemv_t", "f32", 120.0), product("linear_a8", FOUR, 16.875)]
    assert [bool(list(_physical(row, 1e9))) for row in rows] == [True, False]


def test_a_record_without_any_way(tmp_path: Path) -> None:
    store.save(records.make([]).record, tmp_path / "none.json")
    with pytest.raises(BadInput, match="no way through the wall"):
        main([str(tmp_path / "none.json")])
