"""The model of a split layer against figures made by hand."""

from itertools import pairwise

import pytest

from bench.errors import BadInput
from bench.parallel.model import KNOWN, Curve, Least, Wire, expected, least, splits, ways, wire

SLOW = Wire("slow", 50e-6, 125e6)  # 1 Gbit/s


def test_a_sum_of_two_ranks_is_one_message_each_way() -> None:
    """3072 bytes: 50 us and 24.576 us. Halving would take two latencies, and send as much."""
    assert ways(2, 3072) == [(1, 3072), (2, 3072), (2, 3072)]
    assert SLOW.sum_(2, 3072) == pytest.approx(74.576e-6)
    assert SLOW.latency_share(2, 3072) == pytest.approx(50 / 74.576)


def test_large_sums_send_each_byte_twice() -> None:
    """8 ranks, 1 MB: 3 x (50 us + 8 ms) by doubling, 6 x 50 us + 14 ms by halving, 14 x 50 us + 14 ms in a ring."""
    assert SLOW.sum_(8, 1e6) == pytest.approx(6 * 50e-6 + 14e-3)
    assert SLOW.sum_(8, 8) == pytest.approx(3 * (50e-6 + 64e-9))


def test_ranks_that_are_no_power_of_two_need_two_steps_more() -> None:
    """12: doubling among 8, and 4 that send theirs before and get it after. No halving: the ring has 22 steps."""
    assert ways(12, 1200) == [(5, 6000), (22, 2200)]


def test_messages_that_were_measured_are_told_as_they_were() -> None:
    """Half way between two sizes it takes half as much more; beyond the largest, 10 kB in 100 us, so many more."""
    bent = Curve.through("bent", {10_000: 100e-6, 100: 10e-6, 1000: 40e-6})
    assert (bent.alpha, bent.beta) == pytest.approx((10e-6, 1e8))
    times = {1: 10e-6, 100: 10e-6, 550: 25e-6, 1000: 40e-6, 5500: 70e-6, 30_000: 300e-6}
    assert {size: bent.message(size) for size in times} == pytest.approx(times)
    assert bent.sum_(2, 550) == pytest.approx(25e-6)  # two messages of 275 bytes, 15.83 us each, take longer


def test_no_message_takes_longer_than_a_larger_one() -> None:
    """The smallest was held up, 120 us, and so was one of 16 KiB: 3 KiB in 50 us are all latency, and no more."""
    noisy = Curve.through("noisy", {4: 120e-6, 3072: 50e-6, 16_384: 900e-6, 65_536: 600e-6})
    assert noisy.alpha == pytest.approx(50e-6)
    times = [noisy.message(size) for size in (0, 4, 3072, 10_000, 16_384, 65_536, 1e6)]
    assert times == sorted(times) and times[4] == pytest.approx(600e-6)
    assert noisy.latency_share(2, 3072) == pytest.approx(1)
    assert all(0 <= noisy.latency_share(n, size) <= 1 for n in (2, 3, 4, 12) for size in (4, 3072, 393_216))


def test_one_rank_sends_nothing() -> None:
    assert SLOW.sum_(1, 1e9) == 0


def test_a_split_layer_is_its_share_and_two_sums() -> None:
    assert expected(700e-6, 2, 3072, SLOW) == pytest.approx(700e-6 + 2 * 74.576e-6)


def test_from_which_link_on_it_pays() -> None:
    """1400 us whole, 800 us a half: a sum may take 300 us; 3072 bytes in them are 10.24 MB/s."""
    found = least(1400e-6, 800e-6, 2, 3072)
    assert found and (found.sum_, found.alpha, found.beta) == pytest.approx((300e-6, 300e-6, 10.24e6))
    at_most = Wire("as slow as it may be", found.alpha, 1e30)
    assert expected(800e-6, 2, 3072, at_most) == pytest.approx(1400e-6)


def test_of_four_ranks_two_latencies_follow_each_other() -> None:
    found = least(1400e-6, 400e-6, 4, 4000)
    assert found and found == Least(pytest.approx(500e-6), pytest.approx(250e-6), pytest.approx(6000 / 500e-6))


@pytest.mark.parametrize("computing", [1400e-6, 1500e-6])
def test_where_computing_gains_nothing_no_link_helps(computing: float) -> None:
    assert least(1400e-6, computing, 2, 3072) is None


@pytest.mark.parametrize(
    ("text", "alpha", "beta"),
    [
        ("25gbit,10us", 10e-6, 3.125e9),
        ("1GBIT,1ms", 1e-3, 125e6),
        ("2.5gbit,0.5us", 0.5e-6, 312.5e6),
        ("100mbit,0us", 0, 12.5e6),
    ],
)
def test_links_by_their_words(text: str, alpha: float, beta: float) -> None:
    found = wire(text)
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta))


@pytest.mark.parametrize("text", ["25gbit", "10us,25gbit", "0gbit,1us", "25gb,10us", "-1gbit,1us", "1e9gbit,1us", ""])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"--link .*bandwidth and latency, as in 25gbit,10us"):
        wire(text)


def test_how_many_ranks_are_told_of() -> None:
    assert splits(12, 3072, 2) == [2, 4, 12]
    assert splits(16, 4096, 2) == [2, 4, 8, 16]
    assert splits(12, 3072, 3) == [2, 3, 4, 12]


def test_known_links_are_no_slower_one_by_one() -> None:
    for slower, faster in pairwise(KNOWN):
        assert slower.alpha > faster.alpha and slower.beta < faster.beta
