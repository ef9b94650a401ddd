"""What follows from made-up messages whose line, rates and ridges are known; the command on such a record."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.check import checked
from bench.comparison.families import key_of
from bench.interconnect import __main__ as command
from bench.interconnect.figures import found
from bench.record import store
from bench.record.format import Interconnect
from bench.record.intervals import messages
from bench.record.metrics import Metrics
from bench.record.row import Row
from support import records

ALPHA, BETA, REDUCED = 2e-6, 5e8, 4  # s, bytes/s, ranks
SIZES = [2**n for n in range(23)]
BETWEEN: Interconnect = {
    "library": "MPICH 4.2",
    "ranks": [{"node": n // 2, "machine": "made-up-00000000", "cpus": [n % 2]} for n in range(REDUCED)],
    "pair": [0, REDUCED - 1],
    "link": {"kind": "network", "interface": "eth0", "share": 1.03, "speed": 1e10},
    "bytes_checked": 123_000_000,
}


def row(operation: str, size: int, seconds: float, rotating: bool, **dims: int) -> Row:
    """Nine samples of 500 calls."""
    types = "f32" if operation.startswith("allreduce") else "i8"
    found = records.sampled(
        "probe",
        operation,
        types,
        1,
        {"bytes": size} | dims,
        [500 * seconds] * 9,
        records.STARTS,
        level="link",
        calls=500,
        cold=["x"] if rotating else [],
    )
    return {**found, "backend": "mpi", "isa": "MPICH 4.2"}


def made(between: Interconnect | None = BETWEEN, sizes: Any = SIZES) -> Metrics:
    rows = [records.fma(), records.read()]
    for rotating in (False, True):
        for size in sizes:
            time = (ALPHA + size / BETA) * (2 if rotating else 1)
            rows.append(row("ping_pong", size, time, rotating))
            rows.append(row("window", size, 64 * size / BETA + ALPHA, rotating, messages=64))
            if size >= 4:
                for name in ("allreduce", "allreduce_in_place"):
                    rows.append(row(name, size, 2 * time, rotating, ranks=REDUCED))
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


def test_the_line_is_found_again() -> None:
    same, rotating = found(made()).lines
    assert same.alpha.value == pytest.approx(ALPHA, rel=1e-4)
    assert same.beta.value == pytest.approx(BETA, rel=1e-4)
    assert same.half.value == pytest.approx(ALPHA * BETA, rel=1e-4)
    assert rotating.alpha.value == pytest.approx(2 * ALPHA, rel=1e-4)
    assert same.alpha.low <= same.alpha.value <= same.alpha.high
    assert 1 <= same.misses < 1 + 1e-4


def test_a_bend_is_told_and_widens_the_interval() -> None:
    """From 16 KiB on three times as slow: what a change of protocol looks like."""
    straight = made()
    rows = json.loads(json.dumps(straight.record["rows"]))
    for one in rows:
        if one["operation"] == "ping_pong" and one["dims"]["bytes"] >= 1 << 14:
            one["seconds"] = [3 * s for s in one["seconds"]]
    bent, line = found(Metrics({**straight.record, "rows": rows})).lines[0], found(straight).lines[0]
    assert bent.misses > 1.2 and bent.misses_at >= 1024
    assert bent.beta.high / bent.beta.low > 1.05 > line.beta.high / line.beta.low


def test_noise_pulls_the_line_no_further_down_than_up() -> None:
    """Messages of which some take ten times as long, others a tenth: a line ten times off is a factor of ten."""
    factors = [1, 10, 1, 1, 0.1, 1, 1]
    points = [(size, (ALPHA + size / BETA) * factors[i % 7]) for i, size in enumerate(SIZES)]
    inverse = [(size, (ALPHA + size / BETA) / factors[i % 7]) for i, size in enumerate(SIZES)]
    for one in (messages(points), messages(inverse)):
        assert (
            one and one.alpha.value == pytest.approx(ALPHA, rel=0.5) and one.beta.value == pytest.approx(BETA, rel=0.5)
        )
        assert 7 < one.misses < 15


def test_the_limit_of_a_noisy_link_is_in_its_interval() -> None:
    """Of messages that a busy host scatters by a factor of 2.7, as often up as down."""
    busy = np.random.default_rng(1)
    noise = np.exp(busy.normal(0, 1, (len(SIZES), 4)))
    found = messages([(n, (ALPHA + n / BETA) * one) for n, row in zip(SIZES, noise, strict=True) for one in row])
    assert found and found.alpha.low < ALPHA < found.alpha.high
    assert found.beta.low < BETA < found.beta.high and found.misses > 2.7


def test_the_same_record_has_the_same_line() -> None:
    assert found(made()).lines == found(made()).lines


def test_rates_are_osus_and_nccls() -> None:
    of = found(made())
    latency, window = of.of("ping_pong", False)[1024], of.of("window", False)[1 << 20]
    assert latency.seconds.value == pytest.approx(ALPHA + 1024 / BETA, rel=1e-4)
    assert window.rate.value == pytest.approx(64 * 2**20 / (64 * 2**20 / BETA + ALPHA), rel=1e-4)
    reduced = of.of("allreduce_in_place", True)[4096]
    assert reduced.rate.value == pytest.approx(4096 / reduced.seconds.value)
    assert reduced.bus and reduced.bus.value == pytest.approx(reduced.rate.value * 2 * 3 / 4)
    assert latency.bus is None


def test_ridges_are_the_peak_over_the_links_rates() -> None:
    same = found(made()).ridges[0]
    assert same.per_byte.value == pytest.approx(records.PEAK / BETA, rel=1e-3)
    assert same.per_message.value == pytest.approx(records.PEAK * (ALPHA + 1 / BETA), rel=1e-3)


def test_few_sizes_make_no_line() -> None:
    assert not found(made(sizes=[4, 8, 16])).lines


@pytest.mark.parametrize("seconds", [1e-9, 1e6])
def test_what_nobody_measured_makes_no_line(seconds: float) -> None:
    """Messages that take as long whatever their size, or ever less: no rate, no exception, no warning."""
    rows = [row("ping_pong", size, seconds / 500, False) for size in SIZES]
    falling = [row("ping_pong", size, 1e-3 / size, False) for size in SIZES]
    for some in (rows, falling):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            of = found(records.of([records.fma(), *some]))
        assert len(of.messages) == len(SIZES) and not of.lines and not of.ridges


def test_sizes_are_rows_of_their_own_in_a_comparison() -> None:
    record = made().record
    keys = [key_of(one, record) for one in record["rows"] if one["level"] == "link"]
    assert len(set(keys)) == len(keys)
    assert {key.family.kernel for key in keys} == {"interconnect"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store.save(made().record, tmp_path / "a.json")
    return tmp_path / "a.json"


def test_a_record_is_good_and_shown_again(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not checked(path)["problems"]
    assert command.main([str(path)]) == 0
    shown = capsys.readouterr().out
    assert "4 ranks on 2 hosts, MPICH 4.2; between ranks 0 and 3: a network (eth0 counted 1.03 of the bytes" in shown
    assert "claims 10 Gbit/s" in shown and "busbw" in shown and "FLOP per message" in shown
    assert "123.0 MB of results compared, 0 wrong" in shown


def test_json_has_figures_and_the_record(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["record"]["interconnect"] == BETWEEN
    assert len(document["messages"]) == 2 * (2 * 23 + 2 * 21)
    assert document["lines"][0]["alpha"]["value"] == pytest.approx(ALPHA, rel=1e-4)


@pytest.mark.parametrize("kind", ["shared memory", "loopback", "virtual network", "unknown"])
def test_every_link_is_called_what_it_is(kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = BETWEEN["link"] | {"kind": kind, "interface": None if kind in ("shared memory", "unknown") else "lo"}
    store.save(made({**BETWEEN, "link": link}, sizes=[8]).record, tmp_path / "a.json")
    assert command.main([str(tmp_path / "a.json")]) == 0
    assert f"between ranks 0 and 3: {'a ' * (kind == 'virtual network')}{kind}" in capsys.readouterr().out
