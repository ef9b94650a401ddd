"""Models with stored weights beside the same in f32: what they compute, how far they are off, and by what text."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from bench.errors import BadInput
from bench.measure.models.tasks import Task
from bench.models.accuracy import Distribution, Errors, accuracies
from bench.models.inference import Decoder, Encoder
from bench.models.schemes import Scheme, scheme_of
from bench.models.steps import BACKENDS, by_name
from bench.models.stored import encoded, stored, stored_bytes
from bench.models.text import Text, random_text, token_ids, tokenised
from bench.models.weights import Weights, random_weights
from bench.record.runs.work import work
from bench.workloads.model import Model, find
from kernels import UnavailableISA
from kernels.types import TYPES
from support.needed import needed

BERT = Model("tiny BERT", 2, 128, 4, 256, 101, 40, segments=2)
GPT2 = Model("tiny GPT-2", 2, 128, 4, 256, 101, 96, decoder=True, fused_qkv=True, conv1d=True)
CLOSE = 1e-4  # of the largest element: f32 through all layers
ROUNDED = 0.03  # where an activation in the middle of two steps may go either way


def dequantised(weights: Weights, element: str) -> Weights:
    """In f32, the matrices as the type has them."""

    def of(w: np.ndarray) -> np.ndarray:
        """w[n,k]"""
        return TYPES[element].decode(TYPES[element].encode(w)).astype(np.float32)

    names = ("qkv", "o", "ffn_up", "ffn_down")
    layers = []
    for layer in weights.layers:
        changed: Any = {
            n: replace(m := getattr(layer, n), weight=np.ascontiguousarray(of(m.weight.T).T)) for n in names
        }
        layers.append(replace(layer, **changed))
    return replace(weights, layers=tuple(layers), head=of(weights.head))


def close(result: np.ndarray, expected: np.ndarray, by: float = CLOSE) -> None:
    assert np.abs(result - expected).max() <= by * np.abs(expected).max()


def weights_as(model: Model, weights: Weights, backend: str, scheme: Scheme) -> Weights:
    try:
        kernel = scheme.kernel(backend)
    except (KeyError, UnavailableISA) as error:
        pytest.skip(str(error))
    return stored(weights, [kernel], 1, model.decoder)[0]


SCHEMES = [Scheme(e, "linear") for e in TYPES if not TYPES[e].native]
SCHEMES += [Scheme(e, "linear_a8") for e in TYPES if not TYPES[e].native and e not in ("bf16", "f16")]
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.operation}-{s.element}")


@each_backend
@each_scheme
def test_stored_models_compute_what_dequantised_ones_do(scheme: Scheme, backend: str) -> None:
    """Prompts, single tokens and the LM head, through one packed order."""
    by = CLOSE if scheme.operation == "linear" else ROUNDED
    weights = random_weights(GPT2)
    packed, plain = weights_as(GPT2, weights, backend, scheme), dequantised(weights, scheme.element)
    tokens = random_text(GPT2, 24).tokens
    for prompt in (1, 9):
        one, other = (Decoder(GPT2, w, prompt, 12, 1, backend) for w in (packed, plain))
        for decoder in (one, other):
            decoder.start(tokens[:prompt])
        close(one.logits, other.logits, by)
        for position in range(prompt, 12):
            for decoder in (one, other):
                decoder.next[0] = tokens[position]
                decoder.run(position)
        close(one.logits, other.logits, by)
    weights = random_weights(BERT)
    packed, plain = weights_as(BERT, weights, backend, scheme), dequantised(weights, scheme.element)
    one_, other_ = (Encoder(BERT, w, 24, 1, backend) for w in (packed, plain))
    close(one_.encode(tokens), other_.encode(tokens), by)


@each_scheme
@pytest.mark.parametrize("length", [1, 3, 20])
@pytest.mark.parametrize(("model", "phase"), [(BERT, "encode"), (GPT2, "prefill"), (GPT2, "decode")])
def test_work_of_a_record_is_that_of_the_steps(model: Model, phase: str, length: int, scheme: Scheme) -> None:
    """Bytes of the weights by their type, scales included."""
    task = Task(model, phase, length)
    steps = by_name(task.prepare(weights_as(model, random_weights(model), "c", scheme), 1, "c"))
    calls = work(task.run("c", "avx2", 1, "f32", scheme))
    assert set(calls) == set(steps)
    for name, each in calls.items():
        derived: Counter[tuple[float, ...]] = Counter()
        for count, *one in each.tolist():
            derived[tuple(one)] += count
        assert derived == Counter((s.flops, s.cold, s.hot, s.back) for s in steps[name])
    passes = length if phase == "decode" else 1
    cold = sum(s.cold for name in ("qkv", "o", "ffn_up", "ffn_down", "lm_head") for s in steps.get(name, []))
    assert cold == passes * stored_bytes(model, scheme.element)


@pytest.mark.parametrize("element", [e for e in TYPES if not TYPES[e].native])
def test_matrices_are_encoded_in_pieces(element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = random_weights(GPT2).layers[0].qkv.weight.T
    whole = TYPES[element].encode(weight)
    monkeypatch.setattr("bench.models.stored.AT_ONCE", 5 * weight.shape[1])
    assert encoded(weight, element).tobytes() == whole.tobytes()


# --- errors


def test_figures_by_hand() -> None:
    """Against SciPy's softmax, in two portions."""
    random = np.random.default_rng(2)
    native, other = random.standard_normal((2, 9, 30)) * 3
    following = random.integers(0, 30, 8)
    errors = Errors()
    for part in (slice(0, 4), slice(4, 9)):
        errors.logits(Distribution(native[part]), Distribution(other[part]), following[part])
    of = errors.accuracy(GPT2, checkpoint=True, given=True)
    p, q = (log_softmax(x, axis=-1) for x in (native, other))
    divergence = (np.exp(p) * (p - q)).sum(-1)
    top, rows = native.argmax(-1), np.arange(9)
    assert of["positions"] == 9
    assert of["max_error"] == np.abs(native - other).max()
    assert of["rms_error"] == pytest.approx(np.sqrt(np.mean((native - other) ** 2)))
    assert of["rms"] == pytest.approx(np.sqrt(np.mean(native.var(-1))))
    assert of["kl"] == pytest.approx(divergence.mean())
    assert of["kl_most"] == pytest.approx(divergence.max())
    assert of["same_top"] == np.mean(top == other.argmax(-1))
    assert of["top_change"] == pytest.approx(np.sqrt(np.mean((np.exp(q) - np.exp(p))[rows, top] ** 2)))
    assert of["perplexity"] == pytest.approx(np.exp(-q[rows[:8], following].mean()))
    assert of["native_perplexity"] == pytest.approx(np.exp(-p[rows[:8], following].mean()))
    for checkpoint, given in ((False, True), (True, False)):
        assert errors.accuracy(GPT2, checkpoint, given)["perplexity"] is None


