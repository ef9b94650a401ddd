"""python -m bench.ladder: the climb from three loops to all cores on one layer, naive, tiled, packed, vector, threads.

Every rung is the same product, checked against float64, in C and in Numba. All but the last run on one thread; the FMA
peak is timed in the same rounds as the rungs that are measured against it. docs/ladder.md explains each step.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kernels
from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output
from bench.host.placement import thread_counts
from bench.host.sysfs import available_memory_bytes, cache_bytes
from bench.ladder.plot import staircase
from bench.ladder.steps import BACKENDS, RUNGS, Step, climb, headline
from bench.measure.probes import fma_probe
from bench.measure.session import Session
from bench.record.metrics import Metrics
from bench.record.store import load, save
from bench.report.tables import table
from bench.report.text import interval, machine_line, trust_text
from bench.workloads.model import find
from bench.workloads.shapes import Case
from kernels.types import DTYPES

HEADINGS = ("<rung", "<in", "threads", "GFLOP/s [95 %]", "% of FMA peak", "x the rung below", "<what it changes")
CAPTION = (
    "GFLOP/s: median with its bootstrap interval. % of FMA peak: that median over the best of the peak, timed in the "
    "same rounds on as many threads. Naive, tiled and packed are scalar code."
)


def _cells(step: Step) -> list[str]:
    gain = "" if step.gain is None else f"{step.gain:.2f}"
    rate = interval(step.gflops.as_dict(), 2 if step.gflops.value < 10 else 1)
    return [step.rung, BACKENDS[step.backend], str(step.threads), rate, f"{step.percent:.1f}", gain, step.change]


def _peaks(steps: Sequence[Step]) -> str:
    found = {(s.threads, s.isa): f"{s.peak:.1f} GFLOP/s on {s.threads} thread{'s' * (s.threads > 1)}" for s in steps}
    return f"FMA peak ({', '.join(dict.fromkeys(s.isa for s in steps))}): {', '.join(found.values())}"


def markdown(metrics: Metrics, steps: Sequence[Step]) -> str:
    """The table for a page: heading lines on machine and product, then GitHub's kind of table."""
    machine, session = metrics.record["machine"], metrics.record["session"]
    lines = [
        f"{machine_line(machine, session)}; {metrics.record['created'][:10]}, trust {metrics.trust['grade']}.",
        f"{headline(metrics)}. {_peaks(steps)}.",
        "",
        "| " + " | ".join(heading.lstrip("<") for heading in HEADINGS) + " |",
        "|" + "|".join("---" if heading.startswith("<") else "--:" for heading in HEADINGS) + "|",
        *("| " + " | ".join(_cells(step)) + " |" for step in steps),
        "",
        CAPTION,
    ]
    return "\n".join(lines)


def _print(metrics: Metrics, steps: Sequence[Step]) -> None:
    out = console()
    out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
    made = table(f"The climb: {headline(metrics)}", HEADINGS, caption=CAPTION)
    for before, step in zip([None, *steps], steps, strict=False):
        if before is not None and before.backend != step.backend:
            made.add_section()
        made.add_row(*_cells(step))
    out.print(made)
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
    parser.add_argument("--dtype", choices=list(DTYPES), default="f32", help="of all operands")
    parser.add_argument("--threads", default="all", help="of the last rung; all: one per physical core")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each rung")
    parser.add_argument("--record", dest="save", type=output, help="write the record here")
    parser.add_argument("--picture", type=output, default=Path("results/ladder"), help="without .png and .svg")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser


def _measured(options: Any) -> Metrics:
    if not 0 < options.seconds <= 60:
        raise BadInput(f"--seconds {options.seconds:g}: more than 0, at most 60")
    counts = thread_counts(options.threads)
    if len(counts) != 1:
        raise BadInput(f"--threads {options.threads}: one count; the lower rungs run on one thread")
    case = product(options.model, options.layer, options.m, options.n, options.k, options.dtype)
    with console(stderr=True).status("the climb") as status:
        session = Session("python -m bench.ladder", {1, *counts}, [options.dtype], status.update)
        try:
            measure(session, case, options.dtype, options.seconds)
            session.complete = True
        except KeyboardInterrupt:
            if not session.rows:
                raise
            console(stderr=True).print("interrupted: what was measured so far follows")
    return session.metrics()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    metrics = load(options.record) if options.record else _measured(options)
    record = metrics.record
    try:
        steps = climb(metrics)
    except ValueError as error:
        raise BadInput(f"{options.record}: {error}") from error
    if options.save:
        save(record, options.save)
    pictures = staircase(metrics, steps, headline(metrics), options.picture)
    if options.json:
        print_json({"record": record, "steps": [s.as_dict() for s in steps], "pictures": list(map(str, pictures))})
    elif options.markdown:
        print(markdown(metrics, steps))
    else:
        _print(metrics, steps)
        print(*(f"picture: {path}" for path in pictures), sep="\n")
        if options.save:
            print(f"record: {options.save}")
    return 0 if record["complete"] else 130


if __name__ == "__main__":
    run(main)
