"""Hugging Face's transformers: its own model classes, eagerly on PyTorch, attention by SDPA.

While decoding, keys and values go into a StaticCache with room for all tokens; the default cache would copy them for
every new one.
"""

import sys
from typing import Any

import numpy as np
import torch

from bench.models.libraries import Result, Run
from bench.models.weights import Weights, to_hugging_face
from bench.workloads.model import Model

_ours = sys.modules["kernels"]
sys.modules["kernels"] = None  # type: ignore[assignment]  # else it takes ours for Hugging Face's, where that's installed
try:
    import transformers
    import transformers.modeling_utils
finally:
    sys.modules["kernels"] = _ours

torch.set_float32_matmul_precision("highest")  # no bfloat16 inside f32 products

ACTIVATION = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def _gpt2(model: Model) -> Any:
    config = transformers.GPT2Config(
        vocab_size=model.vocabulary,
        n_positions=model.positions,
        n_embd=model.width,
        n_layer=model.layers,
        n_head=model.heads,
        n_inner=model.ffn,
        activation_function=ACTIVATION[model.activation],
        tie_word_embeddings=model.tied,
        layer_norm_epsilon=model.epsilon,
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = "sdpa"
    return transformers.GPT2LMHeadModel(config)


def _bert(model: Model) -> Any:
    config = transformers.BertConfig(
        vocab_size=model.vocabulary,
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.ffn,
        max_position_embeddings=model.positions,
        type_vocab_size=1,
        hidden_act=ACTIVATION[model.activation],
        layer_norm_eps=model.epsilon,
    )
    config._attn_implementation = "sdpa"
    return transformers.BertModel(config, add_pooling_layer=False)


def _filled(made: Any, tensors: dict[str, np.ndarray]) -> None:
    """Puts the weights in without a copy. Raises RuntimeError where names or shapes differ."""
    made.load_state_dict({name: torch.from_numpy(x) for name, x in tensors.items()}, assign=True)


def prepare(model: Model, weights: Weights, phase: str, tokens: np.ndarray, threads: int) -> Run:
    torch.set_num_threads(threads)
    given, tensors = torch.from_numpy(tokens)[None], to_hugging_face(model, weights)
    if not model.decoder:
        bert = _bert(model).eval()
        _filled(bert, tensors)
        encode: Run = torch.inference_mode()(lambda: (bert(given).last_hidden_state[0], ()))
        return encode
    gpt2 = _gpt2(model).eval()
    head = tensors.pop("lm_head.weight", None)
    _filled(gpt2.transformer, tensors)
    gpt2.tie_weights()
    if head is not None:
        _filled(gpt2.lm_head, {"weight": head})
    steps = len(tokens) if phase == "decode" else 1
    each = len(tokens) // steps
    cache = transformers.StaticCache(gpt2.config, max_cache_len=len(tokens))
    chosen = torch.zeros(steps, 1, dtype=torch.int64)

    def run() -> Result:
        now = given[:, :each]
        cache.reset()
        for step in range(steps):
            logits = gpt2(now, cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            torch.argmax(logits, 1, out=chosen[step])
            now = chosen[step : step + 1]
        return logits[0], chosen[:, 0]

    ready: Run = torch.inference_mode()(run)
    return ready
