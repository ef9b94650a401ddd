"""A layer split over ranks: attention by heads, the FFN by columns, then rows, and a sum over the ranks behind each.

Shoeybi et al., "Megatron-LM" (2019): QKV and the first matrix of the FFN lose columns, the other two lose rows, so that
a rank needs nothing of another one in between. Biases behind the sums, residuals and norms are every rank's.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.errors import BadInput
from bench.models.inference import Decoding, Encoding
from bench.models.steps import Binder, Chain, Step
from bench.models.weights import Layer, Linear, Weights, random_weights
from bench.workloads.model import Model
from kernels.arrays import aligned_empty
from kernels.definitions import rounded
from kernels.operations import OPERATIONS

SUMMED = ("o", "ffn_down")
"""The products whose results ranks sum."""
DTYPE = "f32"
SEED = 1300


def share(model: Model, ranks: int) -> Model:
    """What one of so many ranks has of a model. Raises BadInput where heads and FFN can't be dealt out evenly."""
    for name in ("heads", "ffn"):
        if getattr(model, name) % ranks:
            raise BadInput(f"{ranks} ranks: {model.name} has {getattr(model, name)} {name}, no multiple of that")
    heads = model.heads // ranks
    return replace(model, heads=heads, kv_heads=heads, head_dim=model.head_dim, ffn=model.ffn // ranks)


def whole(model: Model, number: int) -> Weights:
    """A model's layer of that number, the same in every process, with tables of one row. Raises as random_weights()."""
    one = replace(model, layers=1, vocabulary=1, positions=1)
    return random_weights(one, seed=SEED + number)


def slice_of(layer: Layer, model: Model, ranks: int, rank: int) -> Layer:
    """A rank's part of a whole layer of the model."""
    width, inner = model.heads_width // ranks, model.ffn // ranks
    heads, columns = (slice(rank * one, (rank + 1) * one) for one in (width, inner))

    def by_head(of: np.ndarray) -> np.ndarray:  # columns of Q, K and V
        return _own(of.reshape(-1, 3, model.heads_width)[:, :, heads].reshape(*of.shape[:-1], 3 * width))

    return replace(
        layer,
        qkv=Linear(by_head(layer.qkv.weight), by_head(layer.qkv.bias)),
        o=Linear(_own(layer.o.weight[heads]), layer.o.bias),
        ffn_up=Linear(_own(layer.ffn_up.weight[:, columns]), _own(layer.ffn_up.bias[columns])),
        ffn_down=Linear(_own(layer.ffn_down.weight[columns]), layer.ffn_down.bias),
    )


def _own(part: np.ndarray) -> np.ndarray:
    array = aligned_empty(part.shape, part.dtype)
    array[...] = part
    return array


def activations(model: Model, phase: str, length: int) -> np.ndarray:
    """What enters a layer: a token when decoding, else `length` tokens."""
    rows = 1 if phase == "decode" else length
    return np.random.default_rng(SEED - 1).standard_normal((rows, model.width), np.float32)


def cached(model: Model, number: int, length: int) -> np.ndarray:
    """K and V of the tokens before the one that a layer decodes: [2, length - 1, heads and head_dim]."""
    shape = (2, length - 1, model.heads_width)
    return np.random.default_rng(2 * SEED + number).standard_normal(shape, np.float32)


class Shards:
    """A rank's parts of several layers, ready to run one after the other: part i is of layer i // ranks, and all ranks
    together have the whole of it. So weights are cold without so many layers.

    weights  for their tables; add() adds layers
    phase    "decode": one token, with `length` tokens in the cache, itself included; else `length` tokens enter
    layers   how many whole layers there will be
    """

    def __init__(
        self, model: Model, weights: Weights, phase: str, length: int, ranks: int, rank: int, layers: int, threads: int
    ) -> None:
        self._model, self._ranks, self._rank, self._length = model, ranks, rank, length
        part, self._decode = share(model, ranks), phase == "decode"
        self._given = activations(model, phase, length)
        binder, tables, rows = Binder(DTYPE, threads), replace(weights, layers=()), len(self._given)
        self._pass: Encoding | Decoding
        if model.decoder:
            cache = binder.empty(layers * ranks, 2, length, part.heads_width)
            self._pass = Decoding(binder, part, tables, rows, cache)
        else:
            self._pass = Encoding(binder, part, tables, rows)
        self._scores = binder.empty(part.heads, 1, length) if self._decode else self._pass.scores
        self.chains: list[list[Chain]] = []
        self.summed = self._pass.r
        """What SUMMED leave, and ranks sum in place."""
        self.state = self._pass.x if model.decoder else self._pass.y
        """What enters a layer, and leaves it."""
        self.start()

    def add(self, number: int, layer: Layer) -> None:
        """The parts of a whole layer."""
        past = cached(self._model, number, self._length) if self._decode else None
        for i in range(number * self._ranks, (number + 1) * self._ranks):
            mine = (self._rank + i) % self._ranks
            part, one = slice_of(layer, self._model, self._ranks, mine), self._pass
            if isinstance(one, Encoding):
                steps = one.layer(part)
            else:
                if past is not None:
                    one.cache[i, :, :-1] = past.reshape(*past.shape[:2], self._ranks, -1)[:, :, mine]
                steps = one.layer(i, part, self._length - 1 if self._decode else 0, self._scores)
            self.chains.append([Chain(some) for some in cut(steps)])

    def __len__(self) -> int:
        return len(self.chains)

    def start(self) -> None:
        self.state[...] = self._given


def all_shards(
    model: Model, phases: Sequence[str], length: int, splits: Sequence[int], rank: int, layers: int, threads: int = 1
) -> dict[tuple[str, int], Shards]:
    """A rank's, by phase and the number of ranks, of so many layers, each of which is made once."""
    found: dict[tuple[str, int], Shards] = {}
    for number in range(layers):
        weights = whole(model, number)
        for key in [(phase, ranks) for phase in phases for ranks in splits]:
            if key not in found:
                phase, ranks = key
                found[key] = Shards(model, weights, phase, length, ranks, rank, layers, threads)
            found[key].add(number, weights.layers[0])
    return found


def cut(steps: Sequence[Step]) -> list[list[Step]]:
    """A layer's steps in three parts: behind the first and the second, ranks sum."""
    ends = [i + 1 for i, step in enumerate(steps) if step.name in SUMMED]
    return [list(steps[a:b]) for a, b in zip([0, *ends], [*ends, len(steps)], strict=True)]


def exact(model: Model, layer: Layer, x: np.ndarray, past: np.ndarray | None = None) -> np.ndarray:
    """What a whole layer makes of x, in float64. past: K and V of the tokens before."""

    def linear(x: np.ndarray, of: Linear) -> np.ndarray:
        made: np.ndarray = x @ of.weight.astype(np.float64) + of.bias
        return made

    def defined(operation: str, *inputs: np.ndarray) -> np.ndarray:
        made: np.ndarray = OPERATIONS[operation].define(*(one.astype(np.float64) for one in inputs))
        return made

    def norm(x: np.ndarray, which: str) -> np.ndarray:
        of = getattr(layer, which)
        return defined("layer_norm", x, of.gain, of.shift, np.array([model.epsilon]))

    x = x.astype(np.float64)
    q, k, v = np.split(linear(norm(x, "attention_norm") if model.decoder else x, layer.qkv), 3, axis=1)
    if past is not None:
        k, v = (np.concatenate([before, now]) for before, now in zip(past, (k, v), strict=True))
    q, k, v = (of.reshape(len(of), model.heads, -1).swapaxes(0, 1) for of in (q, k, v))
    scores, scale = q @ k.swapaxes(1, 2), np.array([model.head_dim**-0.5])
    likely = defined("softmax_causal" if model.decoder and past is None else "softmax", scores, scale)
    x = x + linear((likely @ v).swapaxes(0, 1).reshape(x.shape[0], -1), layer.o)
    x = x if model.decoder else norm(x, "attention_norm")
    inner = (norm(x, "ffn_norm") if model.decoder else x) @ layer.ffn_up.weight.astype(np.float64)
    x = x + linear(defined(model.activation, inner, layer.ffn_up.bias), layer.ffn_down)
    return x if model.decoder else norm(x, "ffn_norm")


def error_bound(model: Model, keys: int, expected: np.ndarray) -> float:
    """The largest error of an element, as in kernels.verify: by the roundings that one passes through, of the largest
    element: those of the four products, of scores and values, and of two norms.
    """
    passed = 4 * model.width + 2 * model.heads_width + model.ffn + model.head_dim + keys
    unit = float(np.finfo(np.float32).eps) / 2
    return rounded(passed) * unit * float(np.abs(expected).max())
