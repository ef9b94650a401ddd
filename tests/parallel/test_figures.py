"""What follows from made-up layers whose times are known; the plane; the command on such a record."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.check import checked
from bench.comparison.families import key_of
from bench.parallel import __main__ as command
from bench.parallel.figures import Layer, Roofs, found, place
from bench.parallel.model import Wire, expected
from bench.parallel.plane import Corner, small
from bench.record import store
from bench.record.format import Interconnect
from bench.record.metrics import Metrics
from bench.record.row import Row
from support import records

ALPHA, BETA = 20e-6, 1.25e8  # s, bytes/s: 1 Gbit/s
WIRE = Wire("made up", ALPHA, BETA)
DIMS = {"keys": 128, "width": 768, "heads": 12, "ffn": 3072}
TIMES = {("decode", 1): 1400e-6, ("decode", 2): 800e-6, ("decode", 4): 450e-6}
TIMES |= {("prefill", 1): 20e-3, ("prefill", 2): 10e-3, ("prefill", 4): 5e-3}
ROWS = {"decode": 1, "prefill": 128}
BETWEEN: Interconnect = {
    "library": "MPICH 4.2",
    "ranks": [{"node": n, "machine": "made-up-00000000", "cpus": [0]} for n in range(2)],
    "pair": [0, 1],
    "link": {"kind": "network", "interface": "eth0", "share": 1.03, "speed": 1e9},
    "bytes_checked": 1_000_000,
}


def row(operation: str, phase: str, ranks: int, seconds: float, calls: int = 5) -> Row:
    dims = {"m": ROWS[phase], **DIMS, "ranks": ranks}
    sums = operation == "layer_sums"
    level = "link" if operation in ("layer_sums", "layer_split") else "DRAM"
    of = {"level": level, "calls": calls, "cold": [] if sums else ["x"], "layers": [f"GPT-2 {phase}"]}
    times = [calls * seconds] * 9
    made = records.sampled("probe", operation, "f32", 1, dims, times, records.STARTS, **of)
    return {**made, "backend": "mpi", "isa": "MPICH 4.2"} if sums else made


def ping(size: int) -> Row:
    of = {"level": "link", "calls": 500}
    times = [500 * (ALPHA + size / BETA)] * 9
    made = records.sampled("probe", "ping_pong", "i8", 1, {"bytes": size}, times, records.STARTS, **of)
    return {**made, "backend": "mpi", "isa": "MPICH 4.2"}


def made(split: float = 1.0, between: Interconnect | None = BETWEEN, sizes: Any = range(2, 21, 2)) -> Metrics:
    """split: how many times as long as the model says splitting takes."""
    rows = [records.fma(), records.read(), *(ping(1 << n) for n in sizes)]
    for phase, m in ROWS.items():
        rows += [row("layer_share", phase, n, seconds) for (name, n), seconds in TIMES.items() if name == phase]
        together, size = 1.1 * TIMES[phase, 2], 4 * m * 768
        rows.append(row("layer_shares", phase, 2, together))
        rows.append(row("layer_sums", phase, 2, 2 * WIRE.sum_(2, size)))
        rows.append(row("layer_split", phase, 2, split * expected(together, 2, size, WIRE)))
    given = records.of(rows).record
    return store.make(
        given["command"],
        True,
        given["machine"],
        given["session"],
        given["rows"],
        started=records.STARTED,
        interconnect=between,
    )


def layers(split: float = 1.0) -> dict[str, Layer]:
    return {layer.name: layer for layer in found(made(split)).layers}


def test_times_and_speedups_are_those_of_the_rows() -> None:
    decode, prefill = layers().values()
    assert (decode.name, decode.ranks, decode.size) == ("GPT-2 decode", 2, 3072)
    assert prefill.size == 128 * 3072
    assert decode.whole.value == pytest.approx(1400e-6, rel=1e-4)
    assert {n: one.value for n, one in decode.alone.items()} == pytest.approx(
        {1: 1400e-6, 2: 800e-6, 4: 450e-6}, rel=1e-4
    )
    wanted = 880e-6 + 2 * (20e-6 + 3072 / 1.25e8)
    assert decode.split.value == pytest.approx(wanted, rel=1e-4)
    assert decode.speedup.value == pytest.approx(1400e-6 / wanted, rel=1e-4)


@pytest.mark.parametrize("split", [1.0, 1.25])
def test_the_model_is_held_against_what_was_measured(split: float) -> None:
    for layer in layers(split).values():
        assert layer.off(layer.by_line) == pytest.approx(1 / split - 1, abs=1e-3)
        assert layer.off(layer.by_messages) == pytest.approx(1 / split - 1, abs=1e-3)


def test_other_links_take_a_share_alone_and_their_own_sums() -> None:
    decode = layers()["GPT-2 decode"]
    assert decode.expects(4, Wire("", 10e-6, 1e9)) == pytest.approx(450e-6 + 2 * 2 * (10e-6 + 3.072e-6), rel=1e-4)
    enough = decode.least(2)
    assert enough and enough.alpha == pytest.approx(300e-6, rel=1e-3)


def test_a_layer_is_counted_by_hand() -> None:
    """768 x (4 x 768 + 2 x 3072) weights; with 128 keys one token's attention is 393,216 FLOPs more."""
    one, half = (place({"m": 1, **DIMS}, ranks) for ranks in (1, 2))
    assert one.flops == 2 * 7_077_888 + 393_216
    assert one.memory == 4 * (7_077_888 + 2 * 127 * 768)
    assert (half.flops, half.memory, half.sent, half.messages) == (one.flops / 2, one.memory / 2, 2 * 3072, 2)
    many = place({"m": 128, **DIMS}, 4)
    assert many.memory == 7_077_888 and many.sent == 2 * 2 * 3 / 4 * 128 * 3072


