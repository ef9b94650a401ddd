"""python -m bench.stream: memory bandwidth as STREAM counts it, and with write-allocate; --levels: from L1 to memory.

Kernels and byte counts after McCalpin's STREAM, plus read-only and update; regular and non-temporal stores; C and Numba
(which can't emit non-temporal stores). Arrays are 8 times the last-level cache in reach unless --size says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import kernels
from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output
from bench.host.placement import pinned, thread_counts
from bench.host.sysfs import cache_bytes, llc_bytes
from bench.measure.arrays import LEAST, dram_bytes, stream_arrays
from bench.measure.probes import stream_probe
from bench.measure.session import Session
from bench.measure.timing import interleave
from bench.record.metrics import Metrics
from bench.record.store import save
from bench.report.tables import probes_table, table
from bench.report.text import machine_line, seconds, trust_text

OPERATIONS = ("copy", "scale", "add", "triad", "update", "read")
FLAVOURS = {"read": ("", "_2", "_4", "_8"), "update": ("",)}
PER_OCTAVE = 3  # sizes per doubling in --levels
SMALLEST = 4 << 10


def _variants(backend: str) -> list[str]:
    """The registry's STREAM operations of a backend, in STREAM's order."""
    names = [op + flavour for op in OPERATIONS for flavour in FLAVOURS.get(op, ("", "_nt"))]
    isa = kernels.chosen_isa()
    usable = {k.operation for k in kernels.available() if k.backend == backend and (backend != "c" or k.isa == isa)}
    return [name for name in names if name in usable]


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
        probes = [
            stream_probe(name, backend, arrays, threads, level) for backend in backends for name in _variants(backend)
        ]
        session.add_samples(probes, interleave([p.variant for p in probes], budget))
        session.rows += [p.row for p in probes]


def sizes_for_levels(threads: int) -> list[int]:
    """Bytes of the read array: from SMALLEST per thread to the rule's size, PER_OCTAVE to a doubling."""
    first, last = SMALLEST * threads, dram_bytes(1)[0]
    steps = int(np.log2(last / first) * PER_OCTAVE) + 1
    sizes = first * 2 ** (np.arange(steps + 1) / PER_OCTAVE)
    return sorted({int(s) // (512 * threads) * 512 * threads for s in sizes})


def measure_levels(session: Session, threads: int, advance: Any) -> None:
    """Adds read rows of every size of sizes_for_levels(), best of three access patterns, to the session."""
    for size in sizes_for_levels(threads):
        with pinned(threads), session.watched():
            arrays = stream_arrays(1, size // 8, threads)
            probes = [
                stream_probe(op, "c", arrays, threads, session.level(size, threads))
                for op in ("read", "read_2", "read_4")
            ]
            session.add_samples(probes, interleave([p.variant for p in probes], 0.03, warm_up=0.02))
            session.rows += [p.row for p in probes]
        advance()


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


def _curve(metrics: Metrics, threads: int) -> tuple[list[int], list[float]]:
    """(bytes, best bytes/s) of the read rows of one thread count, by size."""
    best: dict[int, float] = {}
    for row, f in metrics.pairs:
        if row["threads"] == threads and row["operation"].startswith("read"):
            size = row["dims"]["n"] * 8
            best[size] = max(best.get(size, 0), f["best_gbps"] * 1e9)
    return sorted(best), [best[size] for size in sorted(best)]


def _print_levels(metrics: Metrics, threads: int) -> None:
    sizes, rates = _curve(metrics, threads)
    out = console()
    made = table(f"Read bandwidth by size, {threads} thread{'s' * (threads > 1)}", ("size", "best GB/s", "<"))
    for size, rate in zip(sizes, rates, strict=True):
        made.add_row(_size(size), f"{rate / 1e9:.1f}", "█" * max(1, round(50 * rate / max(rates))))
    out.print(made)
    steps = table("Plateaus", ("from", "to", "GB/s"), caption="level within 12 %, at least three sizes long")
    for p in plateaus(sizes, rates):
        steps.add_row(_size(p.first), _size(p.last), f"{p.rate / 1e9:.1f}")
    out.print(steps)
    caches = ", ".join(f"L{n} {_size(found)}" for n in (1, 2, 3) if (found := cache_bytes(n)))
    out.print(f"one instance of each cache, from sysfs: {caches or 'unknown'}\n")


def _parser() -> Parser:
    parser = Parser(
        "stream", "Memory bandwidth: copy, scale, add, triad, update and read, with regular and non-temporal stores."
    )
    parser.add_argument("--threads", default="1,all", help="thread counts; all: one per physical core")
    parser.add_argument(
        "--size", type=float, metavar="MIB", help="MiB per array, instead of 8 times the last-level cache in reach"
    )
    parser.add_argument("--backend", default="c,numba", help="c, numba or both")
    parser.add_argument(
        "--levels", action="store_true", help="read bandwidth of every size from L1 to memory, plateaus found"
    )
    parser.add_argument("--seconds", type=float, default=0.25, help="time for each kernel")
    parser.add_argument("--record", type=output, help="write the record here")
    return parser


def _check(options: Any) -> tuple[list[int], list[str], int | None]:
    backends = options.backend.split(",")
    if not backends or set(backends) - {"c", "numba"}:
        raise BadInput(f"--backend {options.backend}: c, numba or c,numba")
    if not 0 < options.seconds <= 60:
        raise BadInput(f"--seconds {options.seconds:g}: more than 0, at most 60")
    if options.size is not None and not 2**-8 <= options.size <= 2**22:
        raise BadInput(f"--size {options.size:g}: at least 2^-8 (4 KiB), at most 2^22 (4 TiB)")
    size = None if options.size is None else int(options.size * 2**20) // 4096 * 4096
    return thread_counts(options.threads), backends, size


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    counts, backends, size = _check(options)
    session = Session("python -m bench.stream", counts, dtypes=())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=None)
        try:
            for threads in counts:
                progress.update(task, description=f"bandwidth, {threads} threads")
                if options.levels:
                    measure_levels(session, threads, lambda: progress.advance(task))
                    continue
                measure(session, threads, size, backends, options.seconds)
                if size is None:  # is it memory? arrays of once and twice the rule have to agree
                    with pinned(threads), session.watched():
                        session.rows.append(session.memory(threads).row)
            session.complete = True
        except KeyboardInterrupt:
            console(stderr=True).print("interrupted: what was measured so far follows")
    metrics = session.metrics()
    record = metrics.record
    if options.record:
        save(record, options.record)
    if options.json:
        print_json(record)
    else:
        out = console()
        out.print(
            machine_line(record["machine"], record["session"])
            + f"; clock ticks of {seconds(record['session']['timer_resolution'])}"
        )
        for count in counts if options.levels else ():
            _print_levels(metrics, count)
        if not options.levels:
            out.print(probes_table(metrics.rows, metrics.row_figures))
        out.print(trust_text(metrics))
        if options.record:
            print(f"record: {options.record}")
    return 0 if session.complete else 130


if __name__ == "__main__":
    run(main)
