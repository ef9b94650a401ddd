"""OpenVINO's CPU plugin: models of constants that it packs when it compiles; while decoding, a state of its own.

Inference precision and the KV cache are f32, where the plugin would choose bfloat16 or 8 bits. One stream, not pinned:
its threads stay where the process may run.
"""

from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.op import util

from bench.models.libraries import Result, Run
from bench.models.weights import Layer, Linear, Norm, Weights
from bench.workloads.model import Model

Node = Any


def _constant(x: np.ndarray) -> Node:
    return ops.constant(x, shared_memory=True)


def _linear(x: Node, linear: Linear) -> Node:
    return ops.add(ops.matmul(x, _constant(linear.weight), False, False), _constant(linear.bias))


def _norm(x: Node, norm: Norm, model: Model) -> Node:
    flat = ops.mvn(x, np.array([-1]), True, model.epsilon, "INSIDE_SQRT")
    return ops.add(ops.multiply(flat, _constant(norm.gain)), _constant(norm.shift))


class _Graph:
    """One forward pass over `tokens` tokens; a decoder's keys and values are [1, heads, token, head_dim].

    stateful  they are a state that grows by x's; if not, they are results: attention over a state is some 10 % slower
              where all tokens enter at once
    """

    def __init__(self, model: Model, tokens: int, stateful: bool) -> None:
        self.model, self.tokens, self.stateful = model, tokens, stateful
        self.ids = ops.parameter([1, tokens], np.int64, "ids")
        self.positions = ops.parameter([tokens], np.int64, "positions")
        self.beam = ops.parameter([1], np.int32, "beam")
        self.sinks: list[Node] = []
        self.kept: list[Node] = []

    def embed(self, w: Weights) -> Node:
        zero = ops.constant(0, np.int64)
        x = ops.gather(_constant(w.tokens), self.ids, zero)
        x = ops.add(x, ops.gather(_constant(w.positions), self.positions, zero))
        return x if self.model.decoder else ops.add(x, _constant(w.segment))

    def _remember(self, x: Node, name: str) -> Node:
        """All that the state has held so far, and now x."""
        shape = openvino.PartialShape([1, self.model.heads, -1, self.model.head_dim])
        info = util.VariableInfo()
        info.data_shape, info.data_type, info.variable_id = shape, openvino.Type.f32, name
        variable = util.Variable(info)
        empty = ops.constant(np.zeros((1, self.model.heads, 0, self.model.head_dim), np.float32))
        past = ops.gather(ops.read_value(empty, variable), self.beam, ops.constant(0, np.int64))
        whole = ops.concat([past, x], 2)
        self.sinks.append(ops.assign(whole, variable))
        return whole

    def attention(self, x: Node, w: Layer, name: str) -> Node:
        model = self.model
        shape, swapped = np.array([1, self.tokens, model.heads, model.head_dim]), np.array([0, 2, 1, 3])
        parts = ops.split(_linear(x, w.qkv), ops.constant(2, np.int64), 3).outputs()
        q, k, v = (ops.transpose(ops.reshape(part, shape, False), swapped) for part in parts)
        if self.stateful:
            k, v = self._remember(k, f"{name}.k"), self._remember(v, f"{name}.v")
        elif model.decoder:
            self.kept += [k, v]
        context = ops.scaled_dot_product_attention(q, k, v, causal=model.decoder and self.tokens > 1)
        flat = ops.reshape(ops.transpose(context, swapped), np.array([1, self.tokens, model.width]), False)
        return _linear(flat, w.o)

    def gelu(self, x: Node) -> Node:
        return ops.gelu(x, "tanh" if self.model.activation == "gelu_tanh" else "erf")

    def layer(self, x: Node, w: Layer, name: str) -> Node:
        if self.model.decoder:
            x = ops.add(x, self.attention(_norm(x, w.attention_norm, self.model), w, name))
            up = self.gelu(_linear(_norm(x, w.ffn_norm, self.model), w.ffn_up))
            return ops.add(x, _linear(up, w.ffn_down))
        x = _norm(ops.add(x, self.attention(x, w, name)), w.attention_norm, self.model)
        up = self.gelu(_linear(x, w.ffn_up))
        return _norm(ops.add(x, _linear(up, w.ffn_down)), w.ffn_norm, self.model)

    def build(self, w: Weights) -> openvino.Model:
        """Hidden states; of a decoder the last token's logits, and without a state all keys and values."""
        x = self.embed(w)
        if not self.model.decoder:
            x = _norm(x, w.norm, self.model)
        for i, layer in enumerate(w.layers):
            x = self.layer(x, layer, str(i))
        if self.model.decoder:
            last = ops.gather(x, ops.constant([self.tokens - 1], np.int64), ops.constant(1, np.int64))
            x = ops.matmul(_norm(last, w.norm, self.model), _constant(w.head), False, True)
        inputs = [self.ids, self.positions] + [self.beam] * self.stateful
        return openvino.Model([ops.result(y) for y in [x, *self.kept]], self.sinks, inputs)


def prepare(model: Model, weights: Weights, phase: str, tokens: np.ndarray, threads: int) -> Run:
    steps = len(tokens) if phase == "decode" else 1
    each = len(tokens) // steps
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    stateful = phase == "decode"
    graph = _Graph(model, each, stateful)
    request = openvino.Core().compile_model(graph.build(weights), "CPU", options).create_infer_request()
    # ids, positions, and the beam to go on from; the request doesn't keep them alive, run() does
    inputs = [tokens[np.newaxis, :each].copy(), np.arange(each), np.zeros(1, np.int32)][: 2 + stateful]
    for i, x in enumerate(inputs):
        request.set_input_tensor(i, openvino.Tensor(x, shared_memory=True))
    output = request.get_output_tensor(0)
    made: list[int] = []

    def run() -> Result:
        made.clear()
        if stateful:
            request.reset_state()
        inputs[0][0] = tokens[:each]
        for step in range(steps):
            inputs[1][...] = np.arange(step * each, (step + 1) * each)
            request.infer(share_outputs=True)
            if model.decoder:
                made.append(int(output.data.argmax()))
                inputs[0][0] = made[-1]
        values = output.data
        return values[0, 0] if model.decoder else values[0], made

    return run
