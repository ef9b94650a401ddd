"""The interconnect's figures as tables."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from rich.table import Table

from bench.interconnect.figures import Found, Line, Message, Ridge
from bench.interconnect.plan import WINDOW
from bench.record.format import Interconnect
from bench.record.intervals import Interval
from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval, spread


class Pair(NamedTuple):
    """One size: latency and bandwidth, in the same buffer and in rotating ones; None: not measured."""

    size: int
    latency: Message | None
    cold_latency: Message | None
    window: Message | None
    cold_window: Message | None


class Reduction(NamedTuple):
    """One size of a reduction, out of place and in place."""

    size: int
    out: Message | None
    inside: Message | None


def _microseconds(of: Message | None) -> str:
    return "-" if of is None else f"{1e6 * of.seconds.value:.2f} {spread(of.seconds.as_dict())}"


def _of(one: Message | None, name: Literal["rate", "bus"]) -> Interval | None:
    return None if one is None else one.rate if name == "rate" else one.bus


def _rate(of: Interval | None, digits: int = 1) -> str:
    return "-" if of is None else f"{of.value / 1e6:.{digits}f} {spread(of.as_dict())}"


def _gigabytes(of: Interval | None) -> str:
    return "-" if of is None else f"{of.value / 1e9:.3f}"


BUFFERS = (
    "same buffer: each message lies where the last one lay; rotating: in a touched place that caches no longer have."
)

PAIRS: Sequence[Column[Pair]] = (
    Column("bytes", lambda p: str(p.size)),
    Column("latency us\nsame buffer", lambda p: _microseconds(p.latency), "Latency: half of a round trip."),
    Column("latency us\nrotating", lambda p: _microseconds(p.cold_latency)),
    Column("MB/s\nsame buffer", lambda p: _rate(_of(p.window, "rate")), f"MB/s: 1e6 bytes/s in windows of {WINDOW}."),
    Column("MB/s\nrotating", lambda p: _rate(_of(p.cold_window, "rate")), BUFFERS),
)

REDUCTIONS: Sequence[Column[Reduction]] = (
    Column("bytes", lambda r: str(r.size)),
    Column("out of place\ntime us", lambda r: _microseconds(r.out)),
    Column("\nalgbw", lambda r: _gigabytes(_of(r.out, "rate")), "algbw: bytes over time, GB/s;"),
    Column("\nbusbw", lambda r: _gigabytes(_of(r.out, "bus")), "busbw: 2 (n - 1) / n of it, for n ranks."),
    Column("in place\ntime us", lambda r: _microseconds(r.inside)),
    Column("\nalgbw", lambda r: _gigabytes(_of(r.inside, "rate"))),
    Column("\nbusbw", lambda r: _gigabytes(_of(r.inside, "bus"))),
    Column("\n#wrong", lambda r: "0", "#wrong: a wrong sum ends a session without a figure."),
)


def _buffers(one: Line | Ridge) -> str:
    return "rotating" if one.rotating else "same"


LINES: Sequence[Column[Line]] = (
    Column("buffers", _buffers, left=True),
    Column("alpha us", lambda f: interval(f.alpha.scaled(1e6).as_dict()), "Latency = alpha + bytes / beta;"),
    Column("beta GB/s", lambda f: interval(f.beta.scaled(1e-9).as_dict())),
    Column(
        "half of beta\nat bytes",
        lambda f: interval(f.half.as_dict(), 0),
        "in brackets 95 %, by bootstrap over sizes and visits.",
    ),
    Column(
        "misses by",
        lambda f: f"a factor of {f.misses:.2f}, {f.misses_at} B",
        "misses by: how far the line is above or below one message at most, and where.",
    ),
)

RIDGES: Sequence[Column[Ridge]] = (
    Column("buffers", _buffers, left=True),
    Column("peak of a rank\nGFLOP/s", lambda r: interval(r.peak.scaled(1e-9).as_dict(), 1)),
    Column(
        "FLOP per byte sent",
        lambda r: interval(r.per_byte.as_dict(), 1),
        "What a rank multiplies and adds in f32 while it sends a byte in the largest window, or the smallest message: "
        "with less to do it waits for the link.",
    ),
    Column("FLOP per message", lambda r: interval(r.per_message.as_dict(), 0)),
)


def headline(of: Interconnect) -> str:
    """Ranks, hosts, library and what is between them, in a line."""
    hosts = len({rank["node"] for rank in of["ranks"]})
    at = f"on {hosts} hosts" if hosts > 1 else "on one host"
    a, b = of["pair"]
    return f"{len(of['ranks'])} ranks {at}, {of['library']}; between ranks {a} and {b}: {link(of)}"


def link(of: Interconnect) -> str:
    """ "shared memory", "loopback TCP (lo counted 1.01 of the bytes)"."""
    known = of["link"]
    words = {
        "shared memory": "shared memory (no network interface counted the bytes)",
        "loopback": "loopback",
        "virtual network": "a virtual network, no device behind it",
        "network": "a network",
        "unknown": "unknown: no interface counted the bytes, as with a fabric that passes the kernel by",
    }[known["kind"]]
    if known["interface"] is None or known["share"] is None:
        return words
    claims = f", claims {known['speed'] / 1e9:g} Gbit/s" if known["speed"] else ""
    return f"{words} ({known['interface']} counted {known['share']:.2f} of the bytes{claims})"


def show(found: Found, of: Interconnect) -> Iterator[Table]:
    """All tables that have entries."""
    by = {(name, cold): found.of(name, cold) for name in ("ping_pong", "window") for cold in (False, True)}
    sizes = sorted({size for messages in by.values() for size in messages})
    pairs = [
        Pair(
            size,
            by["ping_pong", False].get(size),
            by["ping_pong", True].get(size),
            by["window", False].get(size),
            by["window", True].get(size),
        )
        for size in sizes
    ]
    a, b = of["pair"]
    if pairs:
        yield table(f"Messages between ranks {a} and {b}: {of['link']['kind']}", PAIRS, pairs)
    for cold in (False, True):
        out, inside = found.of("allreduce", cold), found.of("allreduce_in_place", cold)
        reductions = [Reduction(size, out.get(size), inside.get(size)) for size in sorted({*out, *inside})]
        if reductions:
            where = "in rotating buffers" if cold else "in the same buffer"
            yield table(f"Allreduce of {len(of['ranks'])} ranks, sum of floats, {where}", REDUCTIONS, reductions)
    if found.lines:
        yield table("Latency and bandwidth as one line", LINES, found.lines)
    if found.ridges:
        yield table("Ridge of the interconnect", RIDGES, found.ridges)
