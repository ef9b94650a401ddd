"""What bench.memory measures: a step of training at every checkpoint interval, in three visits."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench.host.placement import pinned
from bench.measure.groups import VISITS
from bench.measure.run import Kept, kept, measuring
from bench.measure.session import Session
from bench.measure.timing import OPENMP, Samples, collect
from bench.memory.chain import Chain, account
from bench.memory.experiment import NAME, compared
from bench.memory.sizes import Sizes
from bench.record.runs.run import ModelNumbers, Run, add_run, make_run

LEVELS = ("L1", "L2", "L3", "DRAM")
MIXED = "numpy"
"""The pool of a step: between products NumPy computes on one thread, and the others' CPU clocks stand still."""


def measured(options: Any, sizes: Sizes, intervals: Sequence[int]) -> Kept:
    """The session's metrics. Raises Disagreement and WrongResult as account() does, NothingMeasured where no step was
    timed; Ctrl-C and SIGTERM leave the rounds that have been.
    """
    with measuring("memory", options, [options.threads], ["f32"], first="building the chain") as session:
        chain = Chain(sizes, options.threads)
        with pinned(options.threads):
            session.progress(f"checking memory and gradients at {len(intervals)} intervals")
            held = account(chain, intervals)
        session.start()
        experiment(session, chain, held, options.rounds)
        session.finish()
    return kept(session, options, "-memory", compared)


def experiment(session: Session, chain: Chain, held: dict[int, tuple[int, int]], rounds: int) -> None:
    """Times a step at every interval in each round, shuffled, beside the roofs; three visits share the rounds.

    held: interval -> bytes as counted and as traced
    """
    runs = {k: _run(session, chain, k, *of) for k, of in held.items()}
    calls: dict[int, Callable[[], None]] = {k: partial(chain.step, k) for k in runs}
    order, done = random.Random(0), 0
    for session.visit in range(min(VISITS, rounds)):
        session.probe_round(chain.threads)
        with pinned(chain.threads), session.watched():
            for _ in range(-(-(rounds - done) // (VISITS - session.visit))):
                session.progress(f"training steps at {len(runs)} intervals", done / rounds)
                _round(session, chain.threads, order.sample(list(calls), len(calls)), calls, runs)
                done += 1


def _round(
    session: Session, threads: int, order: Sequence[int], calls: dict[int, Callable[[], None]], runs: dict[int, Run]
) -> None:
    probes = session.references(threads, [("f32", session.isa)], LEVELS)
    variants = [*(probe.variant for probe in probes), *([calls[k]] for k in order)]
    samples = [Samples(probe.calls) for probe in probes] + [Samples(1) for _ in order]
    pools = [OPENMP] * len(probes) + [MIXED] * len(order)
    hot = [probe.row["level"] not in ("DRAM", "core") for probe in probes] + [False] * len(order)
    collect(variants, samples, [1] * len(variants), pools=pools, hot=hot)
    first = session.new_rounds(samples)
    for probe, new in zip(probes, samples, strict=False):
        session.add_probe(probe, new, first)
    for k, new in zip(order, samples[len(probes) :], strict=True):
        if not runs[k]["seconds"]:
            session.runs.append(runs[k])
        add_run(runs[k], new.seconds[0], new.starts[0] - session.began, first, session.visit, bool(new.preempted))


def _run(session: Session, chain: Chain, interval: int, counted: int, traced: int) -> Run:
    sizes = chain.sizes
    model: ModelNumbers = {"name": NAME, "layers": sizes.layers, "width": sizes.width, "ffn": sizes.ffn}
    of = (model, "step", sizes.rows, "c", session.isa, chain.threads, "f32")
    return make_run("training", *of, interval=interval, held={"counted": counted, "traced": traced})
