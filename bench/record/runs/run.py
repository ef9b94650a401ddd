"""A run of a record: a whole model, or a step of training, and its samples. bench.record.runs.work has its FLOPs."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

What = Literal["inference", "training"]
INFERENCE = ("encode", "prefill", "decode")
"""Phases of inference; decode generates `length` tokens one by one, from an empty cache. Training has one: "step"."""
OPERANDS = ("weights", "activations")


Figure = dict[str, float]
"""An Interval: value, low, high."""


class ModelNumbers(TypedDict):
    """What a model's FLOPs and bytes follow from. heads and vocabulary: of a Transformer, not of a chain of layers."""

    name: str
    layers: int
    width: int
    ffn: int
    heads: NotRequired[int]
    vocabulary: NotRequired[int]


class Accuracy(TypedDict):
    """How far a model with stored weights is from the same one in its native type, over `positions` of texts.

    weights       "random", or a "checkpoint"
    text          "random" tokens, or a "given" text
    max_error, rms_error   of the logits; of an encoder, which has none, of the hidden states
    rms           of what they are compared with, its mean over a position's logits taken off: they don't matter
    kl, kl_most   Kullback-Leibler divergence from the native model's distribution of the next token, in nats, mean and
                  largest; it and what follows is None for an encoder
    same_top      share of positions with the same likeliest token
    top_change    RMS change of the probability of the native model's likeliest token
    perplexity, native_perplexity   of the text; None where the weights are random
    """

    positions: int
    weights: Literal["random", "checkpoint"]
    text: Literal["random", "given"]
    max_error: float
    rms_error: float
    rms: float
    kl: float | None
    kl_most: float | None
    same_top: float | None
    top_change: float | None
    perplexity: float | None
    native_perplexity: float | None


class Run(TypedDict):
    """One model, phase and length on one backend; sample i took seconds[i]. record.schema.json says more.

    isa        of a library its version
    length     tokens that enter together, or that are generated
    interval   training: layers from one checkpoint to the next; None otherwise
    together   inference: heads that attend at once; None otherwise
    parts      seconds that each sample spent on each part; {}: only the whole was timed
    held       training: bytes that a step held at most, as counted and as tracemalloc saw them; None: not measured
    linear     where weights are only stored, the operation of linear layers, one of kernels.operations.LINEAR
    """

    what: What
    model: ModelNumbers
    phase: str
    length: int
    interval: int | None
    together: int | None
    backend: str
    isa: str
    threads: int
    types: dict[str, str]
    seconds: list[float]
    rounds: list[int]
    visits: list[int]
    starts: list[float]
    marks: dict[str, list[int]]
    parts: dict[str, list[float]]
    held: dict[str, int] | None
    linear: NotRequired[str]
    accuracy: NotRequired[Accuracy]


class PartFigures(TypedDict):
    """Of one part of a model, over all layers. seconds: None where only the whole was timed."""

    calls: int
    flops: float
    cold_bytes: float
    hot_bytes: float
    seconds: Figure | None
    bound_seconds: float | None
    percent_of_roof: Figure | None


class RunFigures(TypedDict):
    """What follows from one run; which of them, goes by what was measured.

    percent_of_roof  the bound by the roofs of a sample's round over its seconds
    over_unit        seconds over those of the unit in the same round: bench.record.runs.figures.is_unit()
    speedup          of stored weights: the native model's seconds over this one's, in the same round
    byte_ratio       of stored weights: bytes from where weights are that the native model reads, over this one's
    """

    seconds: Figure
    tokens_per_second: Figure
    gflops: Figure
    gbps: Figure
    parts: dict[str, PartFigures]
    bound_seconds: NotRequired[float]
    percent_of_roof: NotRequired[Figure]
    over_unit: NotRequired[Figure]
    bound_over_unit: NotRequired[float]
    speedup: NotRequired[Figure]
    byte_ratio: NotRequired[float]
    grade: NotRequired[Literal["A", "B", "C", "D"]]
    note: NotRequired[str]


def make_run(
    what: What,
    model: ModelNumbers,
    phase: str,
    length: int,
    backend: str,
    isa: str,
    threads: int,
    dtype: str,
    *,
    interval: int | None = None,
    together: int | None = None,
    held: dict[str, int] | None = None,
    stored: tuple[str, str] | None = None,
) -> Run:
    """A run without samples; add_run() adds them. stored: the type that weights are only stored in, their operation."""
    run: Run = {
        "what": what,
        "model": {**model},
        "phase": phase,
        "length": length,
        "interval": interval,
        "together": together,
        "backend": backend,
        "isa": isa,
        "threads": threads,
        "types": dict.fromkeys(OPERANDS, dtype),
        "seconds": [],
        "rounds": [],
        "visits": [],
        "starts": [],
        "marks": {},
        "parts": {},
        "held": held,
    }
    if stored:
        run["types"]["weights"], run["linear"] = stored
    return run


def add_run(
    run: Run,
    seconds: float | Mapping[str, float],
    start: float,
    round_: int,
    visit: int,
    preempted: bool = False,
) -> None:
    """Adds a sample: its seconds, or those of its parts. preempted: a thread lost its CPU meanwhile."""
    if isinstance(seconds, Mapping):
        for name, spent in seconds.items():
            run["parts"].setdefault(name, []).append(spent)
        seconds = sum(seconds.values())
    if preempted:
        run["marks"].setdefault("preempted", []).append(len(run["seconds"]))
    run["seconds"].append(seconds)
    run["rounds"].append(round_)
    run["visits"].append(visit)
    run["starts"].append(start)


def key(run: Run) -> tuple[Any, ...]:
    """What a record has once: two runs with equal keys are the same measurement. The model counts by its numbers."""
    model, types = (tuple(sorted(run[name].items())) for name in ("model", "types"))
    where = run["backend"], run["isa"], run["threads"]
    return (run["what"], model, run["phase"], run["length"], run["interval"], *where, types, run.get("linear"))


def good(run: Run) -> list[int]:
    """The samples that count: those without a mark where they are more than half, otherwise all."""
    marked = {i for at in run["marks"].values() for i in at}
    unmarked = [i for i in range(len(run["seconds"])) if i not in marked]
    return unmarked if 2 * len(unmarked) > len(run["seconds"]) else list(range(len(run["seconds"])))
