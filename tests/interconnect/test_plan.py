"""The plan against OSU's own numbers, and what tells one link from another."""

import pytest

from bench.interconnect.plan import KINDS, VISITS, WINDOW, likely_seconds, sizes, steps
from bench.measure.ranks.links import judged
from bench.record.demands.session import SHORTEST


@pytest.mark.parametrize(
    ("operation", "skips", "loops"),
    [
        ("ping_pong", (100, 10), (10000, 1000)),
        ("window", (10, 2), (100, 20)),
        ("allreduce", (100, 10), (1000, 100)),
        ("allreduce_in_place", (100, 10), (1000, 100)),
    ],
)
def test_loops_and_skips_are_osus(operation: str, skips: tuple[int, int], loops: tuple[int, int]) -> None:
    kind = KINDS[operation]
    both = kind.loops(8192), kind.loops(16384)
    assert (WINDOW, kind.small, kind.large) == (64, *both)
    assert tuple(one.skip for one in both) == skips
    assert tuple(VISITS * one.blocks * one.each for one in both) == loops


def test_sizes_are_powers_of_two_to_four_mebibytes() -> None:
    assert sizes(1) == [2**n for n in range(23)]
    assert sizes(4, 64) == [4, 8, 16, 32, 64]
    every = list(steps())
    assert len(every) == len(set(every)) == 2 * (2 * 23 + 2 * 21)
    assert [one.size for one in every] == sorted(one.size for one in every)


@pytest.mark.parametrize("by", [1, 2, 7, 50, 1000])
@pytest.mark.parametrize("operation", KINDS)
def test_fewer_loops_are_a_share(operation: str, by: int) -> None:
    for size in (4, 8192, 16384, 4 << 20):
        whole = KINDS[operation].loops(size)
        less = KINDS[operation].loops(size, by)
        assert min(less) >= 1
        made, wanted = less.blocks * less.each, whole.blocks * whole.each / by
        assert made > wanted / 2 and (made <= max(1, 1.01 * wanted) or less.blocks == 1)
        assert by > 1 or less == whole


@pytest.mark.parametrize("operation", KINDS)
def test_a_sample_of_few_loops_is_long_enough_to_be_timed(operation: str) -> None:
    """Through shared memory, where 4 bytes pass in 0.3 us; on slow links large messages are as few as they can be."""
    messages = WINDOW if operation == "window" else 1
    assert KINDS[operation].loops(4, 1000).each * messages * 0.3e-6 > SHORTEST
    assert KINDS[operation].loops(4 << 20, 1000)[1:] == (1, 1)


def test_the_time_left_counts_bytes_and_messages() -> None:
    every = list(steps())
    assert all(likely_seconds(one) > likely_seconds(one, 10) for one in every)
    large = [one for one in every if one.size > 8192 and one.operation == "window"]
    assert likely_seconds(large[-1]) > 2 * likely_seconds(large[0])


SENT = 32 << 20


@pytest.mark.parametrize(
    ("counted", "one_host", "device", "kind", "interface"),
    [
        ({"lo": 300, "eth0": 1200}, True, True, "shared memory", None),
        ({}, True, False, "shared memory", None),
        ({"lo": 2 * SENT, "eth0": 1200}, True, False, "loopback", "lo"),
        ({"lo": 0, "veth0": SENT}, True, False, "virtual network", "veth0"),
        ({"lo": 100, "eth0": SENT + SENT // 30}, False, True, "network", "eth0"),
        ({"lo": 100, "eth0": 5000}, False, True, "unknown", None),
    ],
)
def test_what_interfaces_count_tells_the_link(
    counted: dict[str, int], one_host: bool, device: bool, kind: str, interface: str | None
) -> None:
    found = judged(counted, SENT, one_host, device, 1e9)
    assert (found["kind"], found["interface"]) == (kind, interface)
    assert (found["speed"] is None) == (kind not in ("network", "virtual network"))
    if interface:
        assert found["share"] == pytest.approx(counted[interface] / SENT)
