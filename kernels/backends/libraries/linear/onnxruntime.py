"""ONNX Runtime on stored weights: MatMulNBits for groups, DynamicQuantizeLinear and MatMulInteger for i8.

`linear` is MatMulNBits at accuracy level 1, which multiplies in f32; `linear_a8` is level 4, which rounds activations
to 8 bits in the groups of the weights. i8's rows are multiplied as integers, by activations that have one scale.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from kernels.backends.libraries.linear.parts import bytes_of, numbers, pairs, scales, zeros
from kernels.backends.libraries.onnx import session_of, size_pool
from kernels.types import TYPES

LEVELS = {"linear": 1, "linear_a8": 4}


def pack(operation: str, element: str, w: np.ndarray, threads: int) -> onnxruntime.InferenceSession:
    """Weights w[n,k] as constants of a graph of their own."""
    size_pool(threads)
    nodes, constants = _integer(w) if element == "i8" else _n_bits(operation, element, w)
    tensors = [numpy_helper.from_array(np.ascontiguousarray(x), name) for name, x in constants.items()]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [f"{name}0", f"{name}1"]) for name in "xy"]
    return session_of(helper.make_graph(nodes, operation, ends[:1], ends[1:], tensors))


def _n_bits(operation: str, element: str, w: np.ndarray) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    group, (n, blocks) = TYPES[element].group, w.shape
    constants = {"scales": scales(element, w)}
    if element == "i8g32":
        constants["w"] = (bytes_of(element, w).view(np.uint8) ^ 128).reshape(n, blocks, group)  # 128 more
    else:
        constants["w"] = pairs(numbers(w)).reshape(n, blocks, group // 2)
    if element.startswith("u4"):
        constants["zeros"] = pairs(zeros(element, w))
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "scales", *(["zeros"] if "zeros" in constants else [])],
        ["y"],
        domain="com.microsoft",
        K=blocks * group,
        N=n,
        bits=8 if element == "i8g32" else 4,
        block_size=group,
        accuracy_level=LEVELS[operation],
    )
    return [node], constants


def _integer(w: np.ndarray) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """As its quantiser makes it. Weights are u8 around 128: products of u8 and i8 overflow where a CPU has no VNNI."""
    constants = {
        "w": (bytes_of("i8", w).view(np.uint8) ^ 128).T,
        "zero": np.array(128, np.uint8),
        "scales": scales("i8", w)[:, 0],
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "step", "middle"]),
        helper.make_node("MatMulInteger", ["q", "w", "middle", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["step", "scales"], ["steps"]),
        helper.make_node("Mul", ["floats", "steps"], ["y"]),
    ]
    return nodes, constants


def bind(operation: str, element: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    """Operands are bound without a copy. Raises ValueError for an output whose rows don't follow each other."""
    if not out.flags.c_contiguous:
        raise ValueError("out must be contiguous: ONNX Runtime has no leading dimensions")
    size_pool(threads)
    x, session = np.ascontiguousarray(inputs[0]), inputs[1].data
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, out.dtype, out.shape, out.ctypes.data)
    call = partial(session.run_with_iobinding, binding)
    call.keep = [x, out]  # type: ignore[attr-defined]  # the pointers are only as good as the arrays are alive
    return call
