"""Checkpoints of tiny models, written byte by byte, so that any tensor and any fault can be in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.models.weights import random_weights, to_hugging_face
from bench.workloads.model import Model

BERT = Model("bert", 2, 32, 4, 80, 61, 24, segments=2)
GPT2 = Model("gpt2", 2, 32, 4, 128, 61, 24, decoder=True, fused_qkv=True, conv1d=True)
CONFIG: dict[str, dict[str, Any]] = {
    "bert": {
        "model_type": "bert",
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 80,
        "vocab_size": 61,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_layer": 2,
        "n_embd": 32,
        "n_head": 4,
        "vocab_size": 61,
        "n_positions": 24,
    },
}
KINDS = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "bool": "BOOL", "complex64": "C64"}

Tensor = tuple[str, tuple[int, ...], bytes]
"""The name of its type, its shape, its bytes."""


def tensor(x: np.ndarray, kind: str | None = None) -> Tensor:
    return kind or KINDS[x.dtype.name], x.shape, np.ascontiguousarray(x).tobytes()


def tensors(model: Model, scale: float = 1) -> dict[str, Tensor]:
    """A model's, random, with Hugging Face's names; by `scale` larger than usual."""
    arrays = to_hugging_face(model, random_weights(model))
    if model.segments:
        name = "embeddings.token_type_embeddings.weight"
        arrays[name] = np.repeat(arrays[name], model.segments, axis=0)
    return {name: tensor(x * np.float32(scale)) for name, x in arrays.items()}


def bytes_of(all_: Mapping[str, Tensor]) -> bytes:
    """A file of safetensors."""
    header, at = {}, 0
    for name, (kind, shape, raw) in all_.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": (at, at + len(raw))}
        at += len(raw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(raw for _, _, raw in all_.values())


def write(
    folder: Path, model: Model, tensors_: Mapping[str, Tensor] | None = None, config: Mapping[str, Any] | None = None
) -> Path:
    """A folder with model.safetensors and config.json; what isn't given, is the model's."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(bytes_of(tensors(model) if tensors_ is None else tensors_))
    (folder / "config.json").write_text(json.dumps(CONFIG[model.name] if config is None else config))
    return folder
