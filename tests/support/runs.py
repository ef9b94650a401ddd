"""Runs of whole models with made-up seconds, whose figures can be worked out by hand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

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
