"""ONNX Runtime: one graph per model of the operators that its own fusions make, weights as constants that it packs.

While decoding, keys and values are one buffer, bound as past and as present: GroupQueryAttention then writes
the new ones into it and copies none.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from bench.models.libraries import Result, Run
from bench.models.weights import Layer, Linear, Norm, Weights
from bench.workloads.model import Model

OPSET, IR = 17, 8
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


class _Graph:
    """Nodes of a forward pass over `tokens` tokens, and the constants they read, by name."""

    def __init__(self, model: Model, tokens: int) -> None:
        self.model, self.tokens = model, tokens
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.caches: list[str] = []

    def constant(self, x: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(x)
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, own: bool = True, **attributes: Any) -> str:
        """The first output's name; that of the last of several has .sum behind, the others aren't computed.

        own: ONNX Runtime's operator, not ONNX's.
        """
        name = f"{kind}{len(self.nodes)}"
        names = [name] if outputs == 1 else [name, *[""] * (outputs - 2), f"{name}.sum"]
        domain = "com.microsoft" if own else ""
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return name

    def product(self, x: str, weight: np.ndarray) -> str:
        return self.node("MatMul", x, self.constant(weight), own=False)

    def linear(self, x: str, linear: Linear) -> str:
        return self.node("Add", self.product(x, linear.weight), self.constant(linear.bias), own=False)

    def norm(self, x: str, norm: Norm) -> str:
        inputs = (x, self.constant(norm.gain), self.constant(norm.shift))
        return self.node("LayerNormalization", *inputs, own=False, axis=-1, epsilon=self.model.epsilon)

    def gelu(self, x: str, bias: np.ndarray) -> str:
        """GELU of x + bias."""
        return self.node("FastGelu" if self.model.activation == "gelu_tanh" else "BiasGelu", x, self.constant(bias))

    def add_norm(self, x: str, y: str, bias: np.ndarray, norm: Norm) -> str:
        """The norm of x + y + bias, which is its .sum."""
        inputs = (x, y, self.constant(norm.gain), self.constant(norm.shift), self.constant(bias))
        return self.node("SkipLayerNormalization", *inputs, outputs=4, epsilon=self.model.epsilon)

    def embed(self, w: Weights) -> str:
        tokens = self.node("Gather", self.constant(w.tokens), "ids", own=False)
        positions = self.node("Gather", self.constant(w.positions), "positions", own=False)
        x = self.node("Add", tokens, positions, own=False)
        return x if self.model.decoder else self.node("Add", x, self.constant(w.segment), own=False)

    def encode(self, w: Weights) -> str:
        x = self.norm(self.embed(w), w.norm)
        for layer in w.layers:
            context = self.attention(x, layer)
            x = self.add_norm(x, self.product(context, layer.o.weight), layer.o.bias, layer.attention_norm)
            up = self.product(x, layer.ffn_up.weight)
            up = self.gelu(up, layer.ffn_up.bias)
            x = self.add_norm(x, self.product(up, layer.ffn_down.weight), layer.ffn_down.bias, layer.ffn_norm)
        return x

    def attention(self, x: str, w: Layer) -> str:
        inputs = (x, self.constant(w.qkv.weight), self.constant(w.qkv.bias))
        return self.node("Attention", *inputs, num_heads=self.model.heads)

    def cached(self, x: str, w: Layer) -> str:
        """Attention to what the layer's two caches hold, x's own keys and values included."""
        i = len(self.caches) // 2
        past, present = [f"past.k{i}", f"past.v{i}"], [f"present.k{i}", f"present.v{i}"]
        self.caches += past
        heads = self.model.heads
        context = f"context{i}"
        inputs = [self.linear(x, w.qkv), "", "", *past, "last", "total"]
        self.nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                inputs,
                [context, *present],
                domain="com.microsoft",
                num_heads=heads,
                kv_num_heads=heads,
            )
        )
        return context

    def decode(self, w: Weights) -> str:
        """The last token's logits, whose largest is "chosen"."""
        x = self.embed(w)
        y = self.norm(x, w.layers[0].attention_norm)
        norms = [layer.attention_norm for layer in w.layers[1:]] + [w.norm]
        for layer, norm in zip(w.layers, norms, strict=True):
            context = self.product(self.cached(y, layer), layer.o.weight)
            y = self.add_norm(x, context, layer.o.bias, layer.ffn_norm)
            x = f"{y}.sum"
            up = self.gelu(self.product(y, layer.ffn_up.weight), layer.ffn_up.bias)
            down = self.product(up, layer.ffn_down.weight)
            y = self.add_norm(x, down, layer.ffn_down.bias, norm)
            x = f"{y}.sum"
        last = self.node("Gather", y, self.constant(np.array([self.tokens - 1])), own=False, axis=1)
        logits = self.product(last, w.head.T)
        self.nodes.append(helper.make_node("ArgMax", [logits], ["chosen"], axis=2, keepdims=0))
        return logits


