"""bench.stream without bandwidths of this machine: visits, the curve of a made-up record, the words for pages."""

import pytest

from bench.measure.probes import clock_probe
from bench.measure.run import measure_probes
from bench.measure.session import Session
from bench.record.row import Row
from bench.report.columns import BANDWIDTHS, Measured
from bench.stream import curve
from support import records

SLOW, FAST = 100e9, 195e9


def test_curve_takes_the_median_of_visits() -> None:
    """What one visit alone saw is no level of cache; of several access patterns the fastest counts."""
    rows: list[Row] = [
        records.read(rates=[FAST] * 3 + [SLOW] * 6),
        {**records.read(rates=[SLOW / 2] * 9), "operation": "read_2"},
        {**records.read(rates=[SLOW] * 9), "dims": {"n": 2 * 10**6}},  # twice the bytes in the time
    ]
    found = curve(records.of(rows), 1)
    assert [(p.size, p.rate.value) for p in found] == [
        (8 * 10**6, pytest.approx(SLOW, rel=1e-3)),
        (16 * 10**6, pytest.approx(2 * SLOW, rel=1e-3)),
    ]
    assert [p.share for p in found] == pytest.approx([0.5, 1], rel=1e-3)
    assert curve(records.of(rows), 2) == []


def test_probes_are_visited_three_times() -> None:
    session = Session("python -m bench.test", [1])
    measure_probes(session, {1: [clock_probe(1)]}, 0.01, "clock", least=2)
    (row,) = session.metrics().rows
    assert sorted(set(row["visits"])) == [0, 1, 2]
    assert len(set(row["rounds"])) == len(row["rounds"])
    assert session.metrics().trust["grade"] is not None


def test_an_interrupted_session_has_no_grade() -> None:
    """Ctrl-C in the second visit: the first is kept, and is no evidence."""
    session = Session("python -m bench.test", [1])
    probe = clock_probe(1)
    (call,) = probe.variant

    def interrupted() -> None:
        if session.visit:
            raise KeyboardInterrupt
        call()

    probe.variant = [interrupted]
    with pytest.raises(KeyboardInterrupt):
        measure_probes(session, {1: [probe]}, 0.01, "clock")
    metrics = session.metrics()
    assert metrics.rows
    assert metrics.trust["grade"] is None


@pytest.mark.parametrize(("share", "words"), [(None, "-"), (0.0, "4 KiB"), (1.0, "2 MiB"), (0.5, "50 % of 2 MiB")])
def test_pages_are_said(share: float | None, words: str) -> None:
    row = records.read()
    row["huge_pages"] = share
    (cell,) = (column.cell for column in BANDWIDTHS if column.heading == "pages")
    assert cell(Measured(row, {})) == words
