"""The weights of a whole model: random ones, or a checkpoint's with the names of Hugging Face."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BadInput
from bench.models.checkpoint import Tensors
from bench.workloads.model import Model
from kernels.arrays import aligned_empty
from kernels.packing import Packed

if TYPE_CHECKING:
    from kernels import Kernel  # compiled, and needed by no reader of records


@dataclass(frozen=True)
class Stored:
    """w[n,k] of a linear layer, packed in the type and for the kernel that multiply it: bench.models.stored."""

    kernel: "Kernel"
    packed: Packed


@dataclass(frozen=True)
class Linear:
    """x weight[k,n] + bias[n]; `stored` is multiplied instead, where there is one."""

    weight: np.ndarray
    bias: np.ndarray
    stored: Stored | None = None


@dataclass(frozen=True)
class Norm:
    """A LayerNorm's gain[d] and shift[d]."""

    gain: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Layer:
    """attention_norm and ffn_norm follow their part, with its residual, in an encoder, and precede it in a decoder."""

    qkv: Linear
    o: Linear
    ffn_up: Linear
    ffn_down: Linear
    attention_norm: Norm
    ffn_norm: Norm


@dataclass(frozen=True)
class Weights:
    """tokens[vocabulary,d], positions[positions,d], segment[d], the first segment's embedding (a decoder's: zeros).

    norm  that of the embeddings in an encoder, that behind the last layer in a decoder
    head  the LM head [vocabulary,d]: `tokens` itself, unless the model is a decoder that isn't tied
    stored_head   what is multiplied instead of it, where there is one
    """

    tokens: np.ndarray
    positions: np.ndarray
    segment: np.ndarray
    norm: Norm
    layers: tuple[Layer, ...]
    head: np.ndarray
    stored_head: Stored | None = None


Get = Callable[..., np.ndarray]
"""get(name, *shape): one array; for a matrix of a linear layer [k,n]."""


def _assemble(
    model: Model, linear: Callable[[str, int, int], Linear], norm: Callable[[str], Norm], get: Get
) -> Weights:
    d, f = model.width, model.ffn
    layers = tuple(
        Layer(
            linear(f"{i}.qkv", d, 3 * d),
            linear(f"{i}.o", d, d),
            linear(f"{i}.ffn_up", d, f),
            linear(f"{i}.ffn_down", f, d),
            norm(f"{i}.attention_norm"),
            norm(f"{i}.ffn_norm"),
        )
        for i in range(model.layers)
    )
    segment = get("segments", model.segments, d)[0] if model.segments else np.zeros_like(layers[0].o.bias)
    tokens, positions = get("tokens", model.vocabulary, d), get("positions", model.positions, d)
    head = get("head", model.vocabulary, d) if model.decoder and not model.tied else tokens
    return Weights(tokens, positions, np.ascontiguousarray(segment), norm("norm"), layers, head)


def refuse(model: Model) -> None:
    """Raises BadInput for a model with parts that bench.models.inference doesn't have."""
    odd = {
        "its FFN is gated": model.gated,
        "its heads share K and V": model.kv_heads != model.heads,
        "its heads are wider or narrower than width / heads": model.heads_width != model.width,
        "its positions are rotated into Q and K": model.rotary,
        "it has no biases": not model.biases,
    }
    for reason, true in odd.items():
        if true:
            raise BadInput(f"{model.name} can be counted, but not run: {reason}")


def random_weights(model: Model, seed: int = 3, dtype: str = "float32") -> Weights:
    """Normal with a deviation of 0.02, as both models were initialised; gains around 1. Raises as refuse()."""
    refuse(model)
    random = np.random.default_rng(seed)

    def get(name: str, *shape: int) -> np.ndarray:
        array = aligned_empty(shape, dtype)
        array[...] = random.standard_normal(shape, np.float32)
        array *= 0.02
        return array

    return _assemble(
        model, lambda name, k, n: Linear(get(name, k, n), get(name, n)), lambda name: _random_norm(model, get), get
    )


def _random_norm(model: Model, get: Get) -> Norm:
    gain = get("gain", model.width)
    gain += 1
    return Norm(gain, get("shift", model.width))


_BERT = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "segments": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "o": "attention.output.dense",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_norm": "output.LayerNorm",
}
_GPT2 = {
    "tokens": "wte",
    "positions": "wpe",
    "norm": "ln_f",
    "qkv": "attn.c_attn",
    "o": "attn.c_proj",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
    "attention_norm": "ln_1",
    "ffn_norm": "ln_2",
}
_OLD = {"weight": "gamma", "bias": "beta"}  # what the first BERT checkpoints call a norm's
_HEAD = "lm_head.weight"
_UNUSED = re.compile(
    r"(bert\.)?pooler\.dense\..*|(cls|classifier|qa_outputs|score|multiple_choice_head)\..*"  # heads that nothing runs
    r"|(bert\.)?embeddings\.(position_ids|token_type_ids)|(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)"  # buffers
)


