"""python -m bench.stream: memory bandwidth as STREAM counts it, and with write-allocate; --levels: from L1 to memory.

Kernels and byte counts after McCalpin's STREAM, plus read-only and update; regular and non-temporal stores; C and Numba
(which can't emit non-temporal stores). Arrays are 8 times the last-level cache in reach unless --size says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Console

import kernels
from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.host.placement import pinned
from bench.host.sysfs import cache_bytes, scarcest_memory
from bench.measure.arrays import LEAST, RULE, dram_bytes, stream_arrays
from bench.measure.probes import MAKE
from bench.measure.run import kept, left_out, measure_probes, measuring
from bench.measure.session import Session
from bench.options import add_pages, add_seconds, add_threads
from bench.quantities import size
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.probes import PROBES, READS
from bench.report.columns import Column
from bench.report.tables import bandwidths_table, table
from bench.report.text import interval, machine_line, of_threads, seconds, trust_text

PER_OCTAVE = 3  # sizes per doubling in --levels
SMALLEST = 4 << 10
ALL_SIZES = 5  # all arrays together, in units of the largest
LEVEL_SECONDS = 0.03  # for each size and access pattern


def _variants(backend: str) -> list[str]:
    """The probes that count bytes and that a backend has."""
    isa = kernels.chosen_isa()
    usable = {k.operation for k in kernels.available() if k.backend == backend and (backend != "c" or k.isa == isa)}
    return [name for name, kind in PROBES.items() if kind.unit == "byte" and name in usable]


def measure(session: Session, backends: Mapping[int, Sequence[str]], size: int | None, budget: float) -> None:
    """Adds a row per thread count, kernel, backend and store flavour to the session.

    backends  by thread count
    size      bytes of an array; None: the rule, and read bandwidth of arrays twice as large has to agree
    budget    seconds for each row
    """
    counts = list(backends)
    by_rule, trusted = dram_bytes(3 * len(counts))
    if size is None and not trusted:
        session.distrust(
            f"arrays of {by_rule >> 20} MiB: {scarcest_memory()[1]} leaves no room for {LEAST} times the "
            "last-level cache: raise that limit"
        )
    groups = {}
    for threads in counts:
        bytes_ = by_rule if size is None else size
        level = session.level(bytes_, threads)
        with pinned(threads):
            arrays = stream_arrays(3, bytes_ // 8, threads)
            groups[threads] = [MAKE[n](b, arrays, threads, level) for b in backends[threads] for n in _variants(b)]
    measure_probes(session, groups, budget, "bandwidth")
    for threads in counts if size is None else ():
        session.progress(f"arrays twice as large, {of_threads(threads)}")
        with pinned(threads), session.watched():
            session.memory(threads)


def sizes_for_levels(threads: int, arrays: int = 1) -> list[int]:
    """Bytes of the read array: from SMALLEST per thread to the rule's size, PER_OCTAVE to a doubling.

    arrays: how many of the largest there is to be room for.
    """
    first, last = SMALLEST * threads, dram_bytes(arrays)[0]
    steps = int(np.log2(last / first) * PER_OCTAVE) + 1
    sizes = first * 2 ** (np.arange(steps + 1) / PER_OCTAVE)
    return sorted({int(s) // (512 * threads) * 512 * threads for s in sizes})


def measure_levels(session: Session, counts: Sequence[int]) -> None:
    """Adds read rows of every size of sizes_for_levels(), in three access patterns, to the session.

    In each round every size takes its turn: what changes meanwhile changes all of them, and is no cache level.
    """
    groups = {}
    for threads in counts:
        session.progress(f"arrays of all sizes, {of_threads(threads)}")
        with pinned(threads):
            groups[threads] = [
                MAKE[op]("c", arrays, threads, session.level(arrays[0].nbytes, threads, RULE // 2))
                for size in sizes_for_levels(threads, ALL_SIZES * len(counts))
                for arrays in [stream_arrays(1, size // 8, threads)]
                for op in READS[:3]
            ]
    measure_probes(session, groups, LEVEL_SECONDS, "read bandwidth of all sizes", least=3)


@dataclass(frozen=True)
class Plateau:
    """A range of array sizes, in bytes, over which the bandwidth, in bytes/s, is level."""

    first: int
    last: int
    rate: float


def plateaus(sizes: Sequence[int], rates: Sequence[float], within: float = 0.12) -> list[Plateau]:
    """The level stretches of a bandwidth curve: runs of at least three sizes whose rates lie `within` of their median.

    Splits the curve where that leaves the least squared error in log(rate) plus a price per piece, by dynamic
    programming.
    """
    y = np.log(np.asarray(rates, float))
    n, price = y.size, 2 * (within / 2) ** 2
    best, cut = np.full(n + 1, np.inf), np.zeros(n + 1, int)
    best[0] = 0
    for end in range(1, n + 1):
        for begin in range(end):
            piece = y[begin:end]
            cost = best[begin] + float(np.sum((piece - np.median(piece)) ** 2)) + price
            if cost < best[end]:
                best[end], cut[end] = cost, begin
    found, end = [], n
    while end:
        begin = cut[end]
        middle = float(np.median(y[begin:end]))
        if end - begin >= 3 and np.all(np.abs(y[begin:end] - middle) <= within):
            found.append(Plateau(sizes[begin], sizes[end - 1], float(np.exp(middle))))
        end = begin
    return found[::-1]


class Point(NamedTuple):
    """Of the read array's size in bytes the bandwidth in bytes/s, and its share of the highest of all sizes."""

    size: int
    rate: Interval
    share: float


