"""A Transformer's FLOPs and bytes by the rules of Gholami et al., "AI and Memory Wall" (2024): exact integers.

A multiply and an add are 2 FLOPs. A MOP is one element moved, of one byte in the paper. Every operator reads its
operands once and writes its result once: no fusion, batch 1. Embeddings and the LM head are not counted. A decoder that
decodes is summed over generating all tokens, from no prompt, with a KV cache. GROUPS are the operators of the paper's
tables, after Kim et al., "Full Stack Optimization of Transformer Inference" (2023).

The formulas are the paper's where there are as many KV heads as heads, f = 4 d and no gate; tests/bench/test_counts.py
holds them to its tables. They are carried over to other models like this:

  attention   Q and what attention returns are q = heads head_dim wide, K and V kv = kv_heads head_dim: heads that share
              K and V read them once
  gated FFN   a third matrix; the activation's elements are multiplied by the gate's: 1 FLOP, 2 reads, 1 write each
  other       the paper's totals give 58 d FLOPs per token, but not whose they are. Taken here: GELU_FLOPS per element
              of f, NORM_FLOPS per element for each norm, 1 for each residual. An RMSNorm counts as a LayerNorm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.workloads.model import Model
from kernels.operations import GELU_FLOPS, NORM_FLOPS, SOFTMAX_FLOPS

GROUPS = ("projections", "act-to-act", "FFN", "other")
"""Q K V O; scores and values; the FFN's matrices; softmax, LayerNorm, activation, residual."""


@dataclass(frozen=True)
class Count:
    """FLOPs and MOPs: elements read and written."""

    flops: int = 0
    mops: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.flops + other.flops, self.mops + other.mops)

    @property
    def intensity(self) -> float:
        """Arithmetic intensity by the paper's rules, FLOPs per MOP: FLOP/byte at one byte per element."""
        return self.flops / self.mops

    def bytes(self, itemsize: int) -> int:
        """Bytes moved with elements of `itemsize` bytes: 4 for f32."""
        return self.mops * itemsize


def count(model: Model, length: int, phase: str | None = None) -> dict[str, Count]:
    """group -> FLOPs and MOPs of all layers.

    length  tokens that enter together (encode, prefill), or that are generated one by one (decode); it may exceed the
            model's positions, as in the paper
    phase   one of model.phases; None: the paper's, encode for an encoder and decode for a decoder

    Raises ValueError for a phase the model doesn't have and a length below 1.
    """
    phase = model.phases[-1] if phase is None else phase
    if phase not in model.phases:
        raise ValueError(f"{model.name} has no phase {phase!r}, only {' and '.join(model.phases)}")
    if length < 1:
        raise ValueError(f"a length of at least 1 token, not {length}")
    layer = _generated(model, length) if phase == "decode" else _entering(model, length)
    return {
        group: Count(model.layers * c.flops, model.layers * c.mops)
        for group, c in ((group, layer[group]) for group in GROUPS)
    }


def total(counts: Mapping[str, Count]) -> Count:
    """The whole model."""
    return sum(counts.values(), Count())


def _linear(model: Model, tokens: int) -> dict[str, Count]:
    """Projections and FFN of one layer for tokens that enter together: 2 k n FLOPs, k n + k + n MOPs per matrix."""
    d, f, q, kv = model.width, model.ffn, model.heads_width, model.kv_width
    matrices = 3 if model.gated else 2
    return {
        "projections": Count(4 * d * (q + kv) * tokens, 2 * d * (q + kv) + 2 * (2 * d + q + kv) * tokens),
        "FFN": Count(matrices * 2 * d * f * tokens, matrices * (d * f + (d + f) * tokens)),
    }


def _elementwise(model: Model, tokens: int) -> Count:
    """Activation, two norms and two residuals of one layer; of the MOPs all but the norms' gains and biases."""
    d, f = model.width, model.ffn
    gate = Count(f, 3 * f) if model.gated else Count()
    token = Count(GELU_FLOPS * f + 2 * (NORM_FLOPS + 1) * d, 2 * f + 10 * d) + gate
    return Count(token.flops * tokens, token.mops * tokens)


def _entering(model: Model, tokens: int) -> dict[str, Count]:
    """One layer, all tokens at once; a causal mask is not exploited."""
    d, q, kv = model.width, model.heads_width, model.kv_width
    scores, flat = model.heads * tokens**2, _elementwise(model, tokens)
    return _linear(model, tokens) | {
        # a score is a sum of head_dim products; each of the q elements that a token gets back, of as many as tokens
        "act-to-act": Count(
            (2 * model.head_dim - 1) * scores + (2 * tokens - 1) * q * tokens, 2 * ((q + kv) * tokens + scores)
        ),
        # the printed totals have d MOPs per token less than reading every operand gives
        "other": Count(SOFTMAX_FLOPS * scores + flat.flops, 2 * scores + flat.mops - d * tokens + 4 * d),
    }


def _generated(model: Model, tokens: int) -> dict[str, Count]:
    """One layer, tokens one after the other; the t-th reads t rows of both caches, T = l (l + 1) / 2 in all."""
    d, h, q, kv = model.width, model.heads, model.heads_width, model.kv_width
    rows, flat = tokens * (tokens + 1) // 2, _elementwise(model, tokens)
    linear = {group: Count(c.flops * tokens, c.mops * tokens) for group, c in _linear(model, 1).items()}
    return linear | {
        # the paper counts the h T scores once, and three vectors per token
        "act-to-act": Count(2 * q * tokens**2, (2 * kv + h) * rows + 3 * q * tokens),
        "other": Count(2 * h * tokens**2 + flat.flops, 2 * h * rows + flat.mops + 4 * d * tokens),
    }