def test_what_takes_longest_bounds() -> None:
    """Half of a layer's token: 73 us at 100 GFLOP/s, 727 us at 20 GB/s; 6144 bytes sent in two messages."""
    at = place({"m": 1, **DIMS}, 2)
    for wire, bound in (
        (Wire("", 1e-6, 1e9), "memory"),
        (Wire("", 400e-6, 1e9), "network, messages"),
        (Wire("", 1e-6, 8e6), "network, bytes"),
    ):
        assert Roofs(100e9, 20e9, wire).bound(at) == bound
    assert Roofs(100e9, 20e9, WIRE).bound(place({"m": 128, **DIMS}, 2)) == "compute"
    assert Roofs(1e9, 20e9, WIRE).bound(at) == "compute"


def test_the_lines_of_the_plane_are_where_two_times_are_equal() -> None:
    roofs = Roofs(100e9, 20e9, WIRE)
    corner = Corner(roofs, BETA)
    assert (corner.x, corner.y) == (160, 5)
    lines = corner.lines(1, 1e4, 0.1, 100)
    sent = 1e6
    for name, rates in (
        ("compute, memory", (100e9, 20e9, None)),
        ("memory, network", (None, 20e9, BETA)),
        ("compute, network", (100e9, None, BETA)),
    ):
        for x, y in zip(*lines[name], strict=True):
            each = np.array([x * y * sent, x * sent, sent])  # FLOPs, bytes of memory, of network
            a, b = (amount / rate for amount, rate in zip(each, rates, strict=True) if rate)
            assert a == pytest.approx(b)


def test_small_messages_move_the_networks_line() -> None:
    """3072 bytes take 20 us and 24.576 us: 68.9 MB/s of 125."""
    of = found(made())
    assert of.roofs
    assert small(of.roofs, of.layers[0]) == pytest.approx(3072 / 44.576e-6, rel=1e-3)


def test_without_a_line_messages_are_still_known() -> None:
    of = found(made(sizes=(2, 4)))
    assert of.line is None and of.roofs
    assert [(layer.by_line, bool(layer.by_messages)) for layer in of.layers] == [(None, True)] * 2


def test_without_messages_nothing_is_expected() -> None:
    of = found(made(sizes=()))
    assert of.line is None and of.roofs is None
    assert [(layer.by_line, layer.by_messages) for layer in of.layers] == [(None, None)] * 2


def test_layers_that_are_not_whole_are_left_out() -> None:
    record = made().record
    rows = [row for row in record["rows"] if row["operation"] != "layer_shares" or row["dims"]["m"] == 1]
    assert [layer.name for layer in found(Metrics({**record, "rows": rows})).layers] == ["GPT-2 decode"]


def test_layers_have_a_family_of_their_own() -> None:
    record = made().record
    keys = [key_of(row, record) for row in record["rows"] if row["operation"].startswith("layer_")]
    assert len(set(keys)) == len(keys)
    assert {key.family.kernel for key in keys} == {"layers over ranks"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store.save(made().record, tmp_path / "r.json")
    return tmp_path / "r.json"


def test_the_record_passes_its_check(path: Path) -> None:
    assert not checked(path)["problems"]


def test_a_record_is_shown_with_links_that_are_given(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert command.main([str(path), "--link", "25gbit,10us", "--link", "1gbit,1ms"]) == 0
    out = capsys.readouterr().out
    for said in (
        "A layer over 2 ranks: network",
        "25gbit,10us",
        "1gbit,1ms",
        "From which link on",
        "is latency",
        "picture:",
    ):
        assert said in out
    svg = path.with_suffix(".svg").read_text(encoding="utf-8")
    assert "<svg" in svg and path.with_suffix(".png").stat().st_size > 10_000


def test_its_figures_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(path), "--json", "--link", "1gbit,1ms", "--picture", str(path.with_name("p"))]) == 0
    document = json.loads(capsys.readouterr().out)
    decode = document["layers"][0]
    assert decode["plane"]["bound"] == "memory" and decode["plane"]["messages"] == 2
    slow = document["links"][-1]
    assert slow["name"] == "1gbit,1ms"
    assert slow["layers"]["GPT-2 decode"]["2"] == pytest.approx(800e-6 + 2 * (1e-3 + 24.576e-6), rel=1e-3)
    assert document["pictures"] == [str(path.with_name("p.png")), str(path.with_name("p.svg"))]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--link", "fast"], "--link fast: bandwidth and latency, as in 25gbit,10us"),
        (["--length", "1"], "--length 1: GPT-2 takes 2 to 1024 tokens"),
        (["--model", "GPT-9"], "no model 'GPT-9'"),
        (["--model", "llama-3-8b"], "Llama-3-8B can be counted, but not run: its FFN is gated"),
    ],
)
def test_bad_input_is_refused(arguments: list[str], line: str) -> None:
    with pytest.raises(command.BadInput, match=line):
        command.main(arguments)


def test_a_record_without_layers_is_refused(tmp_path: Path) -> None:
    store.save(records.make([]).record, tmp_path / "none.json")
    with pytest.raises(command.BadInput, match=r"none\.json: no layer over ranks was measured in it"):
        command.main([str(tmp_path / "none.json")])