def _value(name: str, x: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[x.dtype.name], x.shape)


def _external(name: str, x: np.ndarray) -> onnx.TensorProto:
    """A constant that shares the array's data."""
    tensor = TensorProto(name=name, data_type=TYPES[x.dtype.name], dims=x.shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="memory")
    return tensor


def _session(
    graph: _Graph, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray], threads: int
) -> onnxruntime.InferenceSession:
    made = helper.make_graph(
        graph.nodes,
        "model",
        [_value(*pair) for pair in inputs.items()],
        [_value(*pair) for pair in outputs.items()],
        [_external(*pair) for pair in graph.constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(x) for x in graph.constants.values()]
    options.add_external_initializers(list(graph.constants), values)
    proto = helper.make_model(made, opset_imports=opsets, ir_version=IR).SerializeToString()
    return onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])


def prepare(model: Model, weights: Weights, phase: str, tokens: np.ndarray, threads: int) -> Run:
    onnxruntime.set_default_logger_severity(3)
    steps = len(tokens) if phase == "decode" else 1
    each = len(tokens) // steps
    graph = _Graph(model, each)
    result = graph.decode(weights) if model.decoder else graph.encode(weights)
    inputs: dict[str, np.ndarray] = {"ids": tokens[np.newaxis, :each].copy(), "positions": np.arange(each)}
    shape = (1, 1, model.vocabulary) if model.decoder else (1, each, model.width)
    outputs: dict[str, np.ndarray] = {result: np.zeros(shape, np.float32)}
    if model.decoder:
        caches = {x: np.zeros((1, model.heads, len(tokens), model.head_dim), np.float32) for x in graph.caches}
        inputs |= {"last": np.zeros(1, np.int32), "total": np.zeros(1, np.int32), **caches}
        outputs |= {"chosen": np.zeros((1, 1), np.int64)}
        outputs |= {name.replace("past", "present"): x for name, x in caches.items()}
    session = _session(graph, inputs, outputs, threads)
    binding = session.io_binding()
    for name, x in inputs.items():
        binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for name, x in outputs.items():
        binding.bind_output(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    made: list[int] = []
    memory = inputs, outputs, graph.constants  # pointers to it are all that the session has

    def run() -> Result:
        inputs, outputs, _ = memory
        made.clear()
        inputs["ids"][0] = tokens[:each]
        for step in range(steps):
            inputs["positions"][...] = np.arange(step * each, (step + 1) * each)
            if model.decoder:
                inputs["total"][0] = (step + 1) * each
                inputs["last"][0] = (step + 1) * each - 1
            session.run_with_iobinding(binding)
            if model.decoder:
                made.append(int(outputs["chosen"][0, 0]))
                inputs["ids"][0] = made[-1]
        values = outputs[result]
        return values[0, 0] if model.decoder else values[0], made

    return run
