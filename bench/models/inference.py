"""Whole Transformers on this project's own kernels: BERT's encoder, GPT-2's decoder with a KV cache.

A forward pass is a list of calls that were bound to their arrays before: nothing is allocated or checked on the way.
Heads are views of the activations. Q, K and V are one product. Where many tokens enter, weights are packed ahead; for
one token they are read as they lie, row by row.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from time import perf_counter
from typing import Any

import numpy as np

import kernels
from bench.host.placement import isa_in_use
from bench.host.sysfs import cache_bytes
from bench.models.weights import Layer, Linear, Norm, Weights
from bench.workloads.model import Model
from kernels import Kernel
from kernels.arrays import aligned_empty
from kernels.operations import OPERATIONS
from kernels.types import DTYPES

BACKENDS = ("c", "numba")
"""Those that have every operation of a model."""
EPSILON = {False: 1e-12, True: 1e-5}  # BERT's and, for decoders, GPT-2's


@dataclass(frozen=True)
class Step:
    """One bound call. `flops` and bytes are its operation's; what NumPy does (look-up, cache, argmax) has no FLOPs.

    name   which part of the model it is: "qkv", "softmax", ...
    cold   bytes that come from where the weights are: weights and KV cache
    hot    bytes of activations, each operand once
    back   of these, what only goes back to where it came from: changed in place
    """

    name: str
    call: Callable[[], Any]
    flops: int = 0
    cold: int = 0
    hot: int = 0
    back: int = 0


def _dims(operation: str, operands: Iterable[Any]) -> dict[str, int]:
    return {
        d: size
        for (_, names), x in zip(OPERATIONS[operation].inputs, operands, strict=True)
        for d, size in zip(names, x.shape, strict=True)
    }


class Bench:
    """Binds the kernels of one backend, dtype and number of threads, and makes the arrays they work on."""

    def __init__(self, dtype: str, threads: int, backend: str = "c") -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be {' or '.join(BACKENDS)}, not {backend!r}")
        self.dtype, self.threads = dtype, threads
        isa = isa_in_use() if backend == "c" else None
        self.kernel: Callable[[str], Kernel] = cache(lambda operation: kernels.find(operation, dtype, backend, isa))

    def empty(self, *shape: int) -> np.ndarray:
        array = aligned_empty(shape, DTYPES[self.dtype])
        array[...] = 0  # maps its pages
        return array

    def scalar(self, value: float) -> np.ndarray:
        return np.array([value], DTYPES[self.dtype])

    def step(self, name: str, operation: str, *inputs: Any, out: np.ndarray, cold: int | None = None) -> Step:
        """cold: which of the inputs comes from memory; None: none does."""
        op, kernel = OPERATIONS[operation], self.kernel(operation)
        dims = _dims(operation, inputs)
        moved = op.bytes(dims, kernel.types)
        from_memory = 0 if cold is None else op.operand_bytes(dims, kernel.types)[op.inputs[cold][0]]
        call = kernel.bind(*inputs, out=out, threads=self.threads)
        back = moved - op.delivered(dims, kernel.types)
        return Step(name, call, op.flops(dims), from_memory, moved - from_memory, back)

    def pack(self, linear: Linear) -> Any:
        return self.kernel("gemm_prepacked").pack(linear.weight, self.threads)


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """[tokens, width] as [heads, tokens, head_dim], a view."""
    return x.reshape(x.shape[0], heads, -1).swapaxes(0, 1)


def _together(heads: int, scores: int, threads: int) -> int:
    """Heads to attend at once, their scores so many bytes each: what all L2 hold, but a head a thread at least."""
    most = threads * max(1, (cache_bytes(2) or 0) // scores)
    return math.ceil(heads / math.ceil(heads / most))


def _checked(tokens: Sequence[int] | np.ndarray, count: int, vocabulary: int) -> np.ndarray:
    """Token ids, as many as asked for. Raises ValueError for others."""
    given = np.asarray(tokens, np.int64)
    if given.shape != (count,):
        raise ValueError(f"{count} tokens, not of shape {given.shape}")
    if given.min() < 0 or given.max() >= vocabulary:
        raise ValueError(f"tokens must be 0 to {vocabulary - 1}")
    return given


def _length(name: str, tokens: int, model: Model) -> None:
    if not 1 <= tokens <= model.positions:
        raise ValueError(f"{name}: {model.name} takes 1 to {model.positions} tokens, not {tokens}")


class Pass:
    """A forward pass of `length` tokens: `steps` in order, run() to run them; `tokens` holds the ids that enter."""

    def __init__(self, bench: Bench, model: Model, weights: Weights, length: int) -> None:
        self.bench, self.model, self.weights, self.length = bench, model, weights, length
        d, f, h = model.width, model.ffn, model.heads
        self.tokens = np.zeros(length, np.int64)
        self.x, self.y, self.r = (bench.empty(length, d) for _ in range(3))
        self.qkv, self.context, self.inner = bench.empty(length, 3 * d), bench.empty(length, d), bench.empty(length, f)
        self.scores = bench.empty(_together(h, length * length * self.x.itemsize, bench.threads), length, length)
        self.scale = bench.scalar(model.head_dim**-0.5)
        self.eps = bench.scalar(EPSILON[model.decoder])
        self.steps: list[Step] = []

    def run(self) -> None:
        for step in self.steps:
            step.call()

    def embed(self, position: int = 0) -> list[Step]:
        """x = tokens' embeddings + positions' + the first segment's."""
        w, bench = self.weights, self.bench
        take = partial(np.take, w.tokens, self.tokens, axis=0, out=self.x, mode="clip")  # else it buffers
        rows = w.positions[position : position + self.length]
        return [
            Step("embedding", take, cold=self.x.nbytes, hot=self.x.nbytes),
            bench.step("embedding", "residual", self.x, rows, w.segment, out=self.x, cold=1),
        ]

    def linear(self, name: str, x: np.ndarray, linear: Linear, out: np.ndarray) -> Step:
        """out = x weight, without the bias."""
        if self.length == 1:
            return self.bench.step(name, "gemv_t", x[0], linear.weight, out=out[0], cold=1)
        return self.bench.step(name, "gemm_prepacked", x, self.bench.pack(linear), out=out, cold=1)

    def attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, scores: np.ndarray, cold: int | None
    ) -> list[Step]:
        """context = softmax(q k^T / sqrt(head_dim)) v for every head, as many at once as `scores` has room for.

        All but scores[heads at once, q's tokens, k's tokens] are [heads, tokens, head_dim].
        """
        step, softmax = self.bench.step, "softmax_causal" if self.model.decoder else "softmax"
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
        return self.bench.step("norm", "layer_norm", x, norm.gain, norm.shift, self.eps, out=out)

    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Q, K and V of qkv, each [heads, tokens, head_dim]."""
        d, h = self.model.width, self.model.heads
        q, k, v = (_heads(self.qkv[:, i * d : (i + 1) * d], h) for i in range(3))
        return q, k, v


class Encoder(Pass):
    """BERT: norms behind the residuals. run() turns `tokens` into `hidden`[length, d]; both are written in place.

    backend  whose kernels run it, one of BACKENDS
    Raises ValueError where the length isn't 1 to the model's positions, and for another backend.
    """

    def __init__(self, model: Model, weights: Weights, length: int, threads: int = 1, backend: str = "c") -> None:
        _length("length", length, model)
        super().__init__(Bench(_name(weights), threads, backend), model, weights, length)
        self.steps += self.embed()
        self.steps.append(self.norm(self.x, weights.norm, self.y))
        for layer in weights.layers:
            self.steps += self._layer(layer)
        self.hidden = self.y

    def _layer(self, w: Layer) -> list[Step]:
        """y to y, with x between attention and FFN."""
        step = self.bench.step
        return [
            self.linear("qkv", self.y, w.qkv, self.qkv),
            step("bias", "bias", self.qkv, w.qkv.bias, out=self.qkv),
            *self.attention(*self.split(), self.scores, None),
            self.linear("o", self.context, w.o, self.r),
            self._add_norm(self.y, w.o, w.attention_norm, self.x),
            self.linear("ffn_up", self.x, w.ffn_up, self.inner),
            step("gelu", "gelu", self.inner, w.ffn_up.bias, out=self.inner),
            self.linear("ffn_down", self.inner, w.ffn_down, self.r),
            self._add_norm(self.x, w.ffn_down, w.ffn_norm, self.y),
        ]

    def _add_norm(self, x: np.ndarray, linear: Linear, norm: Norm, out: np.ndarray) -> Step:
        inputs = (x, self.r, linear.bias, norm.gain, norm.shift, self.eps)
        return self.bench.step("norm", "residual_norm", *inputs, out=out)

    def encode(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """The hidden states [length, d] of `length` token ids; the array is overwritten by the next call."""
        self.tokens[...] = _checked(tokens, self.length, self.model.vocabulary)
        self.run()
        return self.hidden


class _Decoding(Pass):
    """GPT-2: norms before attention and FFN, whose results are added to x. What prefill and one token share."""

    def __init__(self, bench: Bench, model: Model, weights: Weights, length: int, cache: np.ndarray) -> None:
        self.cache = cache
        super().__init__(bench, model, weights, length)

    def before(self, w: Layer) -> list[Step]:
        """Up to Q, K and V."""
        return [
            self.norm(self.x, w.attention_norm, self.y),
            self.linear("qkv", self.y, w.qkv, self.qkv),
            self.bench.step("bias", "bias", self.qkv, w.qkv.bias, out=self.qkv),
        ]

    def attend(self, i: int, position: int, scores: np.ndarray) -> list[Step]:
        """Layer i: K and V into the cache from `position` on, and attention to all that it then holds."""
        seen = position + self.length
        keys, values = self.cache[i, :, :, :seen]
        to = self.cache[i, :, :, position:seen]
        append = partial(np.copyto, to, _both(self.qkv, self.model))
        step = Step("cache", append, hot=2 * to.nbytes)
        return [step, *self.attention(self.split()[0], keys, values, scores, 1 if self.length == 1 else None)]

    def after(self, w: Layer) -> list[Step]:
        """From what attention returned to the end of the layer."""
        step = self.bench.step
        return [
            self.linear("o", self.context, w.o, self.r),
            step("residual", "residual", self.x, self.r, w.o.bias, out=self.x),
            self.norm(self.x, w.ffn_norm, self.y),
            self.linear("ffn_up", self.y, w.ffn_up, self.inner),
            step("gelu", "gelu_tanh", self.inner, w.ffn_up.bias, out=self.inner),
            self.linear("ffn_down", self.inner, w.ffn_down, self.r),
            step("residual", "residual", self.x, self.r, w.ffn_down.bias, out=self.x),
        ]

    def head(self, logits: np.ndarray, chosen: np.ndarray) -> list[Step]:
        """The last token's logits, and the largest of them as the next token."""
        return [
            self.norm(self.x, self.weights.norm, self.y),
            self.bench.step("lm_head", "gemv", self.weights.tokens, self.y[-1], out=logits, cold=0),
            Step("argmax", partial(np.argmax, logits, out=chosen[0, ...]), hot=logits.nbytes),
        ]


