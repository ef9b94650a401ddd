"""Checkpoints: whatever transformers' save_pretrained writes is read, and computes what it computes there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BadInput
from bench.models.checkpoint import model_of
from bench.models.config import GELU
from bench.models.inference import Decoder, Encoder
from bench.models.weights import Weights, weights_of
from bench.workloads.model import Model
from kernels.definitions import gelu, gelu_tanh
from support.needed import needed

pytestmark = pytest.mark.xdist_group("transformers")

CLOSE = 1e-4  # of the largest element: f32 through all layers


def config(decoder: bool, **changed: Any) -> Any:
    """Of a tiny model whose weights are so large that another GELU or epsilon shows."""
    transformers = needed("transformers")
    of = {"initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    if decoder:
        return transformers.GPT2Config(
            **of | {"vocab_size": 61, "n_positions": 40, "n_embd": 32, "n_layer": 3, "n_head": 4} | changed
        )
    sizes = {"vocab_size": 61, "max_position_embeddings": 40, "hidden_size": 32, "intermediate_size": 80}
    return transformers.BertConfig(**of | sizes | {"num_hidden_layers": 3, "num_attention_heads": 4} | changed)


def saved(folder: Path, kind: str, dtype: str = "float32", changed: dict[str, Any] | None = None, **how: Any) -> Any:
    """A random model of transformers in eval mode, saved in a type, and in f32 the one that was saved."""
    for name in ("torch", "transformers", "safetensors"):
        needed(name)
    import torch
    import transformers

    torch.manual_seed(1)
    made = getattr(transformers, kind)(config(kind.startswith("GPT2"), **changed or {})).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # gains of one and biases of zero would hide much
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    made = made.to(getattr(torch, dtype))
    made.save_pretrained(folder, **how)
    return made.float()


def expected(made: Any, tokens: np.ndarray) -> np.ndarray:
    """Hidden states, or the last token's logits."""
    import torch

    with torch.no_grad():
        out = made(torch.tensor(tokens)[None], output_hidden_states=True)
    logits = made.config.model_type == "gpt2" and type(made).__name__ == "GPT2LMHeadModel"
    found: np.ndarray = (out.logits[0, -1] if logits else out.hidden_states[-1][0]).numpy()
    return found


def computed(model: Model, weights: Weights, tokens: np.ndarray, logits: bool) -> np.ndarray:
    if not model.decoder:
        return Encoder(model, weights, len(tokens)).encode(tokens)
    decoder = Decoder(model, weights, len(tokens), len(tokens))
    decoder.start(tokens)
    assert decoder.prefill
    return decoder.logits if logits else decoder.prefill.y


def error(made: Any, model: Model, path: Path) -> float:
    """How far this project's result is from transformers', of the largest element."""
    tokens = np.random.default_rng(5).integers(0, model.vocabulary, 17)
    wanted = expected(made, tokens)
    result = computed(model, weights_of(model, path), tokens, wanted.ndim == 1)
    return float(np.abs(result - wanted).max() / np.abs(wanted).max())


BERTS = ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification", "ForTokenClassification")
MORE_BERTS = ("ForQuestionAnswering", "ForNextSentencePrediction", "ForMultipleChoice")
GPTS = ("Model", "LMHeadModel", "DoubleHeadsModel", "ForSequenceClassification", "ForTokenClassification")


@pytest.mark.parametrize(
    "kind", [*(f"Bert{x}" for x in BERTS + MORE_BERTS), *(f"GPT2{x}" for x in GPTS), "GPT2ForQuestionAnswering"]
)
def test_every_head_is_read(kind: str, tmp_path: Path) -> None:
    """Without a model's name: config.json makes it."""
    made = saved(tmp_path / "it", kind)
    made = made if kind == "GPT2LMHeadModel" else getattr(made, made.base_model_prefix, made)
    model = model_of(tmp_path / "it", None)
    assert (model.name, model.decoder, model.layers, model.heads) == ("it", kind.startswith("GPT2"), 3, 4)
    assert error(made, model, tmp_path / "it") <= CLOSE


@pytest.mark.parametrize("kind", ["BertModel", "GPT2LMHeadModel"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "how", [{}, {"max_shard_size": "20KB"}, {"variant": "x"}, {"max_shard_size": "20KB", "variant": "x"}], ids=str
)
def test_every_type_and_layout_is_read(kind: str, dtype: str, how: dict[str, Any], tmp_path: Path) -> None:
    """As a folder, and as the file that names all tensors."""
    made = saved(tmp_path, kind, dtype, **how)
    main = tmp_path / ("model.safetensors.index.json" if "max_shard_size" in how else "model.safetensors")
    if "variant" in how:
        main = next(tmp_path.glob("*.index.x.json" if "max_shard_size" in how else "*.x.safetensors"))
    assert len([*tmp_path.glob("*.safetensors")]) > 3 or "max_shard_size" not in how
    for path in (tmp_path, main):
        assert error(made, model_of(path, None), path) <= CLOSE


@pytest.mark.parametrize(
    ("kind", "changed", "field", "other"),
    [
        ("GPT2LMHeadModel", {"tie_word_embeddings": False}, "tied", True),
        ("GPT2LMHeadModel", {"layer_norm_epsilon": 0.1}, "epsilon", 1e-5),
        ("GPT2LMHeadModel", {"activation_function": "gelu"}, "activation", "gelu_tanh"),
        ("GPT2LMHeadModel", {"n_inner": 48}, "ffn", None),
        ("GPT2LMHeadModel", {"n_head": 8}, "heads", 4),
        ("GPT2LMHeadModel", {"reorder_and_upcast_attn": True}, None, None),
        ("BertModel", {"layer_norm_eps": 0.1}, "epsilon", 1e-12),
        ("BertModel", {"hidden_act": "gelu_new"}, "activation", "gelu"),
        ("BertModel", {"num_attention_heads": 2}, "heads", 4),
        ("BertModel", {"type_vocab_size": 5}, "segments", None),
    ],
)
def test_config_is_honoured(kind: str, changed: dict[str, Any], field: str | None, other: Any, tmp_path: Path) -> None:
    """And another value, which was taken for granted, would compute something else or be refused."""
    made = saved(tmp_path, kind, changed=changed)
    model = model_of(tmp_path, None)
    assert error(made, model, tmp_path) <= CLOSE
    if field == "heads":
        odd = replace(model, heads=other, head_dim=0, kv_heads=0)
        assert error(made, odd, tmp_path) > 10 * CLOSE
    elif field == "tied":
        with pytest.raises(BadInput, match=r"lm_head\.weight isn't the token embedding"):
            weights_of(replace(model, tied=True), tmp_path)
    elif field and other is not None:
        assert error(made, replace(model, **{field: other}), tmp_path) > 1.5 * CLOSE


@pytest.mark.parametrize(("name", "wanted"), GELU.items())
def test_names_of_gelu(name: str, wanted: str) -> None:
    torch, activations = needed("torch"), needed("transformers").activations
    x = np.linspace(-5, 5, 1001)
    theirs = activations.get_activation(name)(torch.tensor(x)).numpy()
    np.testing.assert_allclose({"gelu": gelu, "gelu_tanh": gelu_tanh}[wanted](x), theirs, rtol=1e-6, atol=1e-7)
