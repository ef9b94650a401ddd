"""PyTorch on the CPU: MKL behind mm, mv and bmm; oneDNN behind prepacked weights, as its compiler freezes nn.Linear."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

torch.set_float32_matmul_precision("highest")  # no bfloat16 inside f32 products
torch.set_grad_enabled(False)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):  # the linear layer allocates its result: let it find mapped pages,
    ctypes.CDLL(None).mallopt(option, 1 << 30)  # as under the allocators that PyTorch's tuning guide recommends


size_pool: Callable[[int], None] = torch.set_num_threads


def pack(operation: str, dtype: str, b: np.ndarray, threads: int) -> torch.Tensor:
    """Weights b[k,n] as nn.Linear has them, [n,k]; oneDNN's own order depends on m and is made by bind()."""
    size_pool(threads)
    return torch.from_numpy(b).T.contiguous()


def bind(operation: str, dtype: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    size_pool(threads)
    result = torch.from_numpy(out)
    if operation == "gemm_prepacked":
        a, b = torch.from_numpy(inputs[0]), inputs[1].data
        weight = torch.ops.mkldnn._reorder_linear_weight(b, a.shape[0])
        linear = torch.ops.mkldnn._linear_pointwise.default
        # it has no out=: copying the result is part of the call, some 1 % of it
        return lambda: result.copy_(linear(a, weight, None, "none", [], ""))
    left, right = (torch.from_numpy(x) for x in inputs)
    if operation == "gemv":
        return partial(torch.mv, left, right, out=result)
    if operation == "gemv_t":
        return partial(torch.mv, right.T, left, out=result)
    if operation == "gemm":
        return partial(torch.mm, left, right, out=result)
    return partial(torch.bmm, left, right.transpose(1, 2) if operation == "gemm_batch_t" else right, out=result)
