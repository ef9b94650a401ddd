"""What is measured of whole models: GPT-2 generating tokens, in f32 and with weights in each type, in turns."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.escape.contestants import Known
from bench.measure.models.latency import Latency
from bench.measure.models.tasks import Task
from bench.measure.session import Session
from bench.models.schemes import HALVES, Scheme
from bench.models.text import random_text
from bench.workloads.model import find

JUDGED = 64
"""Random tokens at which logits are compared."""


def task(options: Any, names: Sequence[str], known: Known) -> Task:
    """Each type once on each backend: with activations rounded to 8 bits where that is asked for and there is such a
    kernel. Raises BadInput for a model whose matrices aren't made of whole groups.
    """
    model, chosen = find(options.model), []
    for element in options.types:
        for backend in names:
            for operation in ("linear_a8", "linear"):
                if (backend, operation, element) in known and not (element in HALVES and operation == "linear_a8"):
                    scheme = Scheme(element, operation)
                    scheme.check(model)
                    chosen.append((backend, scheme))
                    break
    return Task(model, "decode", options.length, tuple(names), stored=tuple(chosen))


def stage(session: Session, options: Any, threads: int, names: Sequence[str], known: Known) -> Callable[[], None]:
    """What does the runs on so many threads, which the progress knows of from now on."""
    latency = Latency(session, [task(options, names, known)], threads)
    latency.plan(options.seconds)

    def run() -> None:
        latency.judge(lambda model: random_text(model, min(JUDGED, options.length)))
        for _ in latency.measure(options.seconds):
            pass

    return run
