"""ONNX Runtime: a graph of one product; weights are an input, or a constant, which it packs when the graph is loaded.

Its CPU kernels compute in the dtype of the graph. Many graphs, one per weight matrix, share one global pool: a pool per
graph would leave many teams spinning, and a sleeping one to wake with every matrix.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from kernels.operations import OPERATIONS

OPSET, IR = 17, 8  # what every release since 2022 reads

# the graph's nodes; a Transpose in front of a MatMul is fused into it
NODES = {
    "gemm": [helper.make_node("MatMul", ["a", "b"], ["c"])],
    "gemm_batch": [helper.make_node("MatMul", ["a", "b"], ["c"])],
    "gemm_batch_t": [
        helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "t"], ["c"]),
    ],
    "gemv": [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],  # nn.Linear as it is exported: x is one row
    "gemv_t": [helper.make_node("MatMul", ["x", "w"], ["y"])],
}


@cache
def _pool() -> list[int]:
    return []


def size_pool(threads: int) -> None:
    """Raises ValueError where the pool has another size already: there is one per process, for good."""
    if not _pool():
        onnxruntime.set_default_logger_severity(3)
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        _pool().append(threads)
    if _pool() != [threads]:
        raise ValueError(f"threads: ONNX Runtime's pool has {_pool()[0]} threads in this process, not {threads}")


def _rank(operation: str, names: tuple[str, ...]) -> int:
    return 2 if operation.startswith("gemv") else len(names)


def _session(operation: str, dtype: str, weights: np.ndarray | None = None) -> onnxruntime.InferenceSession:
    """A graph for operands of any size."""
    number = {"f32": onnx.TensorProto.FLOAT, "f64": onnx.TensorProto.DOUBLE}[dtype]

    def value(name: str, names: tuple[str, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, number, [f"{name}{i}" for i in range(_rank(operation, names))])

    op = OPERATIONS[operation]
    constants = [] if weights is None else [numpy_helper.from_array(np.ascontiguousarray(weights), "b")]
    inputs = [value(*operand) for operand in op.inputs if weights is None or operand[0] != "b"]
    return session_of(helper.make_graph(NODES[operation], operation, inputs, [value(*op.output)], constants))


def session_of(graph: onnx.GraphProto) -> onnxruntime.InferenceSession:
    """The graph, ready to run in the pool that all share."""
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


_shared = cache(_session)


def pack(operation: str, dtype: str, b: np.ndarray, threads: int) -> onnxruntime.InferenceSession:
    """Weights b[k,n] as the constant of a graph of their own."""
    size_pool(threads)
    return _session("gemm", dtype, b)


def bind(operation: str, dtype: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    """Operands are bound without a copy. Raises ValueError for an output whose rows don't follow each other."""
    if not out.flags.c_contiguous:
        raise ValueError("out must be contiguous: ONNX Runtime has no leading dimensions")
    size_pool(threads)
    session = inputs[1].data if operation == "gemm_prepacked" else _shared(operation, dtype)
    operation = "gemm" if operation == "gemm_prepacked" else operation
    arrays = [np.ascontiguousarray(x) for x in inputs if isinstance(x, np.ndarray)]
    binding = session.io_binding()
    for (name, names), x in zip(OPERATIONS[operation].inputs, arrays, strict=False):
        binding.bind_input(name, "cpu", 0, x.dtype, _shape(operation, names, x), x.ctypes.data)
    name, names = OPERATIONS[operation].output
    binding.bind_output(name, "cpu", 0, out.dtype, _shape(operation, names, out), out.ctypes.data)
    call = partial(session.run_with_iobinding, binding)
    call.keep = [*arrays, out]  # type: ignore[attr-defined]  # the pointers are only as good as the arrays are alive
    return call


def _shape(operation: str, names: tuple[str, ...], x: np.ndarray) -> tuple[int, ...]:
    return (1, *x.shape) if _rank(operation, names) > x.ndim else x.shape
