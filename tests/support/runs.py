"""Runs of whole models, and rows of all that is measured, with made-up seconds that can be worked out by hand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bench.escape.chip.figures import SET
from bench.measure.session import Session
from bench.record.runs.run import ModelNumbers, Run, add_run, make_run
from bench.record.runs.work import work
from support import records

BERT: ModelNumbers = {"name": "BERT-Base", "layers": 2, "width": 32, "ffn": 64, "heads": 4, "vocabulary": 50}
GPT2: ModelNumbers = {"name": "GPT-2", "layers": 2, "width": 32, "ffn": 128, "heads": 4, "vocabulary": 50}
CHAIN: ModelNumbers = {"name": "FFN chain", "layers": 8, "width": 32, "ffn": 128}
VISITS = (0, 0, 0, 1, 1, 1, 2, 2, 2)


def inference(
    model: ModelNumbers = BERT,
    phase: str = "encode",
    length: int = 128,
    seconds: Sequence[float] = (1.0,) * 9,
    backend: str = "c",
    parts: bool = True,
    first: int = 0,
    **other: Any,
) -> Run:
    """One sample a round from round `first` on; every part takes as much."""
    run = make_run("inference", model, phase, length, backend, other.pop("isa", "avx2"), 1, "f32", together=4)
    run |= other
    names = list(work(run))
    for i, (spent, visit) in enumerate(zip(seconds, VISITS, strict=False)):
        each = {name: spent / len(names) for name in names}
        add_run(run, each if parts else spent, float(i), first + i, visit)
    return run


def training(interval: int, seconds: Sequence[float] = (1.0,) * 9, counted: int = 1000) -> Run:
    """A step of CHAIN, one a round."""
    held = {"counted": counted, "traced": counted + 10}
    run = make_run("training", CHAIN, "step", 16, "c", "avx2", 1, "f32", interval=interval, held=held)
    for i, (spent, visit) in enumerate(zip(seconds, VISITS, strict=False)):
        add_run(run, spent, float(i), i, visit)
    return run


def roofs(session: Session) -> None:
    """Made-up ones, as if they had been measured before: those of a session take a while."""
    session.rows += [row | {"isa": session.isa} for row in (records.fma(), records.read())]
    session.rounds += len(records.ROUNDS)
    before = records.STARTS[-1] + 1
    session.began -= before
    session.started -= timedelta(seconds=before)


def one_row(operation: str, types: Any, seconds: float, **other: Any) -> Any:
    dims = {"n": 1024, "k": 1024} | ({"m": 1} if operation == "linear_a8" else {}) | other.pop("dims", {})
    fields = {"cold": ["w"], "layers": ["GPT-2 o"]} | other
    starts = [start + 0.2 for start in records.STARTS]
    return records.sampled("kernel", operation, types, 1, dims, [seconds] * 9, starts, **fields)


def every_row() -> list[Any]:
    """Of one layer, of working sets and of densities two each, in f32 and another type or format."""
    four: Any = {"w": "i4g32"}
    rows = [one_row("gemv_t", "f32", 2.1e-4), one_row("linear_a8", four, 5e-5)]
    for level, n, seconds in (("L1", 8, 1e-6), ("DRAM", 2048, 4.2e-4)):
        hot: Any = {"layers": [SET], "level": level, "cold": [], "dims": {"n": n}}
        rows += [one_row("gemv", "f32", seconds, **hot), one_row("linear_a8", four, seconds / 4, **hot)]
    for percent, seconds in ((10, 5e-5), (60, 4e-4)):
        layers = [f"density {percent} %"]
        rows.append(one_row("gemv", "f32", 2.1e-4, layers=layers))
        rows.append(one_row("gemv_bitmap", "f32", seconds, layers=layers, dims={"nnz": 1024 * 1024 * percent // 100}))
    return [*rows, *(records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92)))]


def every_run(samples: int = 9) -> list[Run]:
    """A model with weights in two types, one that is encoded, and training, all with so many samples."""
    stored = {"types": {"weights": "i4g32", "activations": "f32"}, "linear": "linear_a8"}
    whole = (1.0,) * samples
    models = [
        inference(GPT2, "decode", 16, (1.0,) * samples),
        inference(GPT2, "decode", 16, (0.5,) * samples, **stored),
    ]
    return [*models, inference(seconds=whole), *(training(k, whole) for k in (8, 4, 2, 1))]
