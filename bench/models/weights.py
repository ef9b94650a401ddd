"""The weights of a whole model: random ones, or a checkpoint's in safetensors with the names of Hugging Face."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BadInput
from bench.workloads.model import Model
from kernels.arrays import aligned_empty


@dataclass(frozen=True)
class Linear:
    """x weight[k,n] + bias[n]"""

    weight: np.ndarray
    bias: np.ndarray


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
    """

    tokens: np.ndarray
    positions: np.ndarray
    segment: np.ndarray
    norm: Norm
    layers: tuple[Layer, ...]


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
    return Weights(tokens, positions, np.ascontiguousarray(segment), norm("norm"), layers)


def refuse(model: Model) -> None:
    """Raises BadInput for a model with parts that bench.models.inference doesn't have."""
    odd = {
        "its FFN is gated": model.gated,
        "its heads share K and V": model.kv_heads != model.heads,
        "its heads are wider or narrower than width / heads": model.heads_width != model.width,
        "its positions are rotated into Q and K": model.rotary,
        "it has no biases": not model.biases,
        "its LM head isn't the token embedding": not model.tied,
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


def from_hugging_face(model: Model, tensors: Mapping[str, np.ndarray], source: str = "weights") -> Weights:
    """The tensors of a BertModel or GPT2Model, or of one with a head, as f32. They are BERT's where the model is an
    encoder.

    Raises BadInput, naming `source`, where a tensor is missing or of another shape; and as refuse().
    """
    refuse(model)
    names = _GPT2 if model.decoder else _BERT
    body, layer = ("transformer.", "h.") if model.decoder else ("bert.", "encoder.layer.")
    prefix = body if any(name.startswith(body) for name in tensors) else ""

    def tensor(name: str, kind: str, *shape: int) -> np.ndarray:
        for full in (f"{prefix}{name}.{kind}", f"{prefix}{name}.{_OLD[kind]}"):
            if full in tensors:
                found = tensors[full]
                if found.shape != shape:
                    raise BadInput(f"{source}: {full} is {found.shape}, but {model.name} has {shape}")
                return np.asarray(found, np.float32)
        raise BadInput(f"{source}: no {prefix}{name}.{kind}, which {model.name} has")

    def path(name: str) -> str:
        number, _, part = name.partition(".")
        return f"{layer}{number}.{names[part]}" if part else names[name]

    def matrix(name: str, k: int, n: int) -> np.ndarray:
        return tensor(name, "weight", k, n) if model.conv1d else tensor(name, "weight", n, k).T

    def linear(name: str, k: int, n: int) -> Linear:
        number, _, part = name.partition(".")
        if part in names:
            weight, bias = matrix(path(name), k, n), tensor(path(name), "bias", n)
        else:  # BERT's Q, K and V are three
            each = [f"{layer}{number}.attention.self.{which}" for which in ("query", "key", "value")]
            weight = np.concatenate([matrix(one, k, n // 3) for one in each], axis=1)
            bias = np.concatenate([tensor(one, "bias", n // 3) for one in each])
        return Linear(np.ascontiguousarray(weight), bias)

    def norm(name: str) -> Norm:
        return Norm(tensor(path(name), "weight", model.width), tensor(path(name), "bias", model.width))

    return _assemble(model, linear, norm, lambda name, *shape: tensor(names[name], "weight", *shape))


def to_hugging_face(model: Model, weights: Weights) -> dict[str, np.ndarray]:
    """The tensors by the names of a BertModel, which gets one segment, or a GPT2Model: mostly views. The inverse of
    from_hugging_face().
    """
    names = _GPT2 if model.decoder else _BERT
    tables = [("tokens", weights.tokens), ("positions", weights.positions)]
    tensors = {f"{names[name]}.weight": table for name, table in tables}
    if model.segments:
        tensors[f"{names['segments']}.weight"] = weights.segment[np.newaxis]

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
            weight = linear.weight if model.conv1d else linear.weight.T
            if name in names:
                add(at + names[name], weight, linear.bias)
            else:
                whose = [f"{at}attention.self.{which}" for which in ("query", "key", "value")]
                for path, w, b in zip(whose, np.split(weight, 3), np.split(linear.bias, 3), strict=True):
                    add(path, w, b)
    return tensors


def read_weights(model: Model, path: Path) -> Weights:
    """A .safetensors file's weights, or those of the model.safetensors in a folder.

    Raises BadInput for a file that can't be read and where safetensors isn't installed; and as from_hugging_face().
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise BadInput("--weights needs safetensors, which isn't installed: pip install -e '.[weights]'") from error
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError, KeyError) as error:  # KeyError: a dtype that NumPy hasn't, such as bfloat16
        raise BadInput(f"{file}: not safetensors that can be read: {error}") from error
    return from_hugging_face(model, tensors, str(file))


def weights_of(model: Model, path: Path | None, dtype: str = "float32") -> Weights:
    """A checkpoint's, or random ones, the same in every process. Raises as read_weights()."""
    return read_weights(model, path) if path else random_weights(model, dtype=dtype)
