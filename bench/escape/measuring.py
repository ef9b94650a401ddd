"""What bench.escape measures: the groups of all sections that are asked for, in one session."""

from importlib import import_module
from typing import Any

from bench.errors import BadInput
from bench.escape.layers.measuring import cases, small_kernels
from bench.host.placement import isa_in_use
from bench.measure.run import Kept, kept, left_out, measuring

DTYPE = "f32"


def measured(options: Any) -> Kept:
    """What the command's options ask for; its record is written. Raises BadInput where nothing can run it."""
    backends = left_out(options.backends, options.threads)
    every = list(dict.fromkeys(name for names in backends.values() for name in names))
    if not any(small_kernels(case, options, isa_in_use(), every) for case in cases(options.layer)):
        asked = f"--types {','.join(options.types)} --activations {','.join(options.activations)}"
        raise BadInput(f"{asked}: {' and '.join(every)} have no kernel for them")
    threads = sorted({1, *options.threads})  # hot limits are one core's
    most = 2 * len(options.types) * len(options.backends) * len(options.activations)
    with measuring("escape", options, threads, [DTYPE], stored=most) as session:
        parts = [import_module(f"bench.escape.{name}.measuring") for name in options.sections]
        groups = [group for part in parts for group in part.groups(session, options, backends)]
        session.start()
        session.run(groups, options.seconds)
        session.finish()
    return kept(session, options, "-escape")