LEVELS: Sequence[Column[Point]] = (
    Column("size", lambda p: size(p.size)),
    Column(
        "GB/s [95 %]",
        lambda p: interval(p.rate.scaled(1e-9).as_dict(), 1),
        "GB/s: the fastest access pattern's median of all visits.",
    ),
    Column("", lambda p: "█" * max(1, round(30 * p.share)), left=True),
)
PLATEAUS: Sequence[Column[Plateau]] = (
    Column("from", lambda p: size(p.first)),
    Column("to", lambda p: size(p.last)),
    Column("GB/s", lambda p: f"{p.rate / 1e9:.1f}", "level within 12 %, at least three sizes long"),
)


def curve(metrics: Metrics, threads: int) -> list[Point]:
    """The read rows of one thread count, by size: of each the fastest pattern, by its median."""
    found: dict[int, Interval] = {}
    for row, f in metrics.pairs:
        if row["threads"] == threads and row["operation"] in READS:
            size, rate = row["dims"]["n"] * 8, Interval(**f["gbps"]).scaled(1e9)
            if size not in found or rate.value > found[size].value:
                found[size] = rate
    highest = max((rate.value for rate in found.values()), default=0.0)
    return [Point(size, found[size], found[size].value / highest) for size in sorted(found)]


def _print_levels(out: Console, metrics: Metrics, threads: int) -> None:
    points = curve(metrics, threads)
    out.print(table(f"Read bandwidth by size, {of_threads(threads)}", LEVELS, points))
    out.print(table("Plateaus", PLATEAUS, plateaus([p.size for p in points], [p.rate.value for p in points])))
    caches = ", ".join(f"L{n} {size(found)}" for n in (1, 2, 3) if (found := cache_bytes(n)))
    out.print(f"one instance of each cache, from sysfs: {caches or 'unknown'}\n")


def _print(out: Console, metrics: Metrics, levels: Sequence[int]) -> None:
    """levels: the thread counts whose bandwidth was measured by size; none: it wasn't."""
    machine, session = metrics.record["machine"], metrics.record["session"]
    out.print(f"{machine_line(machine, session)}; clock ticks of {seconds(session['timer_resolution'])}")
    for threads in levels:
        _print_levels(out, metrics, threads)
    if not levels:
        out.print(bandwidths_table(metrics))
    out.print(trust_text(metrics))


def _backends(text: str) -> list[str]:
    backends = text.split(",")
    if set(backends) - {"c", "numba"}:
        raise BadInput(f"--backend {text}: c, numba or c,numba")
    return backends


def _bytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 2**-8 <= size <= 2**22:
        raise BadInput(f"--size {text}: at least 2^-8 (4 KiB), at most 2^22 (4 TiB)")
    return int(size * 2**20) // 4096 * 4096


def _parser() -> Parser:
    parser = Parser(
        "stream", "Memory bandwidth: copy, scale, add, triad, update and read, with regular and non-temporal stores."
    )
    add_threads(parser)
    parser.add_argument(
        "--size", type=_bytes, metavar="MIB", help="MiB per array, instead of 8 times the last-level cache in reach"
    )
    add_pages(parser)
    parser.add_argument("--backend", type=_backends, default="c,numba", help="c, numba or both")
    parser.add_argument(
        "--levels", action="store_true", help="read bandwidth of every size from L1 to memory, plateaus found"
    )
    add_seconds(parser, 0.25, "time for each kernel")
    parser.add_save()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.levels and options.size:
        raise BadInput("--levels measures every size: without --size")
    backends = left_out(options.backend, options.threads)
    with measuring("stream", options, options.threads, first="bandwidth") as session:
        if options.levels:
            measure_levels(session, options.threads)
        else:
            measure(session, backends, options.size, options.seconds)
    done = kept(session, options)
    metrics = done.metrics
    levels = options.threads if options.levels else ()
    return shown(
        options,
        session.complete,
        metrics.record,
        lambda out: _print(out, metrics, levels),
        done.saved,
        failed=done.failed,
    )


if __name__ == "__main__":
    run(main)
