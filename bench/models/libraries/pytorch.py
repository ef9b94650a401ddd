"""PyTorch as its compiler freezes a model: weights reordered once for oneDNN, GELU inside the product before it.

Eager linear layers call MKL, which takes slower paths on CPUs of other makers, and multiplies a single token on one
thread however many there are. Only where there is one token and one thread it reads memory faster, by 10 to 30 %.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bench.models.libraries import Result, Run
from bench.models.weights import Layer, Norm, Weights
from bench.workloads.model import Model

torch.set_float32_matmul_precision("highest")  # no bfloat16 inside f32 products
Product = Callable[..., torch.Tensor]


def _linear(weight: np.ndarray, bias: np.ndarray | None, tokens: int, gelu: str | None = None) -> Product:
    """x weight[k,n] + bias; gelu: "none" (by erf) or "tanh", of the result."""
    k, n = weight.shape
    w, b = torch.from_numpy(weight), None if bias is None else torch.from_numpy(bias)
    if tokens == 1 and torch.get_num_threads() == 1:
        w = w.contiguous().T if n > k else w.T.contiguous()  # MKL reads either, long rows faster
        return lambda x: F.linear(x, w, b) if gelu is None else F.gelu(F.linear(x, w, b), approximate=gelu)
    packed = torch.ops.mkldnn._reorder_linear_weight(w.T.contiguous(), tokens)
    product = torch.ops.mkldnn._linear_pointwise.default
    fused: tuple[Any, ...] = ("none", [], "") if gelu is None else ("gelu", [], gelu)
    return lambda x: product(x, packed, b, *fused)


def _norm(norm: Norm, epsilon: float) -> Product:
    gain, shift = torch.from_numpy(norm.gain), torch.from_numpy(norm.shift)
    return lambda x: F.layer_norm(x, gain.shape, gain, shift, epsilon)


class _Layer:
    """One layer for `tokens` tokens at a time; of a decoder with its cache[K or V, head, token, head_dim]."""

    def __init__(self, model: Model, w: Layer, tokens: int, cache: torch.Tensor | None = None) -> None:
        self.heads, self.cache, self.tokens = model.heads, cache, tokens
        self.qkv, self.o, self.down = (_linear(x.weight, x.bias, tokens) for x in (w.qkv, w.o, w.ffn_down))
        self.up = _linear(w.ffn_up.weight, w.ffn_up.bias, tokens, "tanh" if model.activation == "gelu_tanh" else "none")
        self.attention_norm, self.ffn_norm = (_norm(x, model.epsilon) for x in (w.attention_norm, w.ffn_norm))

    def attention(self, x: torch.Tensor, position: int) -> torch.Tensor:
        """[tokens, width] to [tokens, width], O included."""
        q, k, v = self.qkv(x).view(self.tokens, 3, self.heads, -1).permute(1, 2, 0, 3)
        if self.cache is not None:
            seen = position + self.tokens
            self.cache[0, :, position:seen], self.cache[1, :, position:seen] = k, v
            k, v = self.cache[0, :, :seen], self.cache[1, :, :seen]
        causal = self.cache is not None and self.tokens > 1
        context = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=causal)[0]
        return self.o(context.transpose(0, 1).reshape(self.tokens, -1))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention_norm(x + self.attention(x, 0))
        return self.ffn_norm(x + self.down(self.up(x)))

    def decode(self, x: torch.Tensor, position: int) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), position)
        return x + self.down(self.up(self.ffn_norm(x)))


def _encoder(model: Model, w: Weights, tokens: torch.Tensor) -> Run:
    layers = [_Layer(model, layer, len(tokens)) for layer in w.layers]
    table, positions = torch.from_numpy(w.tokens), torch.from_numpy(w.positions)
    segment, norm = torch.from_numpy(w.segment), _norm(w.norm, model.epsilon)

    def run() -> Result:
        x = norm(F.embedding(tokens, table) + positions[: len(tokens)] + segment)
        for layer in layers:
            x = layer.encode(x)
        return x, ()

    return run


def _decoder(model: Model, w: Weights, tokens: torch.Tensor, steps: int) -> Run:
    """`steps` passes over len(tokens) / steps tokens each, the first of them given, the others the likeliest."""
    each = len(tokens) // steps
    cache = torch.zeros(model.layers, 2, model.heads, len(tokens), model.head_dim)
    layers = [_Layer(model, layer, each, cache[i]) for i, layer in enumerate(w.layers)]
    table, positions, norm = torch.from_numpy(w.tokens), torch.from_numpy(w.positions), _norm(w.norm, model.epsilon)
    head = _linear(w.head.T, None, 1)
    chosen = torch.zeros(steps, 1, dtype=torch.int64)

    def run() -> Result:
        now = tokens[:each]
        for step in range(steps):
            position = step * each
            x = F.embedding(now, table) + positions[position : position + each]
            for layer in layers:
                x = layer.decode(x, position)
            logits = head(norm(x[-1:]))
            torch.argmax(logits, 1, out=chosen[step])
            now = chosen[step]
        return logits[0], chosen[:, 0]

    return run


def prepare(model: Model, weights: Weights, phase: str, tokens: np.ndarray, threads: int) -> Run:
    torch.set_num_threads(threads)
    given = torch.from_numpy(tokens)
    if phase == "encode":
        run = _encoder(model, weights, given)
    else:
        run = _decoder(model, weights, given, len(tokens) if phase == "decode" else 1)
    ready: Run = torch.inference_mode()(run)
    return ready
