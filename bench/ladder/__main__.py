"""python -m bench.ladder: the climb from three loops to all cores on one layer, naive, tiled, packed, vector, threads.

Every rung is the same product, checked against float64, in C and in Numba. All but the last run on one thread; the FMA
peak is timed in the same rounds as the rungs that are measured against it. docs/ladder.md explains each step.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

import kernels
from bench.cli import Parser, run
from bench.errors import BadInput
from bench.host.sysfs import available_memory_bytes, cache_bytes
from bench.ladder.plot import staircase
from bench.ladder.steps import BACKENDS, RUNGS, Step, climb, headline
from bench.measure.probes import fma_probe
from bench.measure.run import add_dtype, add_seconds, add_thread_count, kept, measuring, shown
from bench.measure.session import Session
from bench.record.metrics import Metrics
from bench.record.store import load, save
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval, machine_line, of_threads, trust_text
from bench.workloads.model import find
from bench.workloads.shapes import Case
from kernels.types import DTYPES

STEPS: Sequence[Column[Step]] = (
    Column("rung", lambda s: s.rung, left=True),
    Column("in", lambda s: BACKENDS[s.backend], left=True),
    Column("threads", lambda s: str(s.threads)),
    Column(
        "GFLOP/s [95 %]",
        lambda s: interval(s.gflops.as_dict(), 2 if s.gflops.value < 10 else 1),
        "GFLOP/s: median with its bootstrap interval.",
    ),
    Column(
        "% of FMA peak",
        lambda s: f"{s.percent:.1f}",
        "% of FMA peak: that median over the best of the peak, timed in the same rounds on as many threads.",
    ),
    Column("x the rung below", lambda s: "" if s.gain is None else f"{s.gain:.2f}"),
    Column("what it changes", lambda s: s.change, "Naive, tiled and packed are scalar code.", left=True),
)


def _peaks(steps: Sequence[Step]) -> str:
    found = {(s.threads, s.isa): f"{s.peak:.1f} GFLOP/s on {of_threads(s.threads)}" for s in steps}
    return f"FMA peak ({', '.join(dict.fromkeys(s.isa for s in steps))}): {', '.join(found.values())}"


def for_page(metrics: Metrics, steps: Sequence[Step]) -> str:
    """The table for a page: heading lines on machine and product, then GitHub's kind of table."""
    machine, session = metrics.record["machine"], metrics.record["session"]
    lines = [
        f"{machine_line(machine, session)}; {metrics.record['ended'][:10]}, trust {metrics.trust['grade']}.",
        f"{headline(metrics)}. {_peaks(steps)}.",
        "",
        *markdown(STEPS, steps),
        "",
        caption_of(STEPS),
    ]
    return "\n".join(lines)


def _print(out: Console, metrics: Metrics, steps: Sequence[Step]) -> None:
    out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
    out.print(table(f"The climb: {headline(metrics)}", STEPS, steps, group=lambda s: s.backend))
    out.print(_peaks(steps))
    out.print(trust_text(metrics))


def measure(session: Session, case: Case, dtype: str, seconds: float) -> None:
    """Adds the rungs and, in the same rounds, the peak to the session: all but the last on one thread, then that one.

    Ctrl-C leaves what was finished of the two.
    """
    isa = {backend: session.isa if backend == "c" else None for backend in BACKENDS}
    for threads in session.threads:
        alone = threads == 1
        chosen = [
            kernels.find(rung.operation, dtype, backend, isa[backend])
            for rung in RUNGS
            if rung.alone == alone
            for backend in BACKENDS
        ]
        session.progress(f"{'one thread' if alone else f'{threads} threads'}: Numba compiles, then rounds of all rungs")
        peaks = [fma_probe(threads, dtype, name) for name in dict.fromkeys(kernel.isa for kernel in chosen)]
        session.measure(case, dtype, threads, chosen, seconds, beside=peaks)


def product(model: str, layer: str, m: int, n: int | None, k: int | None, dtype: str) -> Case:
    """The product to climb on. Weights are cold, as in inference, unless they fit into one core's L2 anyway.

    Raises BadInput for an unknown model or layer, a length that the model doesn't take, n without k, and a product
    that is too large for memory.
    """
    if (n is None) != (k is None):
        raise BadInput("give both --n and --k, or neither to take a layer's")
    if min(m, n or 1, k or 1) < 1:
        raise BadInput("--m, --n and --k must be at least 1")
    layers: tuple[str, ...] = ()
    weight = True
    if n is None or k is None:
        found = find(model)
        try:
            products = {p.layer: p for p in found.products(m)}
        except ValueError as error:
            raise BadInput(f"--m {m}: {error}") from error
        if layer not in products or products[layer].operation != "gemm":
            names = ", ".join(name for name, p in products.items() if p.operation == "gemm")
            raise BadInput(f"--layer {layer}: {found.name} multiplies matrices in {names}")
        n, k, weight = products[layer].n, products[layer].k, products[layer].weight
        layers = (f"{found.name} {layer}",)
    whole = Case("gemm", m, n, k, weight, layers)
    free = available_memory_bytes()
    if free and 4 * whole.bytes("f64") > free:  # the float64 reference and its bounds lie beside the operands
        raise BadInput(f"a product of {m} x {n} x {k} takes more memory than there is")
    return replace(whole, weight=weight and n * k * DTYPES[dtype].itemsize > (cache_bytes(2) or 0))


def _parser() -> Parser:
    parser = Parser("ladder", "The climb on one matrix product: naive, tiled, packed, vector, threads, in C and Numba.")
    parser.add_argument("record", nargs="?", type=Path, help="show this record's climb instead of measuring one")
    parser.add_argument("--model", default="BERT-Base", help="whose layer to multiply")
    parser.add_argument("--layer", default="ffn_up", help="which; python -m bench.layers lists them")
    parser.add_argument("--m", type=int, default=128, help="rows: tokens that enter the layer")
    parser.add_argument("--n", type=int, help="columns of a product of your own, with --k")
    parser.add_argument("--k", type=int, help="length of its sums")
    add_dtype(parser)
    add_thread_count(parser, what="of the last rung")
    add_seconds(parser, 0.5, "time for each rung")
    parser.add_save()
    parser.add_picture("results/ladder")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser


def _measured(options: Any) -> Metrics:
    case = product(options.model, options.layer, options.m, options.n, options.k, options.dtype)
    with measuring("ladder", options, {1, options.threads}, [options.dtype], first="the climb") as session:
        measure(session, case, options.dtype, options.seconds)
    return kept(session, None)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    metrics = load(options.record) if options.record else _measured(options)
    if options.save:
        save(metrics.record, options.save)
    try:
        steps = climb(metrics)
    except ValueError as error:
        raise BadInput(f"{options.record}: {error}") from error
    pictures = staircase(metrics, steps, headline(metrics), options.picture)
    complete = metrics.record["complete"]
    if options.markdown and not options.json:
        return shown(options, complete, None, lambda out: print(for_page(metrics, steps)))
    document = {
        "record": metrics.record,
        "steps": [s.as_dict() for s in steps],
        "pictures": list(map(str, pictures)),
    }
    return shown(options, complete, document, lambda out: _print(out, metrics, steps), options.save, pictures)


if __name__ == "__main__":
    run(main)
