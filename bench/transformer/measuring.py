"""What the command measures: whole models on this project's backends, or beside other libraries."""

from collections.abc import Sequence
from typing import Any

from bench.errors import BadInput
from bench.measure.run import Kept, NothingMeasured, kept, left_out, measuring, take_part
from bench.models import BACKENDS, libraries
from bench.models.weights import refuse
from bench.record.runs.faults import mark
from bench.transformer.latency import Latency
from bench.transformer.libraries import LibraryLatency
from bench.transformer.rows import OURS
from bench.transformer.tasks import Task, tasks
from bench.workloads.model import Model

LONGEST = 65536  # tokens that a record takes


def todo(options: Any, wanted: Sequence[tuple[Model, list[str]]], lengths: Sequence[int]) -> list[Task]:
    """What is to be measured. Raises BadInput for models that can't be run, and lengths beyond a checkpoint's."""
    for model, _ in wanted:
        refuse(model)
        if options.weights and max(lengths) > model.positions:
            raise BadInput(f"--length {max(lengths)}: {model.name}'s weights are for 1 to {model.positions} tokens")
    if max(lengths) > LONGEST:
        raise BadInput(f"--length {max(lengths)}: at most {LONGEST} tokens are measured; --counts takes more")
    asked = (OURS,) if options.peers else BACKENDS if options.backend == "all" else (options.backend,)
    backends = tuple(left_out(asked, [options.threads])[options.threads])
    return [task for model, phases in wanted for task in tasks([model], lengths, backends) if task.phase in phases]


def measured(options: Any, wanted: Sequence[tuple[Model, list[str]]], lengths: Sequence[int]) -> Kept:
    """What the session leaves. Raises BadInput as todo() and where --peers finds no library, NothingMeasured where
    nothing was measured, WrongResult where a library computes something else.
    """
    chosen = todo(options, wanted, lengths)
    present = take_part(libraries.missing(), libraries.present()) if options.peers else []
    with measuring("transformer", options, [options.threads], [options.dtype]) as session:
        if present:
            of_all: Latency | LibraryLatency = LibraryLatency(
                session, chosen, options.threads, options.weights, present
            )
        else:
            of_all = Latency(session, chosen, options.threads, options.weights)
        of_all.run(options.seconds)
    if not any(run["seconds"] for run in session.runs):
        raise NothingMeasured
    mark(session.runs)
    return kept(session, options, "-transformer")
