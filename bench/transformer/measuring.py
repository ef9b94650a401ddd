"""What the command measures: whole models on this project's backends, or beside other libraries."""

from collections.abc import Sequence
from typing import Any

from bench.errors import BadInput
from bench.measure.models.latency import Latency
from bench.measure.models.tasks import Task, tasks
from bench.measure.probes import peak_types
from bench.measure.run import Kept, kept, left_out, measuring, say_left_out, take_part
from bench.models import BACKENDS, libraries
from bench.models.schemes import Scheme, scheme_of
from bench.models.text import Text, random_text, token_ids, tokenised
from bench.models.weights import refuse
from bench.record.runs.faults import mark
from bench.transformer.libraries import LibraryLatency
from bench.transformer.rows import OURS, rows_of
from bench.workloads.model import Model
from kernels import UnavailableISA

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
    schemes = list(dict.fromkeys(scheme_of(name, options.activations) for name in options.weights_as))
    chosen = contestants(backends, schemes)
    for model, _ in wanted:
        for _, scheme in chosen:
            scheme.check(model)
    every = [(task, phases) for model, phases in wanted for task in tasks([model], lengths, backends, chosen)]
    return [task for task, phases in every if task.phase in phases]


def contestants(backends: Sequence[str], schemes: Sequence[Scheme]) -> tuple[tuple[str, Scheme], ...]:
    """The backends that have kernels for weights as they are to be stored; stderr tells what there is none for.

    Raises BadInput where no backend has any for one of the schemes.
    """
    found, lines = [], []
    for scheme in schemes:
        for backend in backends:
            try:
                scheme.kernel(backend)
            except (KeyError, UnavailableISA) as error:
                lines.append(str(error.args[0]))
            else:
                found.append((backend, scheme))
    say_left_out(lines)
    missing = next((scheme for scheme in schemes if scheme not in {one for _, one in found}), None)
    if missing:
        raise BadInput(f"--weights-as: no kernel for {missing.label} in {' and '.join(backends)}")
    return tuple(found)


def text_of(options: Any, model: Model) -> Text:
    """What accuracy is judged by. Raises BadInput as token_ids() and tokenised()."""
    if options.token_ids:
        return token_ids(options.token_ids, model)
    return tokenised(options.text, options.weights, model) if options.text else random_text(model)


def measured(options: Any, wanted: Sequence[tuple[Model, list[str]]], lengths: Sequence[int]) -> Kept:
    """What the session leaves. Raises BadInput as todo() and text_of(), and where --peers finds no library,
    NothingMeasured where nothing was measured, WrongResult where a library computes something else.
    """
    chosen = todo(options, wanted, lengths)
    present = take_part(libraries.missing(), libraries.present()) if options.peers else []
    texts = {task.model: text_of(options, task.model) for task in chosen if task.stored}
    peaks = peak_types(options.dtype, [scheme.element for task in chosen for _, scheme in task.stored])
    with measuring("transformer", options, [options.threads], peaks) as session:
        for model, _ in wanted:
            if told := model.beyond(max(lengths)):
                session.remark(told)
        if present:
            of_all: Latency | LibraryLatency = LibraryLatency(
                session, chosen, options.threads, options.weights, present
            )
        else:
            of_all = latency = Latency(session, chosen, options.threads, options.weights)
            latency.judge(texts.__getitem__)
        of_all.run(options.seconds)
    mark(session.runs)
    return kept(session, options, "-transformer", lambda metrics: rows_of(metrics, whole=bool(present)))