def _both(qkv: np.ndarray, model: Model) -> np.ndarray:
    """K and V of all heads, a view: [2, heads, tokens, head_dim]."""
    return qkv.reshape(qkv.shape[0], 3, model.heads, model.head_dim)[:, 1:].transpose(1, 2, 0, 3)


class Decoder:
    """GPT-2: a prompt enters at once (prefill), then token after token is generated, each the likeliest (greedy).

    prompt    tokens of the prompt; 0: none, and the first token has an empty cache
    capacity  tokens that the KV cache has room for: cache[layer, K or V, head, token, head_dim], allocated here
    prefill   the prompt's pass, whose hidden states are `prefill.y`; None without a prompt
    token     the steps of each later position: token[p] reads its token from `next`, and leaves the one after it there
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
        self.model, self.prompt, self.capacity = model, prompt, capacity
        bench = Bench(_name(weights), threads, backend)
        self.cache = bench.empty(model.layers, 2, model.heads, capacity, model.head_dim)
        self.logits = bench.empty(model.vocabulary)
        self.prefill: _Decoding | None = None
        one = _Decoding(bench, model, weights, 1, self.cache)
        self.next = one.tokens
        if prompt:
            self.prefill = many = _Decoding(bench, model, weights, prompt, self.cache)
            many.steps += many.embed()
            for i, layer in enumerate(weights.layers):
                many.steps += [*many.before(layer), *many.attend(i, 0, many.scores), *many.after(layer)]
            many.steps += many.head(self.logits, self.next)
        self.hidden = one.y
        around = [(one.before(layer), one.after(layer)) for layer in weights.layers]  # the same at every position
        head = one.head(self.logits, self.next)
        scores = bench.empty(model.heads, 1, capacity)
        self.token: dict[int, list[Step]] = {}
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
        for step in self.token[position]:
            step.call()

    def generate(self, tokens: Sequence[int] | np.ndarray, count: int) -> list[int]:
        """The `count` tokens after a prompt. Raises ValueError where the cache has no room for them."""
        if not 1 <= count <= self.capacity - self.prompt + bool(self.prompt):
            raise ValueError(f"the cache holds {self.capacity} tokens: no room for {count} after {self.prompt}")
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


def by_name(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps of each part of the model, in order of first use."""
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        found[step.name].append(step)
    return found


def timed_steps(steps: Iterable[Step]) -> dict[str, float]:
    """Runs the steps, once each and in order; name -> seconds. Reading the clock costs each some 0.1 us."""
    spent: dict[str, float] = defaultdict(float)
    before = perf_counter()
    for step in steps:
        step.call()
        now = perf_counter()
        spent[step.name] += now - before
        before = now
    return spent
