"""python -m bench.stream: memory bandwidth as STREAM counts it, and with write-allocate; --levels: from L1 to memory.

Kernels and byte counts after McCalpin's STREAM, plus read-only and update; regular and non-temporal stores; C and Numba
(which can't emit non-temporal stores). Arrays are 8 times the last-level cache in reach unless --size says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Console

import kernels
from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.host.placement import pinned
from bench.host.sysfs import cache_bytes, llc_bytes
from bench.measure.arrays import LEAST, dram_bytes, stream_arrays
from bench.measure.groups import VISITS
from bench.measure.probes import MAKE
from bench.measure.run import kept, measuring
from bench.measure.session import Session
from bench.options import add_pages, add_seconds, add_threads
from bench.record.metrics import Metrics
from bench.record.probes import PROBES, READS
from bench.report.columns import Column
from bench.report.tables import bandwidths_table, table
from bench.report.text import machine_line, of_threads, seconds, trust_text

PER_OCTAVE = 3  # sizes per doubling in --levels
SMALLEST = 4 << 10


def _variants(backend: str) -> list[str]:
    """The probes that count bytes and that a backend has."""
    isa = kernels.chosen_isa()
    usable = {k.operation for k in kernels.available() if k.backend == backend and (backend != "c" or k.isa == isa)}
    return [name for name, kind in PROBES.items() if kind.unit == "byte" and name in usable]


def measure(session: Session, threads: int, size: int | None, backends: Sequence[str], budget: float) -> None:
    """Adds a row per kernel, backend and store flavour, on arrays of `size` bytes (None: the rule), to the session.

    budget: seconds for each of them.
    """
    by_rule, trusted = dram_bytes()
    if size is None and not trusted:
        session.distrust(f"arrays of {by_rule >> 20} MiB: memory has no room for {LEAST} times the last-level cache")
    size = by_rule if size is None else size
    level = "DRAM" if size >= LEAST * (llc_bytes() or 0) else session.level(size, threads)
    with pinned(threads), session.watched():
        arrays = stream_arrays(3, size // 8, threads)
        probes = [MAKE[name](backend, arrays, threads, level) for backend in backends for name in _variants(backend)]
        session.rows += [p.row for p in probes]
        for session.visit in range(VISITS):
            session.sample(probes, budget / VISITS)


def sizes_for_levels(threads: int) -> list[int]:
    """Bytes of the read array: from SMALLEST per thread to the rule's size, PER_OCTAVE to a doubling."""
    first, last = SMALLEST * threads, dram_bytes(1)[0]
    steps = int(np.log2(last / first) * PER_OCTAVE) + 1
    sizes = first * 2 ** (np.arange(steps + 1) / PER_OCTAVE)
    return sorted({int(s) // (512 * threads) * 512 * threads for s in sizes})


def measure_levels(session: Session, threads: int) -> None:
    """Adds read rows of every size of sizes_for_levels(), best of three access patterns, to the session."""
    for size in sizes_for_levels(threads):
        with pinned(threads), session.watched():
            arrays = stream_arrays(1, size // 8, threads)
            probes = [MAKE[op]("c", arrays, threads, session.level(size, threads)) for op in READS[:3]]
            session.sample(probes, 0.03)
            session.rows += [p.row for p in probes]


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


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


class Point(NamedTuple):
    """Of the read array's size in bytes the best bandwidth in bytes/s, and its share of the best of all sizes."""

    size: int
    rate: float
    share: float


LEVELS: Sequence[Column[Point]] = (
    Column("size", lambda p: _size(p.size)),
    Column("best GB/s", lambda p: f"{p.rate / 1e9:.1f}"),
    Column("", lambda p: "█" * max(1, round(50 * p.share)), left=True),
)
PLATEAUS: Sequence[Column[Plateau]] = (
    Column("from", lambda p: _size(p.first)),
    Column("to", lambda p: _size(p.last)),
    Column("GB/s", lambda p: f"{p.rate / 1e9:.1f}", "level within 12 %, at least three sizes long"),
)


def curve(metrics: Metrics, threads: int) -> list[Point]:
    """The read rows of one thread count, by size."""
    best: dict[int, float] = {}
    for row, f in metrics.pairs:
        if row["threads"] == threads and row["operation"] in READS:
            size = row["dims"]["n"] * 8
            best[size] = max(best.get(size, 0), f["best_gbps"] * 1e9)
    return [Point(size, best[size], best[size] / max(best.values())) for size in sorted(best)]


def _print_levels(out: Console, metrics: Metrics, threads: int) -> None:
    points = curve(metrics, threads)
    out.print(table(f"Read bandwidth by size, {of_threads(threads)}", LEVELS, points))
    out.print(table("Plateaus", PLATEAUS, plateaus([p.size for p in points], [p.rate for p in points])))
    caches = ", ".join(f"L{n} {_size(found)}" for n in (1, 2, 3) if (found := cache_bytes(n)))
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
    with measuring("stream", options, options.threads, first="bandwidth") as session:
        for threads in options.threads:
            session.progress(f"bandwidth, {of_threads(threads)}")
            if options.levels:
                measure_levels(session, threads)
                continue
            measure(session, threads, options.size, options.backend, options.seconds)
            if options.size is None:  # is it memory? arrays of once and twice the rule have to agree
                with pinned(threads), session.watched():
                    session.rows.append(session.memory(threads).row)
    metrics = kept(session, options.save)
    levels = options.threads if options.levels else ()
    return shown(
        options, session.complete, metrics.record, lambda out: _print(out, metrics, levels), record=options.save
    )


if __name__ == "__main__":
    run(main)