def test_a_model_is_no_way_from_itself() -> None:
    for model in (BERT, GPT2):
        weights = random_weights(model)
        (same,) = accuracies(model, weights, [("c", weights)], random_text(model, 50), 1, False)
        assert (same["max_error"], same["rms_error"]) == (0, 0)
        assert same["rms"] > 0
        if model.decoder:
            assert (same["kl"], same["same_top"], same["top_change"]) == (0, 1, 0)
        else:
            assert (same["kl"], same["same_top"]) == (None, None)


def test_fewer_bits_are_farther_off() -> None:
    """A dequantised model on f32's kernels: bf16, 8 bits, 4 bits, in this order."""
    weights = random_weights(GPT2)
    others = [("c", dequantised(weights, element)) for element in ("bf16", "i8g32", "i4g32")]
    found = accuracies(GPT2, weights, others, random_text(GPT2, 90), 1, False)
    for name in ("max_error", "rms_error", "kl", "top_change"):
        bf16, int8, int4 = (of[name] for of in found)  # type: ignore[literal-required]
        assert 0 < bf16 < int4 and 0 < int8 < int4


def test_windows_begin_anew() -> None:
    """A text beyond the model's positions: each window is a text of its own, and none follows its last token."""
    weights = random_weights(GPT2)
    other = [("c", dequantised(weights, "i4g32"))]
    tokens = random_text(GPT2, 2 * GPT2.positions + 5).tokens

    def judged(tokens: np.ndarray) -> Any:
        return accuracies(GPT2, weights, other, Text(tokens, True), 1, True)[0]

    whole = judged(tokens)
    parts = [judged(tokens[first : first + GPT2.positions]) for first in range(0, len(tokens), GPT2.positions)]
    assert whole["positions"] == len(tokens)
    assert whole["max_error"] == max(part["max_error"] for part in parts)
    counts = [part["positions"] for part in parts]
    assert whole["kl"] == pytest.approx(np.average([part["kl"] for part in parts], weights=counts))
    logs = [np.log(part["perplexity"]) for part in parts]
    predicted = [count - 1 for count in counts]
    assert np.log(whole["perplexity"]) == pytest.approx(np.average(logs, weights=predicted))


