"""Whole Transformers on this project's own kernels: BERT's encoder, GPT-2's decoder with a KV cache.

A forward pass is a list of calls that were bound to their arrays before: nothing is allocated or checked on the way.
Heads are views of the activations. Q, K and V are one product. Where many tokens enter, weights are packed ahead; for
one token they are read unpacked, row by row. Weights that are only stored are packed for both.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from bench.host.sysfs import cache_bytes
from bench.models.steps import Binder, Chain, Step
from bench.models.weights import Layer, Linear, Norm, Weights
from bench.quantities import plural
from bench.workloads.model import Model
from kernels.types import DTYPES


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """[tokens, width] as [heads, tokens, head_dim], a view."""
    return x.reshape(x.shape[0], heads, -1).swapaxes(0, 1)


def together(heads: int, length: int, itemsize: int, threads: int) -> int:
    """Heads that attend at once where `length` tokens enter: what all L2 hold the scores of, but a head a thread."""
    most = threads * max(1, (cache_bytes(2) or 0) // (length * length * itemsize))
    return math.ceil(heads / math.ceil(heads / most))


def _checked(tokens: Sequence[int] | np.ndarray, count: int, vocabulary: int) -> np.ndarray:
    """Token ids, as many as asked for. Raises ValueError for others."""
    given = np.asarray(tokens, np.int64)
    if given.shape != (count,):
        raise ValueError(f"{plural(count, 'token')}, not of shape {given.shape}")
    if given.min() < 0 or given.max() >= vocabulary:
        raise ValueError(f"tokens must be 0 to {vocabulary - 1}")
    return given


def _length(name: str, tokens: int, model: Model) -> None:
    if not 1 <= tokens <= model.positions:
        raise ValueError(f"{name}: {model.name} takes 1 to {model.positions} tokens, not {tokens}")


class Pass:
    """A forward pass of `length` tokens: `steps` in order, run() to run them; `tokens` holds the ids that enter."""

    def __init__(self, binder: Binder, model: Model, weights: Weights, length: int) -> None:
        self.binder, self.model, self.weights, self.length = binder, model, weights, length
        d, q, f, h = model.width, model.heads_width, model.ffn, model.heads
        self.tokens = np.zeros(length, np.int64) if length > 1 else binder.empty(1)
        self.x, self.y, self.r = (binder.empty(length, d) for _ in range(3))
        self.qkv, self.context, self.inner = (binder.empty(length, width) for width in (3 * q, q, f))
        self.scores = binder.empty(together(h, length, self.x.itemsize, binder.threads), length, length)
        self.scale = binder.scalar(model.head_dim**-0.5)
        self.eps = binder.scalar(model.epsilon)
        self.steps: list[Step] = []

    @cached_property
    def chain(self) -> Chain:
        """The steps, once all are there."""
        return Chain(self.steps)

    def run(self) -> None:
        self.chain.run()

    def embed(self, position: int = 0) -> list[Step]:
        """x = tokens' embeddings + positions' + the first segment's."""
        w, binder, each = self.weights, self.binder, self.x.nbytes
        if self.length == 1:
            row = binder.step("embedding", "embed", w.tokens, self.tokens, out=self.x[0])
            step = replace(row, cold=each, hot=each)  # of the table it reads a row
        else:
            take = partial(np.take, w.tokens, self.tokens, axis=0, out=self.x, mode="clip")  # else it buffers
            step = Step("embedding", take, cold=each, hot=each)
        rows = w.positions[position : position + self.length]
        return [
            step,
            binder.step("embedding", "residual", self.x, rows, w.segment, out=self.x, cold=1),
        ]

    def linear(self, name: str, x: np.ndarray, linear: Linear, out: np.ndarray) -> Step:
        """out = x weight, without the bias."""
        if linear.stored:
            return self.binder.product(name, x, linear.stored, out)
        if self.length == 1:
            return self.binder.step(name, "gemv_t", x[0], linear.weight, out=out[0], cold=1)
        return self.binder.step(name, "gemm_prepacked", x, self.binder.pack(linear.weight), out=out, cold=1)

    def attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, scores: np.ndarray, cold: int | None
    ) -> list[Step]:
        """context = softmax(q k^T / sqrt(head_dim)) v for every head, as many at once as `scores` has room for.

        All but scores[heads at once, q's tokens, k's tokens] are [heads, tokens, head_dim].
        """
        step, softmax = self.binder.step, "softmax_causal" if self.model.decoder else "softmax"
        context, steps = _heads(self.context, self.model.heads), []
        for first in range(0, len(q), len(scores)):
            some = slice(first, first + len(scores))
            s = scores[: len(q[some])]
            steps += [
                step("scores", "gemm_batch_t", q[some], k[some], out=s, cold=cold),
                step("softmax", softmax, s, self.scale, out=s),
                step("values", "gemm_batch", s, v[some], out=context[some], cold=cold),
            ]
        return steps

    def norm(self, x: np.ndarray, norm: Norm, out: np.ndarray) -> Step:
        return self.binder.step("norm", "layer_norm", x, norm.gain, norm.shift, self.eps, out=out)

    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Q, K and V of qkv, each [heads, tokens, head_dim]."""
        width, h = self.model.heads_width, self.model.heads
        q, k, v = (_heads(self.qkv[:, i * width : (i + 1) * width], h) for i in range(3))
        return q, k, v


class Encoding(Pass):
    """BERT: norms behind the residuals."""

    def layer(self, w: Layer) -> list[Step]:
        """y to y, with x between attention and FFN."""
        step = self.binder.step
        return [
            self.linear("qkv", self.y, w.qkv, self.qkv),
            step("bias", "bias", self.qkv, w.qkv.bias, out=self.qkv),
            *self.attention(*self.split(), self.scores, None),
            self.linear("o", self.context, w.o, self.r),
            self._add_norm(self.y, w.o, w.attention_norm, self.x),
            self.linear("ffn_up", self.x, w.ffn_up, self.inner),
            step("gelu", self.model.activation, self.inner, w.ffn_up.bias, out=self.inner),
            self.linear("ffn_down", self.inner, w.ffn_down, self.r),
            self._add_norm(self.x, w.ffn_down, w.ffn_norm, self.y),
        ]

    def _add_norm(self, x: np.ndarray, linear: Linear, norm: Norm, out: np.ndarray) -> Step:
        inputs = (x, self.r, linear.bias, norm.gain, norm.shift, self.eps)
        return self.binder.step("norm", "residual_norm", *inputs, out=out)


class Encoder(Encoding):
    """A whole BERT. run() turns `tokens` into `hidden`[length, d]; both are written in place.

    backend  whose kernels run it, one of BACKENDS
    Raises ValueError where the length isn't 1 to the model's positions, and for another backend.
    """

    def __init__(self, model: Model, weights: Weights, length: int, threads: int = 1, backend: str = "c") -> None:
        _length("length", length, model)
        super().__init__(Binder(_name(weights), threads, backend), model, weights, length)
        self.steps += self.embed()
        self.steps.append(self.norm(self.x, weights.norm, self.y))
        for layer in weights.layers:
            self.steps += self.layer(layer)
        self.hidden = self.y

    def encode(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """The hidden states [length, d] of `length` token ids; the array is overwritten by the next call."""
        self.tokens[...] = _checked(tokens, self.length, self.model.vocabulary)
        self.run()
        return self.hidden


class Decoding(Pass):
    """GPT-2: norms before attention and FFN, whose results are added to x. What prefill and one token share."""

    def __init__(self, binder: Binder, model: Model, weights: Weights, length: int, cache: np.ndarray) -> None:
        self.cache = cache
        super().__init__(binder, model, weights, length)

    def layer(self, i: int, w: Layer, position: int, scores: np.ndarray) -> list[Step]:
        """Layer i, whose tokens stand from `position` on."""
        return [*self.before(w), *self.attend(i, position, scores), *self.after(w)]

    def before(self, w: Layer) -> list[Step]:
        """Up to Q, K and V."""
        return [
            self.norm(self.x, w.attention_norm, self.y),
            self.linear("qkv", self.y, w.qkv, self.qkv),
            self.binder.step("bias", "bias", self.qkv, w.qkv.bias, out=self.qkv),
        ]

    def attend(self, i: int, position: int, scores: np.ndarray) -> list[Step]:
        """Layer i: K and V into the cache from `position` on, and attention to all that it then holds."""
        seen, heads = position + self.length, self.model.heads
        keys, values = (_heads(of[:seen], heads) for of in self.cache[i])
        step = self.binder.step("cache", "copy_rows", _both(self.qkv), out=self.cache[i, :, position:seen])
        return [step, *self.attention(self.split()[0], keys, values, scores, 1 if self.length == 1 else None)]

    def after(self, w: Layer) -> list[Step]:
        """From what attention returned to the end of the layer."""
        step = self.binder.step
        return [
            self.linear("o", self.context, w.o, self.r),
            step("residual", "residual", self.x, self.r, w.o.bias, out=self.x),
            self.norm(self.x, w.ffn_norm, self.y),
            self.linear("ffn_up", self.y, w.ffn_up, self.inner),
            step("gelu", self.model.activation, self.inner, w.ffn_up.bias, out=self.inner),
            self.linear("ffn_down", self.inner, w.ffn_down, self.r),
            step("residual", "residual", self.x, self.r, w.ffn_down.bias, out=self.x),
        ]

    def head(self, logits: np.ndarray, chosen: np.ndarray) -> list[Step]:
        """The last token's logits, and the largest of them as the next token."""
        return [
            self.norm(self.x, self.weights.norm, self.y),
            self._logits(logits),
            self.binder.step("argmax", "argmax", logits, out=chosen),
        ]

    def _logits(self, out: np.ndarray) -> Step:
        if stored := self.weights.stored_head:
            return self.binder.product("lm_head", self.y[-1:], stored, out[np.newaxis])
        return self.binder.step("lm_head", "gemv", self.weights.head, self.y[-1], out=out, cold=0)