def from_hugging_face(model: Model, tensors: Mapping[str, np.ndarray], source: object = "weights") -> Weights:
    """The tensors of a BertModel or GPT2Model, or of one with a head, as f32. They are BERT's where the model is an
    encoder, whose matrices are stored [n,k]; GPT-2's are [k,n].

    Raises BadInput, naming `source`, where a tensor is missing, of another shape or of no part of the model; and as
    refuse() and bench.models.checkpoint.Tensors.
    """
    refuse(model)
    names = _GPT2 if model.decoder else _BERT
    body, layer = ("transformer.", "h.") if model.decoder else ("bert.", "encoder.layer.")
    prefix = body if any(name.startswith(body) for name in tensors) else ""
    used: set[str] = set()

    def tensor(full: str, *shape: int) -> np.ndarray:
        old = full.removesuffix(kind := full.rpartition(".")[2]) + _OLD[kind]
        there = next((name for name in (full, old) if name in tensors), None)
        if there is None:
            raise BadInput(f"{source}: no {full}, which {model.name} has")
        used.add(there)
        found = tensors[there]
        if found.shape != shape:
            raise BadInput(f"{source}: {there} is {found.shape}, but {model.name} has {shape}")
        return found

    def part(name: str, kind: str, *shape: int) -> np.ndarray:
        return tensor(f"{prefix}{name}.{kind}", *shape)

    def path(name: str) -> str:
        number, _, rest = name.partition(".")
        return f"{layer}{number}.{names[rest]}" if rest else names[name]

    def matrix(name: str, k: int, n: int) -> np.ndarray:
        return part(name, "weight", k, n) if model.decoder else part(name, "weight", n, k).T

    def linear(name: str, k: int, n: int) -> Linear:
        number, _, rest = name.partition(".")
        if rest in names:
            return Linear(_kept(matrix(path(name), k, n)), _kept(part(path(name), "bias", n)))
        # BERT's Q, K and V are three
        each = [f"{layer}{number}.attention.self.{which}" for which in ("query", "key", "value")]
        weight = np.concatenate([matrix(one, k, n // 3) for one in each], axis=1)
        return Linear(_kept(weight), _kept(np.concatenate([part(one, "bias", n // 3) for one in each])))

    def norm(name: str) -> Norm:
        return Norm(_kept(part(path(name), "weight", model.width)), _kept(part(path(name), "bias", model.width)))

    def get(name: str, *shape: int) -> np.ndarray:
        return _kept(tensor(_HEAD, *shape) if name == "head" else part(names[name], "weight", *shape))

    weights = _assemble(model, linear, norm, get)
    tied = model.decoder and model.tied and _HEAD in tensors
    if tied and not np.array_equal(tensor(_HEAD, *weights.tokens.shape), weights.tokens):
        raise BadInput(f"{source}: {_HEAD} isn't the token embedding, as it is in {model.name}")
    _all_used(model, set(tensors) - used, f"{prefix}{layer}", source)
    return weights


def _kept(found: np.ndarray) -> np.ndarray:
    """A copy as f32, on large pages where random weights are on such, too."""
    array = aligned_empty(found.shape, np.float32)
    array[...] = found
    return array


def _all_used(model: Model, left: set[str], layers: str, source: object) -> None:
    """Raises BadInput where tensors are left that belong to no part of the model, nor to one that isn't run."""
    odd = sorted(name for name in left if not _UNUSED.fullmatch(name))
    more = {int(n) for name in odd if (n := name.removeprefix(layers).partition(".")[0]).isdecimal()}
    if more and max(more) >= model.layers:
        raise BadInput(f"{source}: has {max(more) + 1} layers, but {model.name} has {model.layers}")
    if odd:
        others = f" and {len(odd) - 1} others" if odd[1:] else ""
        raise BadInput(f"{source}: {odd[0][:100]}{others}: no part of {model.name}")


def to_hugging_face(model: Model, weights: Weights) -> dict[str, np.ndarray]:
    """The tensors by the names of a BertModel, which gets one segment, or a GPT2LMHeadModel's body, without prefix, and
    its head where that isn't tied: mostly views. The inverse of from_hugging_face().
    """
    names = _GPT2 if model.decoder else _BERT
    tables = [("tokens", weights.tokens), ("positions", weights.positions)]
    tensors = {f"{names[name]}.weight": table for name, table in tables}
    if model.segments:
        tensors[f"{names['segments']}.weight"] = weights.segment[np.newaxis]
    if weights.head is not weights.tokens:
        tensors[_HEAD] = weights.head

    def add(path: str, weight: np.ndarray, bias: np.ndarray) -> None:
        tensors[f"{path}.weight"], tensors[f"{path}.bias"] = weight, bias

    add(names["norm"], weights.norm.gain, weights.norm.shift)
    for i, layer in enumerate(weights.layers):
        at = f"{'h.' if model.decoder else 'encoder.layer.'}{i}."
        for name in ("attention_norm", "ffn_norm"):
            norm = getattr(layer, name)
            add(at + names[name], norm.gain, norm.shift)
        for name in ("qkv", "o", "ffn_up", "ffn_down"):
            linear = getattr(layer, name)
            weight = linear.weight if model.decoder else linear.weight.T
            if name in names:
                add(at + names[name], weight, linear.bias)
            else:
                whose = [f"{at}attention.self.{which}" for which in ("query", "key", "value")]
                for path, w, b in zip(whose, np.split(weight, 3), np.split(linear.bias, 3), strict=True):
                    add(path, w, b)
    return tensors


def weights_of(model: Model, path: Path | None, dtype: str = "float32") -> Weights:
    """A checkpoint's, or random ones, the same in every process. Raises as Tensors and from_hugging_face()."""
    return from_hugging_face(model, Tensors(path), path) if path else random_weights(model, dtype=dtype)
