"""Checkpoints that can't be honoured: each is refused in one line, before anything is measured."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BadInput
from bench.measure.session import Session
from bench.models.checkpoint import Tensors, model_of
from bench.models.config import from_config
from bench.models.weights import weights_of
from bench.transformer import __main__ as transformer
from bench.workloads.model import Model
from support import needed as support_needed
from support.checkpoints import BERT, CONFIG, GPT2, Tensor, bytes_of, tensor, tensors, write
from support.needed import needed


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The line with which the command refuses a checkpoint, before anything is measured."""
    needed("safetensors")

    def start(self: Session) -> None:
        raise AssertionError("something would be measured")

    monkeypatch.setattr(Session, "start", start)

    def line(path: Path, *arguments: str) -> str:
        with pytest.raises(BadInput) as caught:
            transformer.main(["--weights", str(path), "--length", "8", *arguments])
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500
        return str(caught.value)

    return line


def test_the_tiny_ones_are_good(tmp_path: Path) -> None:
    needed("safetensors")
    for model in (BERT, GPT2):
        folder = write(tmp_path / model.name, model)
        assert model_of(folder, None) == model == model_of(folder, model)
        weights_of(model, folder)


CONFIGS: list[tuple[Model, dict[str, Any], str]] = [
    (GPT2, {"model_type": "llama"}, "architecture 'llama'; checkpoints of gpt2 and bert"),
    (GPT2, {"model_type": ["gpt2"]}, r"architecture \['gpt2'\]"),
    (GPT2, {"model_type": None}, "architecture None"),
    (GPT2, {"activation_function": "relu"}, "activation 'relu'"),
    (BERT, {"hidden_act": "quick_gelu"}, "activation 'quick_gelu'"),
    (BERT, {"position_embedding_type": "relative_key"}, "its positions are relative"),
    (BERT, {"is_decoder": True}, "BERT as a decoder"),
    (BERT, {"add_cross_attention": True}, "attends to another model's states"),
    (BERT, {"pruned_heads": {"0": [1]}}, "some of its heads are gone"),
    (GPT2, {"quantization_config": {"quant_method": "gptq"}}, "its weights are quantised"),
    (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "its scores are scaled by layer"),
    (GPT2, {"scale_attn_weights": False}, "its scores aren't scaled"),
    (GPT2, {"auto_map": {"AutoModel": "x.Y"}}, "it has code of its own"),
    (GPT2, {"n_layer": 3}, r"no h\.2\.attn\.c_attn\.weight"),
    (GPT2, {"n_layer": 1}, "has 2 layers, but .* has 1"),
    (BERT, {"num_hidden_layers": 1}, "has 2 layers, but .* has 1"),
    (GPT2, {"n_embd": 64}, r"is \(32, 96\), but"),
    (GPT2, {"n_embd": 30}, "30 is no multiple of 4 heads"),
    (GPT2, {"vocab_size": 60}, r"wte\.weight is \(61, 32\), but"),
    (GPT2, {"n_positions": 25}, r"wpe\.weight is \(24, 32\), but"),
    (GPT2, {"n_inner": 64}, r"c_fc\.weight is \(32, 128\), but"),
    (GPT2, {"tie_word_embeddings": False}, r"no lm_head\.weight"),
    (GPT2, {"n_layer": True}, "n_layer must be of type int, not True"),
    (GPT2, {"n_layer": 2.5}, "n_layer must be of type int"),
    (GPT2, {"n_layer": None}, "no n_layer"),
    (GPT2, {"n_layer": 10**200}, "layers can be 100000 at most"),
    (GPT2, {"n_layer": -2}, "layers must be at least 1"),
    (GPT2, {"layer_norm_epsilon": -1}, "layer_norm_epsilon must be more than 0"),
    (GPT2, {"tie_word_embeddings": "yes"}, "tie_word_embeddings must be of type bool"),
]


@pytest.mark.parametrize(
    ("model", "changed", "message"), CONFIGS, ids=lambda value: value if type(value) is str else ""
)
def test_a_config_that_cannot_be_honoured(
    model: Model, changed: dict[str, Any], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "odd", model, config=CONFIG[model.name] | changed)
    line = refused(folder)
    assert line.startswith(str(folder))
    assert re.search(message, line), line


WTE = "wte.weight"
FP8 = ("F8_E4M3", (61, 32), bytes(61 * 32))


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda given: {key: value for key, value in given.items() if key != name}


