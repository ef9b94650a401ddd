"""Whole models: against plain NumPy in float64, and against Hugging Face's transformers where it is installed."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from bench.errors import BadInput
from bench.measure.models.tasks import Task
from bench.models.inference import Decoder, Encoder
from bench.models.steps import BACKENDS, Chain, by_name
from bench.models.weights import Layer, Linear, Norm, Weights, from_hugging_face, random_weights
from bench.record.runs.work import work
from bench.workloads.model import Model, find
from support.needed import needed

BERT = Model("tiny BERT", 3, 48, 4, 160, 101, 40, segments=2)
GPT2 = Model("tiny GPT-2", 3, 48, 4, 192, 101, 96, decoder=True, fused_qkv=True, conv1d=True)
CLOSE = 1e-4  # of the largest element: f32 through all layers


def close(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= CLOSE * np.abs(expected).max()


# --- the same models, written down as plainly as possible


def norm(x: np.ndarray, w: Norm, eps: float) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * w.gain + w.shift


def linear(x: np.ndarray, w: Linear) -> np.ndarray:
    return x @ w.weight.astype(np.float64) + w.bias


def attention(x: np.ndarray, w: Layer, heads: int, causal: bool) -> np.ndarray:
    q, k, v = np.split(linear(x, w.qkv), 3, axis=1)
    size = q.shape[1] // heads
    found = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / np.sqrt(size)
        if causal:
            scores[np.triu_indices(len(x), 1)] = -np.inf
        e = np.exp(scores - scores.max(-1, keepdims=True))
        found.append(e / e.sum(-1, keepdims=True) @ v[:, part])
    return linear(np.concatenate(found, axis=1), w.o)


def bert(model: Model, w: Weights, tokens: np.ndarray) -> np.ndarray:
    x = w.tokens[tokens].astype(np.float64) + w.positions[: len(tokens)] + w.segment
    x = norm(x, w.norm, 1e-12)
    for layer in w.layers:
        x = norm(x + attention(x, layer, model.heads, causal=False), layer.attention_norm, 1e-12)
        u = linear(x, layer.ffn_up)
        x = norm(x + linear(u * (1 + erf(u / np.sqrt(2))) / 2, layer.ffn_down), layer.ffn_norm, 1e-12)
    return x


def gpt2(model: Model, w: Weights, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(hidden states, logits of every position), without a cache."""
    x = w.tokens[tokens].astype(np.float64) + w.positions[: len(tokens)]
    for layer in w.layers:
        x = x + attention(norm(x, layer.attention_norm, 1e-5), layer, model.heads, causal=True)
        u = linear(norm(x, layer.ffn_norm, 1e-5), layer.ffn_up)
        x = x + linear(u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3))) / 2, layer.ffn_down)
    x = norm(x, w.norm, 1e-5)
    return x, x @ w.tokens.T.astype(np.float64)


def some_tokens(model: Model, count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, model.vocabulary, count)


each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_backend
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 13, 40])
def test_encoder(length: int, threads: int, backend: str) -> None:
    weights, tokens = random_weights(BERT), some_tokens(BERT, length)
    encoder = Encoder(BERT, weights, length, threads, backend)
    expected = bert(BERT, weights, tokens)
    for _ in range(2):  # nothing of the last run is left in the buffers
        close(encoder.encode(tokens), expected)


@each_backend
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("prompt", [1, 2, 33])
def test_decoder(prompt: int, threads: int, backend: str) -> None:
    """Prefill, then 60 tokens one by one: the logits of each position, and the tokens chosen from them."""
    weights, given = random_weights(GPT2), some_tokens(GPT2, prompt)
    decoder = Decoder(GPT2, weights, prompt, prompt + 60, threads, backend)
    made = decoder.generate(given, 61)
    hidden, logits = gpt2(GPT2, weights, np.array([*given, *made[:-1]]))
    assert made == list(logits[prompt - 1 :].argmax(axis=1))
    close(decoder.hidden[0], hidden[-1])
    close(decoder.logits, logits[-1])
    assert decoder.prefill
    decoder.start(given)
    close(decoder.prefill.y, hidden[:prompt])
    close(decoder.logits, logits[prompt - 1])


