"""Weights that are only stored in a narrow type: encoded, and packed for the kernels that multiply them.

Biases, norms, embeddings, activations and the KV cache stay as they are; the LM head, tied or not, is stored too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.models.weights import Layer, Stored, Weights
from bench.workloads.model import Model
from kernels import Kernel
from kernels.arrays import Arena
from kernels.types import TYPES

AT_ONCE = 1 << 19  # elements that are encoded at a time: their float64 copies stay in L3


def encoded(weight: np.ndarray, element: str) -> np.ndarray:
    """w[n,k] of the type, rounded to nearest: the plain storage that Kernel.pack() takes."""
    kind = TYPES[element]
    rows = max(1, AT_ONCE // weight.shape[1])
    parts = (weight[first : first + rows] for first in range(0, len(weight), rows))
    return np.concatenate([kind.encode(np.ascontiguousarray(part)) for part in parts])


def stored(weights: Weights, kernels_: Sequence[Kernel], threads: int, decoder: bool) -> list[Weights]:
    """The same model once for each of some kernels of linear or linear_a8, all for one type, and packed for it: its
    linear layers, and a decoder's LM head. Matrices smaller than a huge page share some.
    """
    element, arenas = kernels_[0].types["w"], [Arena() for _ in kernels_]

    def packed_for(kernel: Kernel, plain: np.ndarray, arena: Arena) -> Stored:
        with arena:
            return Stored(kernel, kernel.pack(plain, threads))

    def pack(weight: np.ndarray) -> list[Stored]:
        """Of w[n,k]."""
        plain = encoded(weight, element)
        return [packed_for(kernel, plain, arena) for kernel, arena in zip(kernels_, arenas, strict=True)]

    names = ("qkv", "o", "ffn_up", "ffn_down")
    packed = [{name: pack(getattr(layer, name).weight.T) for name in names} for layer in weights.layers]
    head = pack(weights.head) if decoder else [None] * len(kernels_)

    def layer(of: Layer, at: dict[str, list[Stored]], i: int) -> Layer:
        qkv, o, up, down = (replace(getattr(of, name), stored=at[name][i]) for name in names)
        return replace(of, qkv=qkv, o=o, ffn_up=up, ffn_down=down)

    def whole(i: int) -> Weights:
        layers = tuple(layer(of, at, i) for of, at in zip(weights.layers, packed, strict=True))
        return replace(weights, layers=layers, stored_head=head[i])

    return [whole(i) for i in range(len(kernels_))]


def stored_bytes(model: Model, element: str) -> int:
    """Of all matrices of a model's linear layers, the LM head included."""
    d, f, kind = model.width, model.ffn, TYPES[element]
    layer = 3 * d * kind.bytes(d) + d * kind.bytes(d) + f * kind.bytes(d) + d * kind.bytes(f)
    return model.layers * layer + model.decoder * model.vocabulary * kind.bytes(d)