# --- what is asked for


def test_names() -> None:
    assert scheme_of("int4") == Scheme("i4g32", "linear_a8") == scheme_of("i4g32")
    assert scheme_of("int8", "f32") == Scheme("i8g32", "linear")
    assert scheme_of("bf16") == Scheme("bf16", "linear")
    for name in ("f32", "int5", "", "a" * 99):
        with pytest.raises(BadInput, match="--weights-as"):
            scheme_of(name)
    with pytest.raises(BadInput, match=r"its width, 48, is no multiple of 32, the group of i4g32"):
        scheme_of("int4").check(replace(GPT2, width=48, head_dim=12))
    scheme_of("u4g128").check(find("GPT-2"))


def test_ids_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("1 2\n100\t0\n")
    text = token_ids(tmp_path / "ids", GPT2)
    assert (text.tokens.tolist(), text.given) == ([1, 2, 100, 0], True)
    for words, message in (
        ("1 2 101", "token 2 is '101'; tiny GPT-2 has 0 to 100"),
        ("1 -2", "token 1 is '-2'"),
        ("1 two", "token 1 is 'two'"),
        ("1 ²", "token 1 is '²'"),
        ("7", "1 token; 2 are needed"),
    ):
        (tmp_path / "ids").write_text(words, encoding="utf-8")
        with pytest.raises(BadInput, match=message):
            token_ids(tmp_path / "ids", GPT2)


def _vocabulary(folder: Path) -> None:
    """A tokenizer of bytes and one merge."""
    tokenizers = needed("tokenizers")
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(["ab ab ab"], vocab_size=257, show_progress=False)
    made.save(str(folder / "tokenizer.json"))
    made.save_model(str(folder))


@pytest.mark.parametrize("without", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_a_text(without: list[str], tmp_path: Path) -> None:
    """By tokenizer.json, or the two files that GPT-2 had at first."""
    _vocabulary(tmp_path)
    model = replace(GPT2, vocabulary=257)
    (tmp_path / "text").write_text("abba")
    for name in without:
        (tmp_path / name).unlink()
    text = tokenised(tmp_path / "text", tmp_path, model)
    assert (len(text.tokens), text.given) == (3, True)
    assert text.tokens[0] == 256  # "ab", the one merge
    with pytest.raises(BadInput, match=f"its tokenizer has token 256; {GPT2.name} has 0 to 100"):
        tokenised(tmp_path / "text", tmp_path, GPT2)


def test_a_tokenizer_that_cannot_be_read(tmp_path: Path) -> None:
    needed("tokenizers")
    (tmp_path / "text").write_text("abba")
    with pytest.raises(BadInput, match=r"neither tokenizer.json nor vocab.json and merges.txt in"):
        tokenised(tmp_path / "text", tmp_path, GPT2)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer.json: not a tokenizer that can be read"):
        tokenised(tmp_path / "text", tmp_path, GPT2)