def test_without_a_prompt_the_first_token_is_given() -> None:
    weights = random_weights(GPT2)
    made = Decoder(GPT2, weights, 0, 20).generate([7], 20)
    assert made == Decoder(GPT2, weights, 1, 20).generate([7], 20)


@each_backend
def test_f64(backend: str) -> None:
    """The same code in f64 agrees to rounding: what f32 loses is rounding, too."""
    weights, tokens = random_weights(BERT, dtype="float64"), some_tokens(BERT, 17)
    encoder = Encoder(BERT, weights, 17, backend=backend)
    np.testing.assert_allclose(encoder.encode(tokens), bert(BERT, weights, tokens), rtol=1e-11)


def test_steps_are_what_the_model_counts() -> None:
    """FLOPs of the products, weights' and caches' bytes: as bench.layers counts them. Each part takes time."""
    encoder = Encoder(BERT, random_weights(BERT), 16)
    products = BERT.products(16)
    parts = by_name(encoder.steps)
    flops = {p.layer: p.count * p.flops for p in products}
    flops["qkv"] = flops["q"] + flops["k"] + flops["v"]
    for name in ("qkv", "o", "scores", "values", "ffn_up", "ffn_down"):
        assert sum(step.flops for step in parts[name]) == flops[name]
    matrices = sum(p.count * p.n * p.k for p in products if p.weight) * 4
    assert sum(s.cold for name in ("qkv", "o", "ffn_up", "ffn_down") for s in parts[name]) == matrices
    spent = Chain(encoder.steps).timed()
    assert set(spent) == set(parts)
    assert min(spent.values()) > 0

    one = by_name(Decoder(GPT2, random_weights(GPT2), 5, 20).token[19])
    for p in GPT2.products(1, context=20, phase="decode"):
        assert sum(step.flops for step in one[p.layer]) == p.count * p.flops
        assert sum(step.cold for step in one[p.layer]) == p.count * p.n * p.k * 4


def test_pointwise_operations_are_what_is_what_the_model_counts() -> None:
    """Softmax, norms, GELU, biases and residuals: calls, FLOPs and bytes as bench.layers has them for the roofline."""
    decoder = Decoder(GPT2, random_weights(GPT2), 16, 16)
    assert decoder.prefill
    for model, steps in ((BERT, Encoder(BERT, random_weights(BERT), 16).steps), (GPT2, decoder.prefill.steps)):
        parts, counted = by_name(steps), model.pointwise(16)
        for name in {p.layer for p in counted}:
            wanted = [p for p in counted if p.layer == name]
            calls = [step for step in parts[name] if step.flops]
            assert len(calls) == sum(p.count for p in wanted)
            assert sum(step.flops for step in calls) == sum(p.count * p.flops for p in wanted)
            assert sum(step.cold + step.hot for step in calls) == sum(p.count * p.bytes("f32") for p in wanted)


def test_refused() -> None:
    weights = random_weights(GPT2)
    with pytest.raises(ValueError, match="takes 1 to 40 tokens, not 41"):
        Encoder(BERT, random_weights(BERT), 41)
    with pytest.raises(ValueError, match="prompt: 0 to 20 tokens, not 21"):
        Decoder(GPT2, weights, 21, 20)
    with pytest.raises(ValueError, match="backend must be c or numba, not 'blas'"):
        Encoder(BERT, random_weights(BERT), 40, backend="blas")
    with pytest.raises(ValueError, match="a vocabulary of 16777217; numbers up to 16777216 are exact"):
        Decoder(replace(GPT2, vocabulary=(1 << 24) + 1), weights, 2, 20)
    decoder = Decoder(GPT2, weights, 2, 20)
    for tokens, message in (([1, 101], "tokens must be 0 to 100"), ([1], "2 tokens, not of shape")):
        with pytest.raises(ValueError, match=message):
            decoder.generate(tokens, 3)
    with pytest.raises(ValueError, match="no room for 20"):
        decoder.generate([1, 2], 20)
    with pytest.raises(BadInput, match="Llama-3-8B can be counted, but not run: its FFN is gated"):
        random_weights(find("llama-3-8b"))


