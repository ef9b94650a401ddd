"""What a run does: FLOPs and bytes of every call, from the model's numbers alone.

Nothing else of a model is kept in a record, so that one which nobody else has can be checked where it never ran.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bench.record.runs.run import Run, What, key
from kernels.operations import OPERATIONS
from kernels.types import TYPES, Types


class Call(NamedTuple):
    """So many equal calls; of each the FLOPs, the bytes that come from where weights are, those of activations, and
    what of these only goes back to where it came from: changed in place.
    """

    calls: int
    flops: int
    cold: int
    hot: int
    back: int


LINEAR = ("qkv", "o", "ffn_up", "ffn_down", "lm_head")
"""The parts whose weights may be stored in another type."""


def multiplied(run: Run) -> str:
    """The type whose peak the products of LINEAR are held against."""
    linear, weights = run.get("linear"), run["types"]["weights"]
    return OPERATIONS[linear].multiplied({"w": weights}) if linear else TYPES[weights].accumulator


def call(operation: str, dims: Mapping[str, int], types: str | Types, cold: str | None = None, calls: int = 1) -> Call:
    """cold: the operand that comes from where weights are; None: none does."""
    op = OPERATIONS[operation]
    moved = op.bytes(dims, types)
    from_memory = 0 if cold is None else op.operand_bytes(dims, types)[cold]
    return Call(calls, op.flops(dims), from_memory, moved - from_memory, moved - op.delivered(dims, types))


def work(run: Run) -> dict[str, np.ndarray]:
    """part -> a row for every distinct call, with Call's columns; in the order of the parts."""
    return _work(*key(run), run["together"])


@cache
def _work(
    what: What,
    model: tuple[tuple[str, Any], ...],
    phase: str,
    length: int,
    interval: int | None,
    backend: str,
    isa: str,
    threads: int,
    types: tuple[tuple[str, str], ...],
    linear: str | None,
    together: int | None,
) -> dict[str, np.ndarray]:
    numbers, of = dict(model), dict(types)
    if what == "training":
        assert interval is not None
        parts = _training(numbers, length, interval, of)
    else:
        parts = _inference(numbers, phase, length, together or numbers["heads"], of, linear)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for part, calls in parts:
        found[part].append(np.atleast_2d(np.asarray(calls, float)))
    return {part: np.concatenate(calls) for part, calls in found.items()}


Part = tuple[str, Call | np.ndarray]


def _inference(
    model: Mapping[str, int], phase: str, length: int, together: int, types: Mapping[str, str], stored: str | None
) -> Iterator[Part]:
    """The calls of bench.models.inference: those of one pass, or when decoding of one pass per token."""
    layers, d, f = model["layers"], model["width"], model["ffn"]
    decoder, passes = phase != "encode", length if phase == "decode" else 1
    m = 1 if phase == "decode" else length
    weights, activations = types["weights"], types["activations"]
    size = TYPES[activations].bytes(d)  # of one row

    def linear(name: str, k: int, n: int) -> Part:
        if stored:
            return name, call(stored, {"m": m, "n": n, "k": k}, {"w": weights}, "w", layers * passes)
        if m == 1:
            return name, call("gemv_t", {"n": n, "k": k}, {"w": weights}, "w", layers * passes)
        return name, call("gemm_prepacked", {"m": m, "n": n, "k": k}, {"b": weights}, "b", layers * passes)

    def rows(name: str, operation: str, n: int, calls: int, cold: str | None = None) -> Part:
        return name, call(operation, {"m": m, "n": n}, activations, cold, calls * passes)

    yield "embedding", Call(passes, 0, m * size, m * size, 0)
    yield rows("embedding", "residual", d, 1, cold="r")
    yield rows("norm", "layer_norm", d, 2 * layers + 1 if decoder else 1)
    yield linear("qkv", d, 3 * d)
    yield rows("bias", "bias", 3 * d, layers)
    if decoder:
        yield "cache", Call(layers * passes, 0, 0, 4 * m * size, 0)
    yield from _attention(model, m, length, passes, together, activations, decoder)
    yield linear("o", d, d)
    yield rows("residual", "residual", d, 2 * layers) if decoder else rows("norm", "residual_norm", d, 2 * layers)
    yield linear("ffn_up", d, f)
    yield rows("gelu", "gelu_tanh" if decoder else "gelu", f, layers)
    yield linear("ffn_down", f, d)
    if decoder:
        vocabulary = model["vocabulary"]
        head, one = (stored, {"m": 1}) if stored else ("gemv", {})
        yield "lm_head", call(head, {**one, "n": vocabulary, "k": d}, {"w": weights}, "w", passes)
        yield "argmax", Call(passes, 0, 0, TYPES[activations].bytes(vocabulary), 0)


def _attention(
    model: Mapping[str, int], m: int, length: int, passes: int, together: int, types: str, decoder: bool
) -> Iterator[Part]:
    """Scores, softmax and values, `together` heads at once; the t-th token that is decoded attends to t."""
    layers, heads = model["layers"], model["heads"]
    keys = np.arange(1 if passes > 1 else length, length + 1, dtype=float)[:, np.newaxis]
    for batch, times in ((together, layers * (heads // together)), (heads % together, layers)):
        if batch:
            one, two = (_heads(batch, m, n, model["width"] // heads, types, decoder, times) for n in (1, 2))
            for part, first in one.items():
                step = np.subtract(two[part], first)  # every key adds as much
                yield part, np.add(first, (keys - 1) * step)


def _heads(batch: int, m: int, keys: int, per_head: int, types: str, decoder: bool, calls: int) -> dict[str, Call]:
    """Attention of some heads; where one token attends, K and V come from where weights are."""
    cold = "b" if decoder and m == 1 else None
    softmax = "softmax_causal" if decoder else "softmax"
    square = {"batch": batch, "m": m, "n": keys}
    wide = {"batch": batch, "m": m, "n": per_head, "k": keys}
    return {
        "scores": call("gemm_batch_t", {**square, "k": per_head}, types, cold, calls),
        "softmax": call(softmax, square, types, None, calls),
        "values": call("gemm_batch", wide, types, cold, calls),
    }


def _training(model: Mapping[str, int], rows: int, interval: int, types: Mapping[str, str]) -> Iterator[Part]:
    """The products of a step of bench.memory.chain: all layers but the last segment's run forward twice."""
    n, d, f = model["layers"], model["width"], model["ffn"]

    def product(name: str, m: int, n: int, k: int, calls: int) -> Part:
        return name, call("gemm", {"m": m, "n": n, "k": k}, types["weights"], "b", calls)

    forward = 2 * n - interval
    yield product("forward", rows, f, d, forward)
    yield product("forward", rows, d, f, forward)
    yield product("backward", f, d, rows, n)
    yield product("backward", rows, f, d, n)
    yield product("backward", d, f, rows, n)
    yield product("backward", rows, d, f, n)
