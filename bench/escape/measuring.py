"""What bench.escape measures: all sections that are asked for, in one session."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bench.errors import BadInput
from bench.escape.contestants import asked
from bench.escape.decode.measuring import stage, task
from bench.escape.layers.measuring import cases
from bench.escape.names import ACTIVATIONS
from bench.measure.probes import peak_types
from bench.measure.run import Kept, kept, left_out, measuring, say_left_out
from bench.record.metrics import Metrics
from bench.record.runs.faults import mark

DTYPE = "f32"
MODELS = "decode"
"""The section whose models aren't measured in groups."""


def measured(options: Any) -> Kept:
    """What the command's options ask for; its record is written. Raises BadInput where nothing can run it."""
    cases(options.layer)  # refused, if it is, before anything is measured
    backends = left_out(options.backends, options.threads)
    every = list(dict.fromkeys(name for names in backends.values() for name in names))
    wanted = asked(options, every)
    say_left_out(filter(None, wanted.values()))
    known = {key: reason for key, reason in wanted.items() if reason is None}
    if not known:
        raise BadInput(f"--types {','.join(options.types)}: {' and '.join(every)} have no kernel for any of them")
    if MODELS in options.sections:
        task(options, every, known)
    threads = sorted({1, *options.threads})  # hot limits are one core's
    most = len(options.types) * len(every) * (1 + len(ACTIVATIONS))
    with measuring("escape", options, threads, peak_types(DTYPE, options.types), stored=most) as session:
        parts = [import_module(f"bench.escape.{name}.measuring") for name in options.sections if name != MODELS]
        groups = [group for part in parts for group in part.groups(session, options, backends)]
        session.start()
        session.plan(groups, options.seconds)
        models = backends.items() if MODELS in options.sections else ()
        stages = [stage(session, options, count, names, known) for count, names in models]
        session.run(groups, options.seconds)
        for run in stages:
            run()
        session.finish()
    mark(session.runs)
    return kept(session, options, "-escape", lambda metrics: shows(metrics, options.sections))


def shows(metrics: Metrics, sections: Sequence[str]) -> bool:
    """Whether there is a figure in one of the sections."""
    return any(import_module(f"bench.escape.{name}.figures").entries(metrics) for name in sections)
