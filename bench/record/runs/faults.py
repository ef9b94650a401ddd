"""What makes a run no measurement, and a sample of it a disturbed one."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.quantities import plural
from bench.record.runs.run import INFERENCE, OPERANDS, Run, key
from bench.record.runs.work import work
from kernels.types import TYPES

SLOW = 3.0  # a part that takes this many times what it takes elsewhere in the session was disturbed,
WORTH = 0.01  # if that cost the run at least this share
SLOW_PART = "slow_part"
SUM = 1e-9  # relative: the parts of a sample make up its seconds


def all_faults(runs: Sequence[Run]) -> Iterator[str]:
    """What makes runs that the schema accepts no measurements, each with the run's number."""
    found = [f"run {i}: {fault}" for i, run in enumerate(runs) for fault in faults(run)]
    yield from found
    if found:
        return
    names = [key(run) for run in runs]
    yield from (f"run {i}: it is there twice" for i, name in enumerate(names) if name in names[:i])
    for i, (run, slow) in enumerate(zip(runs, slow_parts(runs), strict=True)):
        if run["marks"].get(SLOW_PART, []) != slow:
            yield f"run {i}: its parts mark {slow or 'no sample'} as slow, not {run['marks'].get(SLOW_PART, 'none')}"


def mark(runs: Sequence[Run]) -> None:
    """Marks the samples of slow_parts(), once more where samples were added since."""
    for run, slow in zip(runs, slow_parts(runs), strict=True):
        run["marks"].pop(SLOW_PART, None)
        if slow:
            run["marks"][SLOW_PART] = slow


def faults(run: Run) -> Iterator[str]:
    """What makes a run that the schema accepts no measurement."""
    if found := next(_odd(run), None):
        yield found
        return
    count = len(run["seconds"])
    said = plural(count, "sample")
    for name in ("rounds", "visits", "starts"):
        if len(run[name]) != count:
            yield f"{said} but {len(run[name])} {name}"
    yield from (f"{said}, but {mark} marks more" for mark, at in run["marks"].items() if max(at) >= count)
    parts = run["parts"]
    if not parts:
        return
    if set(parts) != set(work(run)):
        yield f"its parts are {', '.join(parts)}, not {', '.join(work(run))}"
    elif any(len(spent) != count for spent in parts.values()):
        yield f"{said}, but not of each part"
    elif not np.allclose(np.sum(list(parts.values()), axis=0), run["seconds"], rtol=SUM, atol=0):
        yield "the parts of a sample don't add up to its seconds"


def _odd(run: Run) -> Iterator[str]:
    """Numbers that make no model."""
    model, training = run["model"], run["what"] == "training"
    if run["phase"] not in (("step",) if training else INFERENCE):
        yield f"{run['what']} has no phase {run['phase']}"
    if set(run["types"]) != set(OPERANDS):
        yield f"it needs types of {' and '.join(OPERANDS)}"
    if training:
        if not 1 <= (run["interval"] or 0) <= model["layers"]:
            yield "training needs an interval of 1 to all layers"
    elif "heads" not in model or "vocabulary" not in model:
        yield "a Transformer has heads and a vocabulary"
    elif model["width"] % model["heads"]:
        yield f"width {model['width']} is no multiple of {model['heads']} heads"
    elif run["together"] is not None and run["together"] > model["heads"]:
        yield f"{run['together']} heads together, of {model['heads']}"
    yield from _stored(run)


def _stored(run: Run) -> Iterator[str]:
    """Weights that no operation multiplies, and accuracies of runs that need none."""
    weights, activations, linear = *(TYPES[run["types"][name]] for name in OPERANDS), run.get("linear")
    fitting = not weights.native and weights.accumulator == activations.name and run["what"] == "inference"
    if (linear and not fitting) or not (linear or weights.native):
        yield f"{linear or run['what']} of weights in {weights.name} and activations in {activations.name}"
    if "accuracy" in run and not linear:
        yield "it has an accuracy, but weights in their native type"
    for name in ("width", "ffn"):
        if run["model"][name] % weights.group:
            yield f"{name} {run['model'][name]} is no multiple of {weights.group}, the group of {weights.name}"


def slow_parts(runs: Sequence[Run]) -> list[list[int]]:
    """Of each run the samples in which a part took SLOW times what calls of its shape take elsewhere in the session.

    The same shapes on the same backend are compared, in whatever model; `elsewhere` is the median of all samples.
    """
    seen: dict[Any, list[float]] = defaultdict(list)
    for run in runs:
        for part, spent in run["parts"].items():
            seen[_shape(run, part)] += [s / _calls(run, part) for s in spent]
    usual = {shape: float(np.median(each)) for shape, each in seen.items()}
    found = []
    for run in runs:
        marked = set()
        for part, spent in run["parts"].items():
            expected = usual[_shape(run, part)] * _calls(run, part)
            marked |= {
                i
                for i, (s, whole) in enumerate(zip(spent, run["seconds"], strict=True))
                if s >= SLOW * expected and s - expected >= WORTH * whole
            }
        found.append(sorted(marked))
    return found


def _calls(run: Run, part: str) -> float:
    return float(work(run)[part][:, 0].sum())


def _shape(run: Run, part: str) -> Any:
    """Equal for parts on one backend whose calls do the same in equal shares, however many there are."""
    calls = work(run)[part] / [_calls(run, part), 1, 1, 1, 1]
    return run["backend"], run["isa"], run["threads"], calls.tobytes()
