"""PyTorch on stored weights: bf16 and f16 layers, and oneDNN's dynamically quantised int8.

Activations of bf16 and f16 layers have these types, as they have in such models, and so has what they return: its way
back to f32 is part of the call, some 1 us, that of the activations isn't. The loops of its int4 layers that are written
with vectors take scales in bf16, which can't hold those of these types.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from kernels.backends.libraries import pytorch  # and its settings
from kernels.backends.libraries.linear.parts import bytes_of, scales

HALVES = {"bf16": torch.bfloat16, "f16": torch.float16}


def pack(operation: str, element: str, w: np.ndarray, threads: int) -> Any:
    """Weights w[n,k] as the layer for them keeps them."""
    pytorch.size_pool(threads)
    if element in HALVES:
        return torch.from_numpy(np.ascontiguousarray(w).view(np.int16)).view(HALVES[element]).clone()
    torch.backends.quantized.engine = "onednn"
    q, scale = torch.from_numpy(bytes_of(element, w)), torch.from_numpy(scales(element, w)[:, 0].astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a release to come will have these tensors no more
        tensor = torch._make_per_channel_quantized_tensor(q, scale, torch.zeros(len(w), dtype=torch.int64), 0)
    return torch.ops.quantized.linear_prepack(tensor, None)


def bind(operation: str, element: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    pytorch.size_pool(threads)
    x, w, result = torch.from_numpy(np.ascontiguousarray(inputs[0])), inputs[1].data, torch.from_numpy(out)
    if element in HALVES:
        call = partial(torch.nn.functional.linear, x.to(HALVES[element]), w)
    else:
        call = partial(torch.ops.quantized.linear_dynamic, x, w, True)  # 7 bits, as its layers ask for
    return lambda: result.copy_(call())