def with_(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda given: given | {name: value}


TENSORS: list[tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = [
    (without("ln_f.weight"), "no ln_f.weight, which odd has"),
    (with_(WTE, FP8), "wte.weight is F8_E4M3; weights are read from F32, F16, BF16, F64"),
    (with_(WTE, tensor(np.ones((61, 32), np.int64))), "wte.weight is I64"),
    (with_(WTE, tensor(np.ones((61, 32), bool))), "wte.weight is BOOL"),
    (with_(WTE, tensor(np.ones((61, 32), np.complex64))), "wte.weight is C64"),
    (with_(WTE, tensor(np.ones((32, 61), np.float32))), "wte.weight is (32, 61), but odd has (61, 32)"),
    (with_(WTE, tensor(np.full((61, 32), np.nan, np.float32))), "wte.weight has values that aren't finite"),
    (with_(WTE, tensor(np.full((61, 32), 1e300))), "wte.weight has values that aren't finite"),
    (with_(WTE, ("BF16", (61, 32), b"\x80\x7f" * 61 * 32)), "wte.weight has values that aren't finite"),
    (with_("h.7.ln_1.weight", tensor(np.ones(32, np.float32))), "has 8 layers, but odd has 2"),
    (with_("h.0.ln_1.scale", FP8), "h.0.ln_1.scale: no part of odd"),
    (with_("lm_head.bias", tensor(np.ones(61, np.float32))), "lm_head.bias: no part of odd"),
    (with_("lm_head.weight", tensor(np.ones((61, 32), np.float32))), "lm_head.weight isn't the token embedding"),
    (with_("h.0.crossattention.q_attn.weight", FP8), "no part of odd"),
    (with_("a\x1b[31mb", FP8), "no part of odd"),
]


@pytest.mark.parametrize(("change", "message"), TENSORS, ids=[message for _, message in TENSORS])
def test_tensors_that_do_not_fit(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert message in refused(write(tmp_path / "odd", GPT2, change(tensors(GPT2))))


@pytest.mark.parametrize(
    "name", ["h.0.attn.bias", "h.1.attn.masked_bias", "score.weight", "multiple_choice_head.summary.bias"]
)
def test_what_is_not_needed_may_be_of_any_type(name: str, tmp_path: Path) -> None:
    needed("safetensors")
    weights_of(GPT2, write(tmp_path / "x", GPT2, tensors(GPT2) | {name: FP8}))


def test_a_head_that_is_the_embedding_may_be_there(tmp_path: Path) -> None:
    needed("safetensors")
    given = tensors(GPT2)
    found = weights_of(GPT2, write(tmp_path / "x", GPT2, given | {"lm_head.weight": given[WTE]}))
    assert found.head is found.tokens


@pytest.mark.parametrize(
    ("config", "named", "message"),
    [
        ({}, "gpt-2", "config.json: layers is 2, but GPT-2 has 12"),
        ({}, "bert-base", "config.json: layers is 2, but BERT-Base has 12"),
        (None, None, "no config.json beside it says of what model; name it with --model"),
        (None, "gpt-2", "is (32, 96), but GPT-2 has (768, 2304)"),
    ],
)
def test_a_model_that_is_named(
    config: Any, named: str | None, message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "odd", GPT2)
    if config is None:
        (folder / "config.json").unlink()
    assert message in refused(folder, *(["--model", named] if named else []))


def test_what_a_named_model_has_otherwise(refused: Callable[..., str], tmp_path: Path) -> None:
    """Each number, with a TOML file that has another."""
    numbers = {"layers": 2, "width": 32, "heads": 4, "ffn": 128, "vocabulary": 61, "positions": 24}
    folder = write(tmp_path / "odd", GPT2)
    lines = ['name = "it"', "decoder = true"]
    for name, value in [("heads", 2), ("epsilon", 0.5), ("activation", '"gelu"'), ("tied", "false")]:
        given = {**numbers, name: value}
        path = tmp_path / "it.toml"
        path.write_text("\n".join([*lines, *(f"{key} = {of}" for key, of in given.items())]))
        assert f"config.json: {name} is " in refused(folder, "--model", str(path))


def test_paths(refused: Callable[..., str], tmp_path: Path) -> None:
    """What is no file, or not what it says; nothing waits for a FIFO's writer."""
    model = ["--model", "gpt-2"]
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_text("x")
    (tmp_path / "two").mkdir()
    for variant in ("fp16", "fp32"):
        (tmp_path / "two" / f"model.{variant}.safetensors").write_text("x")
    texts = {"cut": bytes_of(tensors(GPT2))[:-1], "no": b"no", "lfs": b"version https://git-lfs.github.com/spec/v1\n"}
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    folders = write(tmp_path / "pipes", GPT2)
    (folders / "model.safetensors").unlink()
    os.mkfifo(folders / "model.safetensors")
    for path, message in (
        ("fifo", "not a file, but a FIFO"),
        ("pipes", "not a file, but a FIFO"),
        ("/dev/zero", "not a file, but a device"),
        ("/proc/self/status", "empty"),
        ("gone", "no such file or folder"),
        ("x\0y", "no such file or folder"),
        ("n" * 300, "File name too long"),
        ("empty", "no model.safetensors and no model.safetensors.index.json in it"),
        ("old", "pytorch_model.bin is read as pickle"),
        ("two", "several checkpoints, model.fp16.safetensors and model.fp32.safetensors: name one"),
        ("cut", "not safetensors that can be read"),
        ("no", "not safetensors that can be read"),
        ("lfs", "a pointer of Git LFS"),
    ):
        assert message in refused(tmp_path / path, *([] if path == "pipes" else model)), path


def test_an_index_that_is_wrong(refused: Callable[..., str], tmp_path: Path) -> None:
    folder = write(tmp_path / "odd", GPT2)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    good = dict.fromkeys(tensors(GPT2), "part.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": good}))
    weights_of(GPT2, folder)
    outside = str(folder / "part.safetensors")
    for content, message in (
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no weight_map"),
        (json.dumps({"weight_map": []}), "no weight_map"),
        (json.dumps({"weight_map": {}}), "no weight_map"),
        (json.dumps({"weight_map": good | {WTE: 3}}), "must be in a file beside it, not 3"),
        (json.dumps({"weight_map": good | {WTE: outside}}), "must be in a file beside it"),
        (json.dumps({"weight_map": good | {WTE: "../odd/part.safetensors"}}), "must be in a file beside it"),
        (json.dumps({"weight_map": good | {WTE: ".."}}), "not a file, but a folder"),
        (json.dumps({"weight_map": good | {WTE: "gone.safetensors"}}), "gone.safetensors: No such file"),
        (json.dumps({"weight_map": good | {"more": "part.safetensors"}}), "part.safetensors: no more, which"),
    ):
        index.write_text(content)
        assert message in refused(folder), content[:80]


def test_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    """As Windows' editors put it before JSON."""
    needed("safetensors")
    folder = write(tmp_path / "gpt2", GPT2)
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())
    assert model_of(folder, None) == GPT2