def _both(qkv: np.ndarray) -> np.ndarray:
    """K and V, a view: [2, tokens, width]."""
    return qkv.reshape(len(qkv), 3, -1)[:, 1:].swapaxes(0, 1)


class Decoder:
    """GPT-2: a prompt enters at once (prefill), then token after token is generated, each the likeliest (greedy).

    prompt    tokens of the prompt; 0: none, and the first token has an empty cache
    capacity  tokens that the KV cache has room for: cache[layer, K or V, token, head and head_dim], allocated here:
              what all heads read of a token is one piece of memory
    prefill   the prompt's pass, whose hidden states are `prefill.y`; None without a prompt
    token     the steps of each later position: token[p] reads its token from `next`, where it is a number of the
              weights' type, and writes the one after it there
    logits    [vocabulary], of the last token
    backend   whose kernels run it, one of BACKENDS

    Raises ValueError where the tokens aren't within the model's positions, and for another backend.
    """

    def __init__(
        self, model: Model, weights: Weights, prompt: int, capacity: int, threads: int = 1, backend: str = "c"
    ) -> None:
        _length("capacity", capacity, model)
        if not 0 <= prompt <= capacity:
            raise ValueError(f"prompt: 0 to {capacity} tokens, not {prompt}")
        if model.vocabulary > (most := 2 ** (np.finfo(weights.tokens.dtype).nmant + 1)):
            raise ValueError(f"{model.name}: a vocabulary of {model.vocabulary}; numbers up to {most} are exact")
        self.model, self.prompt, self.capacity = model, prompt, capacity
        binder = Binder(_name(weights), threads, backend)
        self.cache = binder.empty(model.layers, 2, capacity, model.width)
        self.logits = binder.empty(model.vocabulary)
        self.prefill: Decoding | None = None
        one = Decoding(binder, model, weights, 1, self.cache)
        self.next = one.tokens
        if prompt:
            self.prefill = many = Decoding(binder, model, weights, prompt, self.cache)
            many.steps += many.embed()
            for i, layer in enumerate(weights.layers):
                many.steps += many.layer(i, layer, 0, many.scores)
            many.steps += many.head(self.logits, self.next)
        self.hidden = one.y
        around = [(one.before(layer), one.after(layer)) for layer in weights.layers]  # the same at every position
        head = one.head(self.logits, self.next)
        scores = binder.empty(model.heads, 1, capacity)
        self.token: dict[int, list[Step]] = {}
        self._chains: dict[int, Chain] = {}
        for p in range(prompt, capacity):
            self.token[p] = one.embed(p)
            for i, (before, after) in enumerate(around):
                self.token[p] += [*before, *one.attend(i, p, scores[:, :, : p + 1]), *after]
            self.token[p] += head

    def start(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Runs the prompt; without one, `tokens` is the first token, and nothing runs yet. ValueError for others."""
        if self.prefill is None:
            self.next[...] = _checked(tokens, 1, self.model.vocabulary)
        else:
            self.prefill.tokens[...] = _checked(tokens, self.prompt, self.model.vocabulary)
            self.prefill.run()

    def run(self, position: int) -> None:
        if position not in self._chains:
            self._chains[position] = Chain(self.token[position])
        self._chains[position].run()

    def generate(self, tokens: Sequence[int] | np.ndarray, count: int) -> list[int]:
        """The `count` tokens after a prompt. Raises ValueError where the cache has no room for them."""
        if not 1 <= count <= self.capacity - self.prompt + bool(self.prompt):
            raise ValueError(
                f"the cache holds {plural(self.capacity, 'token')}: no room for {count} after {self.prompt}"
            )
        self.start(tokens)
        made = [int(self.next[0])] if self.prompt else []
        position = self.prompt
        while len(made) < count:
            self.run(position)
            made.append(int(self.next[0]))
            position += 1
        return made


def _name(weights: Weights) -> str:
    """The weights' dtype, as kernels call it."""
    return next(name for name, dtype in DTYPES.items() if dtype == weights.tokens.dtype)
