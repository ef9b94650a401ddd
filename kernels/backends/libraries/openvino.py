"""OpenVINO's CPU plugin: a model of one product; weights are an input, or a constant, which it packs when it compiles.

Inference precision is f32, where the plugin would choose bfloat16 on CPUs that have it. One stream, not pinned: its
threads stay where the process may run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops


@cache
def _core() -> openvino.Core:
    return openvino.Core()


def compiled(
    left: Any, right: Any, transpose: bool, threads: int, more: Mapping[str, Any] = MappingProxyType({})
) -> openvino.CompiledModel:
    """A model of one product; more: properties beside those that all models have."""
    inputs = [node for node in (left, right) if node.get_type_name() == "Parameter"]
    model = openvino.Model([ops.matmul(left, right, False, transpose)], inputs)
    return _core().compile_model(model, "CPU", _options(threads) | {**more})


def loaded(exported: bytes, threads: int, more: Mapping[str, Any]) -> openvino.CompiledModel:
    """A model that was compiled with the same properties, then exported."""
    return _core().import_model(exported, "CPU", _options(threads) | {**more})


def _options(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


@cache
def _compiled(left: tuple[int, ...], right: tuple[int, ...], transpose: bool, threads: int) -> openvino.CompiledModel:
    """One model for all calls with operands of these shapes."""
    return compiled(ops.parameter(left, np.float32), ops.parameter(right, np.float32), transpose, threads)


def pack(operation: str, dtype: str, b: np.ndarray, threads: int) -> openvino.CompiledModel:
    """Weights b[k,n] as the constant of a model of their own, for any m."""
    weights = ops.constant(np.ascontiguousarray(b), np.float32)
    return compiled(ops.parameter([-1, b.shape[0]], np.float32), weights, False, threads)


def bind(operation: str, dtype: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    """Operands are shared, not copied. Raises ValueError for an output whose rows don't follow each other."""
    if not out.flags.c_contiguous:
        raise ValueError("out must be contiguous: OpenVINO has no leading dimensions")
    if operation == "gemm_prepacked":
        operands, model = inputs[:1], inputs[1].data
    else:
        operands = inputs[::-1] if operation == "gemv" else inputs
    if operation.startswith("gemv"):  # the vector is one row
        operands, out = [operands[0][np.newaxis], operands[1]], out[np.newaxis]
    operands = [np.ascontiguousarray(x) for x in operands]
    if operation != "gemm_prepacked":
        model = _compiled(*(x.shape for x in operands), operation in ("gemv", "gemm_batch_t"), threads)
    return requested(model, operands, out)


def requested(model: openvino.CompiledModel, operands: Sequence[np.ndarray], out: np.ndarray) -> Callable[[], Any]:
    request = model.create_infer_request()
    for i, x in enumerate(operands):
        request.set_input_tensor(i, openvino.Tensor(x, shared_memory=True))
    request.set_output_tensor(0, openvino.Tensor(out, shared_memory=True))
    request.infer(share_outputs=True)  # a model's first call of a shape compiles for it and packs weights: 2 to 30 ms
    return partial(request.infer, share_outputs=True)