def test_names_of_models(tmp_path: Path) -> None:
    """The folder's; in the cache of Hugging Face's hub, the repository's."""
    hub = tmp_path / "models--someone--tiny" / "snapshots" / "0123abc"
    hub.mkdir(parents=True)
    for folder, name in ((hub, "someone/tiny"), (tmp_path / "a\x1b[31mb", r"a\x1b[31mb"), (tmp_path / "[b]", "[b]")):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(CONFIG["bert"]))
        assert model_of(folder, None).name == name


def test_both_spellings_of_gpt2(tmp_path: Path) -> None:
    """transformers takes either."""
    names = {
        "n_layer": "num_hidden_layers",
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
    }
    other = {names.get(key, key): value for key, value in CONFIG["gpt2"].items()}
    assert from_config(json.dumps(other), "x", "gpt2") == GPT2


def test_without_safetensors(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "needs safetensors, which isn't installed" in refused(write(tmp_path / "x", GPT2))


def test_values_are_those_of_each_type(tmp_path: Path) -> None:
    """bfloat16 is the upper half of an f32; a scalar and nothing at all are read, too."""
    needed("safetensors")
    halves = np.array([0x3F80, 0xC000, 0x0001, 0x7F7F], np.uint16)
    given = {
        "a": ("BF16", (2, 2), halves.tobytes()),
        "b": tensor(np.array(1.5, np.float16)),
        "c": tensor(np.zeros((0, 3), np.float32)),
        "d": ("BF16", (), b"\x80\x3f"),
        "e": tensor(np.array([6e-8], np.float16)),
    }
    (tmp_path / "x.safetensors").write_bytes(bytes_of(given))
    found = Tensors(tmp_path / "x.safetensors")
    wanted = np.array([[1, -2], [2.0**-133, 2.0**128 - 2.0**120]], np.float32)
    np.testing.assert_array_equal(found["a"], wanted)
    assert (found["b"], found["d"], found["c"].shape) == (1.5, 1, (0, 3))
    assert found["e"][0] == np.float32(np.float16(6e-8)) > 0
    assert {found[name].dtype for name in found} == {np.dtype(np.float32)}


def test_nothing_is_skipped_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.skip.Exception, match="no_such_library is not installed"):
        needed("no_such_library")
    monkeypatch.setattr(support_needed, "REQUIRED", {"no_such_library"})
    with pytest.raises(pytest.fail.Exception, match="REQUIRE_LIBRARIES: no_such_library is not installed"):
        needed("no_such_library")
