"""The peaks are what the units can do, in step with the clock."""

import json
from pathlib import Path

import pytest

from bench import peak
from bench.check import checked
from bench.errors import BadInput
from bench.host.placement import pinned
from bench.measure.probes import Probe, clock_probe, fma_probe, peak_probe, peak_types
from bench.measure.timing import interleave
from bench.options import STORED
from bench.peak import flop_per_cycle
from bench.record.demands.session import PIPES
from bench.record.row import multiplied
from kernels.backends import c as native
from kernels.types import native_isa

RUNNING = [isa for isa in native.ISAS if native.runs(isa)]


def per_cycle(isa: str) -> dict[str, float]:
    """Best operations per cycle of each type in a few sessions: a neighbour on the same core halves single samples."""
    best = {type_: 0.0 for type_ in peak.KINDS if native.has_peak(type_, isa)}
    for _ in range(4):
        probes: list[Probe] = [*(peak_probe(1, type_, isa) for type_ in best), clock_probe(1)]
        with pinned(1):
            timed = interleave([p.variant for p in probes], 0.05, least=20, warm_up=0.02)
        *rows, clock = [p.row | {"calls": s.calls, "seconds": s.seconds} for p, s in zip(probes, timed, strict=True)]
        for row in rows:
            best[multiplied(row)] = max(best[multiplied(row)], flop_per_cycle(row, clock))
    return best


@pytest.mark.parametrize("isa", native.running())
def test_peak_per_cycle(isa: str) -> None:
    """Of v lanes and p pipes, 2 v p FLOP a cycle: half as many in f64, and no core has more than four pipes.

    Of integers no more than products of bytes in as many pipes, and no fewer than a third of a multiply of 32 bits; of
    bf16 no more than of halves, and more than f32 has.
    """
    found, size, pipes = per_cycle(isa), native.vector_bytes(isa), PIPES.get(native_isa(isa), 2)
    if "f32" in found:
        assert found["f32"] / found["f64"] == pytest.approx(2, rel=0.25)
        assert 0.7 * size / 4 < found["f32"] < 1.1 * 2 * size
    if "bf16" in found:
        assert size / 2 < found["bf16"] < 1.1 * pipes * size
    for type_ in {"i8", "i4g32"} & found.keys():
        assert 0.3 * size / 4 < found[type_] < 1.1 * 2 * pipes * size


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_every_chain_is_counted(isa: str, dtype: str) -> None:
    """Each chain ends at 1 in every lane, so the sum counts them."""
    row = fma_probe(1, dtype, isa).row
    total = native.peak(isa, dtype, 1, 200)()
    assert total == pytest.approx(row["dims"]["chains"] * row["dims"]["lanes"])
    assert row["dims"]["chains"] >= 8  # latency 4 x 2 ports, at least


@pytest.mark.parametrize(
    ("isa", "element"), [(isa, name) for isa in native.running() for name in STORED if native.has_peak(name, isa)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_rounded_product_is_counted(isa: str, element: str, threads: int) -> None:
    """They are ones times ones: the total is how many there were, which the row says as well."""
    dims = peak_probe(threads, element, isa).row["dims"]
    each = dims["chains"] * dims["lanes"] * dims["products"]
    assert [native.peak(isa, element, threads, n)() for n in (1, 200)] == [each * threads, 200 * each * threads]
    assert dims["chains"] >= 6


def test_types_have_the_peak_of_what_they_multiply() -> None:
    assert peak_types("f32", ["bf16", "f16"]) == ["f32", "bf16"]
    assert peak_types("f32", ["f16", "i8g32"]) == ["f32", "i8"]
    assert peak_types("f32", ["u4g32", "i4g128", "i8"]) == ["f32", "i4g32", "i8"]
    assert peak.KINDS == ("f32", "f64", "bf16", "i8", "i4g32")


def test_a_record_of_every_peak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "peaks.json"
    arguments = ["--isa", RUNNING[-1], "--threads", "1", "--seconds", "0.002", "--record", str(path)]
    assert peak.main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["operation"], row["types"]["x"]) for row in rows] == [
        *(("fma", "f32"), ("fma", "f64"), ("dot", "i8"), ("dot", "i4g32")),
        ("adds", "i64"),
    ]
    result = checked(path)
    assert (result["problems"], result["remarks"]) == ([], [])


@pytest.mark.parametrize("dtype", ["f16", "i4", "i8,,f32", ""])
def test_types_without_a_peak_of_their_own(dtype: str) -> None:
    with pytest.raises(BadInput, match="one or several of f32, f64, bf16, i8, i4g32"):
        peak.main(["--dtype", dtype])
