"""config.json, as transformers writes it beside a checkpoint: the model's numbers, and what this project can't do."""

from collections.abc import Mapping
from typing import Any

from bench.errors import BadInput
from bench.files import parse_json
from bench.workloads.model import Model

GELU = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh"), "gelu_tanh"),
}
"""transformers' names of GELU; of others, such as quick_gelu, there is no kernel."""

KEYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "gpt2": {
        "layers": ("n_layer", "num_hidden_layers"),
        "width": ("n_embd", "hidden_size"),
        "heads": ("n_head", "num_attention_heads"),
        "ffn": ("n_inner",),
        "vocabulary": ("vocab_size",),
        "positions": ("n_positions", "max_position_embeddings"),
        "epsilon": ("layer_norm_epsilon",),
        "activation": ("activation_function",),
        "tied": ("tie_word_embeddings",),
    },
    "bert": {
        "layers": ("num_hidden_layers",),
        "width": ("hidden_size",),
        "heads": ("num_attention_heads",),
        "ffn": ("intermediate_size",),
        "vocabulary": ("vocab_size",),
        "positions": ("max_position_embeddings",),
        "segments": ("type_vocab_size",),
        "epsilon": ("layer_norm_eps",),
        "activation": ("hidden_act",),
    },
}
"""Architecture -> Model's field -> the keys that it has there."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {"ffn": None, "epsilon": 1e-5, "activation": "gelu_new", "tied": True},
    "bert": {"segments": 2, "epsilon": 1e-12, "activation": "gelu"},
}
"""What transformers takes for keys that are missing; others have to be there."""

ONLY: Mapping[str, tuple[Any, str]] = {
    "quantization_config": (None, "its weights are quantised"),
    "compression_config": (None, "its weights are compressed"),
    "auto_map": (None, "it has code of its own"),
    "is_decoder": (False, "it is BERT as a decoder"),
    "is_encoder_decoder": (False, "it has an encoder and a decoder"),
    "add_cross_attention": (False, "it attends to another model's states"),
    "position_embedding_type": ("absolute", "its positions are relative"),
    "pruned_heads": ({}, "some of its heads are gone"),
    "scale_attn_weights": (True, "its scores aren't scaled"),
    "scale_attn_by_inverse_layer_idx": (False, "its scores are scaled by layer"),
}
"""Key -> the one value that it can have here, and what another one means."""


def from_config(text: str, source: object, name: str) -> Model:
    """The model of a config.json, called `name`. Raises BadInput, naming `source`, for any that can't be run here."""
    given = parse_json(text, source)
    kind = given.get("model_type") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in KEYS:
        raise BadInput(f"{source}: architecture {kind!r:.60}; checkpoints of {' and '.join(KEYS)} can be run")
    for key, (only, reason) in ONLY.items():
        if given.get(key) not in (None, only):
            raise BadInput(f"{source}: {reason} ({key} {given[key]!r:.60})")
    of: dict[str, Any] = {
        field: _value(given, field, keys, DEFAULTS[kind], source) for field, keys in KEYS[kind].items()
    }
    if of["ffn"] is None:
        of["ffn"] = 4 * of["width"]
    if of["activation"] not in GELU:
        raise BadInput(f"{source}: activation {of['activation']!r:.60}; there is {', '.join(GELU)}")
    of["activation"] = GELU[of["activation"]]
    if not of["epsilon"] > 0:
        raise BadInput(f"{source}: {KEYS[kind]['epsilon'][0]} must be more than 0, not {of['epsilon']}")
    decoder = kind == "gpt2"
    try:
        return Model(name, decoder=decoder, fused_qkv=decoder, conv1d=decoder, **of)
    except ValueError as error:
        raise BadInput(f"{source}: {error}") from error


def _value(
    given: Mapping[str, Any], field: str, keys: tuple[str, ...], defaults: Mapping[str, Any], source: object
) -> Any:
    """A field's value, of its type. Raises BadInput for another, and where it is missing."""
    key = next((key for key in keys if given.get(key) is not None), None)
    if key is None:
        if field not in defaults:
            raise BadInput(f"{source}: no {keys[0]}")
        return defaults[field]
    value, types = given[key], {"activation": (str,), "tied": (bool,), "epsilon": (float, int)}.get(field, (int,))
    if type(value) not in types:  # a bool is an int, but none that counts layers
        raise BadInput(f"{source}: {key} must be of type {types[0].__name__}, not {value!r:.60}")
    return value
