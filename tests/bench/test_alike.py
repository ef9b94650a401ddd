"""Shares of unlike roofs are never compared: whatever probes a side lacks, its rows say what their times say."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import pytest

from bench.comparison.page import Page, Side, compare
from bench.comparison.session import session
from bench.record.row import Row
from bench.report.sides import lines
from support import records
from support.records import product

SPEEDS = {"linear_a8 i8": 90.0, "linear_a8 i4g32": 150.0, "gemm": 80.0, "gemv_t": 9.0, "hot": 60.0}
"""GFLOP/s of each row in A: under every roof, whichever probes there are."""


def linear(element: str, gflops: float) -> Row:
    dims, starts = {"m": 64, "n": 1024, "k": 1024}, [s + 0.2 for s in records.STARTS]
    seconds = [2 * 64 * 2**20 / (gflops * 1e9) * (1 + 0.001 * (i % 3 - 1)) for i in records.ROUNDS]
    return records.sampled("kernel", "linear_a8", {"w": element}, 1, dims, seconds, starts, cold=["w"])


def kernels(times: float) -> list[Row]:
    """So many times as slow."""
    i8, i4, gemm, gemv, hot = (speed / times for speed in SPEEDS.values())
    small = product(10, hot, cold=[], level="L2")
    return [linear("i8", i8), linear("i4g32", i4), product(64, gemm), product(1, gemv), small]


def of_isa(row: Row, isa: str, faster: float = 1.0) -> Row:
    return {**row, "isa": isa, "seconds": [s / faster for s in row["seconds"]]}


PROBES = {
    "f32": records.fma(),
    "i8": records.dot("i8", 160e9),
    "i4": records.dot("i4g32", 300e9),
    "wide f32": of_isa(records.fma(), "avx512", 2.0),
    "wide i8": of_isa(records.dot("i8", 160e9), "avx512", 4.0),
    "DRAM": records.read(),
    "L2": records.read(rates=[80e9] * 9, level="L2"),
}


def side(
    letter: str, rows: Sequence[Row], lacking: Iterable[str] = (), machine: str = "one", isa: str = "avx2"
) -> Side:
    probes = [probe for name, probe in PROBES.items() if name not in lacking]
    metrics = records.of([*probes, *rows], {**records.MACHINE, "id": machine}, isa=isa)
    return Side(letter, [session(metrics, letter)])


def said(page: Page) -> list[str]:
    return [line for line in lines(page, False, False) if "measured" in line or "data in" in line]


@pytest.mark.parametrize("machine", ["one", "two"])
@pytest.mark.parametrize("times", [4.0, 1 / 4])
def test_a_probe_that_one_side_lacks_changes_no_word(times: float, machine: str) -> None:
    """Of all pairs of probes: the roofs are the same, so the rows' own part is all of what changed."""
    whole, slower = side("A", kernels(1.0)), kernels(times)
    word = "slower" if times > 1 else "faster"
    for lacking in (some for count in range(3) for some in combinations(PROBES, count)):
        page = compare(whole, side("B", slower, lacking, machine))
        assert len(page.rows) == len(SPEEDS)
        for row in page.rows:
            assert row.outcome.word == word, (lacking, row.key.text)
            assert row.outcome.own is None or row.outcome.own == pytest.approx(1 / times, rel=0.01), lacking
        if {"i8", "i4", "DRAM"} & set(lacking):
            assert said(page), f"without {lacking}"


def test_what_is_missing_is_said_by_name() -> None:
    """An eighth slower, and held against the integers' peak on one side alone: 2.5 times as near to it."""
    whole, slower = side("A", kernels(1.0)), kernels(1.125)
    page = compare(whole, side("B", slower, ["i8", "wide i8", "i4"]))
    assert sorted(said(page), reverse=True) == [
        "1 row: peak of i8 (avx2) not measured in B: both sides are held against f32's (avx2).",
        "1 row: peak of i4g32 (avx2) not measured in B: both sides are held against f32's (avx2).",
    ]
    assert {round(row.outcome.own or 0, 3) for row in page.rows} == {0.889}
    assert said(compare(side("A", slower, ["i4"]), side("B", kernels(1.0)))) == [
        "1 row: peak of i4g32 (avx2) not measured in A: both sides are held against f32's (avx2)."
    ]
    page = compare(whole, side("B", slower, ["DRAM"]))
    assert said(page) == ["4 rows: roof not measured in B: times are compared."]
    assert {row.outcome.own is None for row in page.rows if row.key.cold} == {True}
    assert not said(compare(whole, side("B", slower)))


def test_another_isa_is_not_divided_out() -> None:
    """Twice as fast with vectors twice as wide: faster, and not the same share of another roof."""
    narrow = side("A", [product(64, 80.0), product(1, 9.0)])
    rows = [of_isa(product(64, 160.0), "avx512"), of_isa(product(1, 9.0), "avx512")]
    wide = side("B", rows, ["f32"], isa="avx512")
    page = compare(narrow, wide)
    own = {row.key.operation: row.outcome.own for row in page.rows}
    assert own == {"gemm": pytest.approx(2, rel=0.01), "gemv_t": pytest.approx(1, rel=0.01)}
    assert said(page) == ["2 rows: peak of f32 (avx2) not measured in B: both sides are held against f32's (avx512)."]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"level": "L3"}, "1 row: roof not measured in B: times are compared."),
        ({"level": "DRAM"}, "1 row: data in L2 on 1 thread in A, DRAM on 1 thread in B: times are compared."),
    ],
)
def test_another_level_is_not_divided_out(other: dict[str, Any], words: str) -> None:
    """Data that the other session's L2 doesn't hold."""
    a, b = (
        side(x, [product(10, speed, cold=[], **more)])
        for x, speed, more in (("A", 60, {"level": "L2"}), ("B", 15, other))
    )
    page = compare(a, b)
    assert (page.rows[0].outcome.own, page.rows[0].outcome.word, said(page)) == (None, "slower", [words])
