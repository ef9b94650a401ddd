"""OpenVINO's CPU plugin on stored weights: a constant in its own type, its zero point and scale, then the product.

Its compressed models are written so, and the plugin widens such weights as it multiplies. Activations stay in f32: it
is told not to round them, which it would only do on CPUs with VNNI.
"""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from kernels.backends.libraries.linear.parts import bytes_of, numbers, pairs, scales, zeros
from kernels.backends.libraries.openvino import compiled, loaded, requested
from kernels.types import TYPES

OPTIONS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


@cache
def _exported() -> dict[Any, bytes]:
    """The model that was compiled last, by its weights."""
    return {}


def pack(operation: str, element: str, w: np.ndarray, threads: int) -> openvino.CompiledModel:
    """Weights w[n,k] as the constant of a model of their own, for any m.

    Models of the same weights are compiled once and then loaded, each with weights of its own: 6 ms instead of 35.
    """
    blocks = np.ascontiguousarray(w)
    key = element, w.shape, threads, blake2b(blocks.tobytes()).digest()
    if exported := _exported().get(key):
        return loaded(exported, threads, OPTIONS)
    weights = _halves(element, blocks) if element in ("bf16", "f16") else _groups(element, blocks)
    x = ops.parameter([-1, TYPES[element].shape(w.shape)[1]], np.float32)
    model = compiled(x, weights, True, threads, OPTIONS)
    _exported().clear()
    _exported()[key] = model.export_model().getvalue()
    return model


def _halves(element: str, w: np.ndarray) -> openvino.Node:
    kind = openvino.Type.bf16 if element == "bf16" else openvino.Type.f16
    constant = ops.constant(openvino.Tensor(np.ascontiguousarray(w), w.shape, kind), shared_memory=False)
    return ops.convert(constant, "f32")


def _groups(element: str, w: np.ndarray) -> openvino.Node:
    (n, k), group = TYPES[element].shape(w.shape), TYPES[element].group
    shape = [n, k] if element == "i8" else [n, k // group, group]

    def constant(x: np.ndarray, kind: openvino.Type, dims: list[int]) -> openvino.Node:
        return ops.constant(openvino.Tensor(np.ascontiguousarray(x), dims, kind), shared_memory=False)

    each = [n, 1] if element == "i8" else [n, k // group, 1]
    if element.startswith("i8"):
        q = ops.convert(constant(bytes_of(element, w), openvino.Type.i8, shape), "f16")
    elif element.startswith("i4"):
        q = ops.convert(constant(pairs(numbers(w) ^ 8), openvino.Type.i4, shape), "f16")  # two's complement
    else:
        q = ops.convert(constant(pairs(numbers(w)), openvino.Type.u4, shape), "f16")
        zero = constant(pairs(zeros(element, w).reshape(1, -1)), openvino.Type.u4, each)
        q = ops.subtract(q, ops.convert(zero, "f16"))
    if element == "i8":
        return ops.multiply(ops.convert(q, "f32"), constant(scales(element, w), openvino.Type.f32, each))
    scaled = ops.multiply(q, constant(w["scale"], openvino.Type.f16, each))
    return ops.convert(ops.reshape(scaled, [n, k], False), "f32")


def bind(operation: str, element: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    """Operands are shared, not copied. Raises ValueError for an output whose rows don't follow each other."""
    if not out.flags.c_contiguous:
        raise ValueError("out must be contiguous: OpenVINO has no leading dimensions")
    return requested(inputs[1].data, [np.ascontiguousarray(inputs[0])], out)