# --- transformers


def hugging_face(model: Model, seed: int = 1):  # type: ignore[no-untyped-def]
    """A randomly initialised model of transformers with the same numbers, in f32."""
    torch, transformers = needed("torch"), needed("transformers")
    torch.manual_seed(seed)
    if model.decoder:
        config = transformers.GPT2Config(
            vocab_size=model.vocabulary,
            n_positions=model.positions,
            n_embd=model.width,
            n_layer=model.layers,
            n_head=model.heads,
            n_inner=model.ffn,
        )
        made = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.BertConfig(
            vocab_size=model.vocabulary,
            hidden_size=model.width,
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            intermediate_size=model.ffn,
            max_position_embeddings=model.positions,
        )
        made = transformers.BertModel(config)
    with torch.no_grad():
        for parameter in made.parameters():  # gains of one and biases of zero would hide much
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return torch, made.eval()


def arrays(made) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    return {name: tensor.numpy() for name, tensor in made.state_dict().items()}


def compare_encoder(model: Model, length: int, backend: str) -> None:
    torch, theirs = hugging_face(model)
    tokens = some_tokens(model, length)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)[None]).last_hidden_state[0].numpy()
    close(Encoder(model, from_hugging_face(model, arrays(theirs)), length, 2, backend).encode(tokens), expected)


def compare_decoder(model: Model, prompt: int, backend: str, count: int = 64) -> None:
    torch, theirs = hugging_face(model)
    tokens = some_tokens(model, prompt)
    decoder = Decoder(model, from_hugging_face(model, arrays(theirs)), prompt, prompt + count, 2, backend)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)[None], output_hidden_states=True)
        made = theirs.generate(torch.tensor(tokens)[None], max_new_tokens=count, do_sample=False, eos_token_id=None)
        decoder.start(tokens)
        assert decoder.prefill
        close(decoder.prefill.y, expected.hidden_states[-1][0].numpy())
        close(decoder.logits, expected.logits[0, -1].numpy())
        assert decoder.generate(tokens, count) == made[0, prompt:].tolist()
        close(decoder.logits, theirs(made[:, :-1]).logits[0, -1].numpy())


@pytest.mark.xdist_group("transformers")
@each_backend
def test_encoder_is_that_of_transformers(backend: str) -> None:
    compare_encoder(BERT, 29, backend)


@pytest.mark.xdist_group("transformers")
@each_backend
def test_decoder_is_that_of_transformers(backend: str) -> None:
    compare_decoder(replace(GPT2, positions=128), 29, backend)


@pytest.mark.full_size
@each_backend
@pytest.mark.parametrize("name", ["BERT-Base", "BERT-Large"])
def test_full_size_encoder(name: str, backend: str) -> None:
    compare_encoder(find(name), 128, backend)


@pytest.mark.full_size
@each_backend
def test_full_size_decoder(backend: str) -> None:
    compare_decoder(find("GPT-2"), 128, backend)


# --- what a record derives again


@pytest.mark.parametrize("length", [1, 2, 90])
@pytest.mark.parametrize(("model", "phase"), [(BERT, "encode"), (GPT2, "prefill"), (GPT2, "decode")])
def test_work_of_a_record_is_that_of_the_steps(model: Model, phase: str, length: int) -> None:
    """Call by call: how many there are of which FLOPs and bytes, in every part."""
    task = Task(replace(model, positions=96), phase, length)
    steps = by_name(task.prepare(random_weights(task.model), 1, "c"))
    run = task.run("c", "avx2", 1, "f32")
    assert set(work(run)) == set(steps)
    for name, calls in work(run).items():
        derived: Counter[tuple[float, ...]] = Counter()
        for count, *each in calls.tolist():
            derived[tuple(each)] += count
        assert derived == Counter((s.flops, s.cold, s.hot, s.back) for s in steps[name])
