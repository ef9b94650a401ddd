"""The FMA peak is what the units can do, in step with the clock."""

import pytest

from bench.host.placement import pinned
from bench.measure.probes import Probe, clock_probe, fma_probe
from bench.measure.timing import interleave
from bench.peak import flop_per_cycle
from bench.record.row import arithmetic
from kernels.backends import c as native

RUNNING = [isa for isa in native.ISAS if native.runs(isa)]


def per_cycle(isa: str) -> dict[str, float]:
    """Best FLOP per cycle of each dtype over a few sessions: a neighbour on the same core halves single samples."""
    best = {"f32": 0.0, "f64": 0.0}
    for _ in range(4):
        probes: list[Probe] = [fma_probe(1, "f32", isa), fma_probe(1, "f64", isa), clock_probe(1)]
        with pinned(1):
            timed = interleave([p.variant for p in probes], 0.05, least=20, warm_up=0.02)
        rows = [p.row | {"calls": s.calls, "seconds": s.seconds} for p, s in zip(probes, timed, strict=True)]
        for row in rows[:2]:
            best[arithmetic(row)] = max(best[arithmetic(row)], flop_per_cycle(row, rows[2]))
    return best


@pytest.mark.parametrize("isa", RUNNING)
def test_peak_per_cycle(isa: str) -> None:
    """Of v lanes and p pipes, 2 v p FLOP a cycle: half as many in f64, and no core has more than four pipes."""
    found = per_cycle(isa)
    lanes = native.vector_bytes(isa) // 4
    assert found["f32"] / found["f64"] == pytest.approx(2, rel=0.25)
    assert 0.7 * lanes < found["f32"] < 1.1 * 2 * lanes * 4


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_every_chain_is_counted(isa: str, dtype: str) -> None:
    """Each chain ends at 1 in every lane, so the sum counts them."""
    row = fma_probe(1, dtype, isa).row
    total = native.peak(isa, dtype, 1, 200)()
    assert total == pytest.approx(row["dims"]["chains"] * row["dims"]["lanes"])
    assert row["dims"]["chains"] >= 8  # latency 4 x 2 ports, at least
