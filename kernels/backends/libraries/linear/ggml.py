"""ggml, the kernels of llama.cpp, from the libraries that llama-cpp-python builds: a graph of one ggml_mul_mat.

What llama.cpp runs for a layer: weights lie in the first of the CPU's buffer types that has kernels for them, which may
put their blocks into an order of its own, activations are rounded in the call, and the thread pool lives on between
calls. A matrix and its graph are made once; a call is ggml_backend_graph_compute().
"""

import weakref
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from kernels.arrays import aligned_empty
from kernels.types import TYPES

DECLARATIONS = """
typedef struct { size_t mem_size; void *mem_buffer; bool no_alloc; } init_params;
void *ggml_init(init_params);
void ggml_free(void *);
size_t ggml_tensor_overhead(void);
size_t ggml_graph_overhead_custom(size_t, bool);
void *ggml_new_tensor_2d(void *, int, int64_t, int64_t);
void *ggml_mul_mat(void *, void *, void *);
void *ggml_new_graph_custom(void *, size_t, bool);
void ggml_build_forward_expand(void *, void *);
size_t ggml_nbytes(void *);
void *ggml_threadpool_new(void *);
typedef struct {
    bool cpumask[512]; int n_threads; int prio; uint32_t poll; bool strict_cpu; bool paused;
} threadpool_params;
threadpool_params ggml_threadpool_params_default(int);

void *ggml_backend_cpu_init(void);
void ggml_backend_cpu_set_n_threads(void *, int);
void ggml_backend_cpu_set_threadpool(void *, void *);
void *ggml_backend_cpu_buffer_type(void);
void *ggml_backend_cpu_buffer_from_ptr(void *, size_t);
void *ggml_backend_get_device(void *);
void *ggml_backend_dev_backend_reg(void *);
bool ggml_backend_dev_supports_op(void *, void *);
void *ggml_backend_reg_get_proc_address(void *, const char *);
void *ggml_backend_buft_alloc_buffer(void *, size_t);
size_t ggml_backend_buft_get_alloc_size(void *, void *);
void *ggml_backend_buffer_get_base(void *);
void ggml_backend_buffer_set_usage(void *, int);
void ggml_backend_buffer_free(void *);
int ggml_backend_tensor_alloc(void *, void *, void *);
void ggml_backend_tensor_set(void *, const void *, size_t, size_t);
int ggml_backend_graph_compute(void *, void *);
void ggml_log_set(void (*)(int, const char *, void *), void *);
"""
F32, NUMBERS = 0, {"f16": 1, "i4g32": 2, "i8g32": 8, "bf16": 30}
WEIGHTS, ALIGNMENT, NODES = 1, 32, 8


class _Ggml:
    """The shared libraries, and the CPU backend with its thread pool."""

    def __init__(self) -> None:
        package = find_spec("llama_cpp")
        assert package and package.submodule_search_locations
        folder = Path(package.submodule_search_locations[0]) / "lib"
        self.ffi = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self._open = [self.ffi.dlopen(str(folder / f"libggml{part}.so")) for part in ("-base", "-cpu", "")]
        self._silent = self.ffi.callback("void(int, const char *, void *)", lambda level, text, data: None)
        self.ggml_log_set(self._silent, self.ffi.NULL)  # it says of each matrix which order it chose
        self.backend = self.ggml_backend_cpu_init()
        self._threads = 0

    def __getattr__(self, name: str) -> Any:
        """A function, from the library that has it."""
        function = next(getattr(lib, name) for lib in self._open if hasattr(lib, name))
        setattr(self, name, function)
        return function

    def size_pool(self, threads: int) -> None:
        if self._threads != threads:
            params = self.ffi.new("threadpool_params *", self.ggml_threadpool_params_default(threads))
            self.ggml_backend_cpu_set_n_threads(self.backend, threads)
            self.ggml_backend_cpu_set_threadpool(self.backend, self.ggml_threadpool_new(params))
            self._threads = threads

    def context(self) -> Any:
        """Where tensors and a graph are described; their data lie elsewhere."""
        size = NODES * self.ggml_tensor_overhead() + self.ggml_graph_overhead_custom(NODES, False)
        return self.ggml_init({"mem_size": size, "mem_buffer": self.ffi.NULL, "no_alloc": True})

    def buffer_types(self) -> list[Any]:
        """Of the CPU, in llama.cpp's order: those with an order of their own first."""
        registry = self.ggml_backend_dev_backend_reg(self.ggml_backend_get_device(self.backend))
        found = self.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        extra: list[Any] = []
        if found:
            listed = self.ffi.cast("void **(*)(void *)", found)(self.ggml_backend_get_device(self.backend))
            while listed and listed[len(extra)]:
                extra.append(listed[len(extra)])
        return [*extra, self.ggml_backend_cpu_buffer_type()]


@cache
def _ggml() -> _Ggml:
    return _Ggml()


class Matrix:
    """Weights w[n,k] in a buffer of the backend."""

    def __init__(self, element: str, w: np.ndarray) -> None:
        g = _ggml()
        self.n, self.k = TYPES[element].shape(w.shape)
        blocks = np.ascontiguousarray(w)
        for kind in g.buffer_types():
            self.context = g.context()
            self.tensor = g.ggml_new_tensor_2d(self.context, NUMBERS[element], self.k, self.n)
            self.buffer = g.ggml_backend_buft_alloc_buffer(kind, g.ggml_backend_buft_get_alloc_size(kind, self.tensor))
            g.ggml_backend_buffer_set_usage(self.buffer, WEIGHTS)
            g.ggml_backend_tensor_alloc(self.buffer, self.tensor, g.ggml_backend_buffer_get_base(self.buffer))
            x = g.ggml_new_tensor_2d(self.context, F32, self.k, 1)
            product = g.ggml_mul_mat(self.context, self.tensor, x)
            if g.ggml_backend_dev_supports_op(g.ggml_backend_get_device(g.backend), product):
                break
            self._free(self.context, self.buffer)
        weakref.finalize(self, self._free, self.context, self.buffer)
        assert g.ggml_nbytes(self.tensor) == blocks.nbytes
        g.ggml_backend_tensor_set(self.tensor, g.ffi.from_buffer(blocks), 0, blocks.nbytes)

    @staticmethod
    def _free(context: Any, buffer: Any) -> None:
        _ggml().ggml_backend_buffer_free(buffer)
        _ggml().ggml_free(context)


def pack(operation: str, element: str, w: np.ndarray, threads: int) -> Matrix:
    """Weights w[n,k] in the CPU's own order, where it has one for their type and shape."""
    _ggml().size_pool(threads)
    return Matrix(element, w)


def _aligned(x: np.ndarray) -> np.ndarray:
    """The array itself, or a copy, with rows that follow each other from an address that ggml takes."""
    if x.flags.c_contiguous and x.ctypes.data % ALIGNMENT == 0:
        return x
    copy = aligned_empty(x.shape, x.dtype)
    copy[...] = x
    return copy


def bind(operation: str, element: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
    """Operands are shared, not copied. Raises ValueError for an output that isn't contiguous, or not aligned."""
    if not out.flags.c_contiguous or out.ctypes.data % ALIGNMENT:
        raise ValueError(f"out must be contiguous, from a multiple of {ALIGNMENT} on: ggml has no others")
    g = _ggml()
    g.size_pool(threads)
    x, w = _aligned(inputs[0]), inputs[1].data
    context = g.context()
    activations = g.ggml_new_tensor_2d(context, F32, w.k, len(x))
    product = g.ggml_mul_mat(context, w.tensor, activations)
    buffers = []
    for tensor, array in ((activations, x), (product, out)):
        at = g.ffi.cast("void *", array.ctypes.data)
        buffers.append(g.ggml_backend_cpu_buffer_from_ptr(at, array.nbytes))
        g.ggml_backend_tensor_alloc(buffers[-1], tensor, at)
    graph = g.ggml_new_graph_custom(context, NODES, False)
    g.ggml_build_forward_expand(graph, product)
    call = partial(g.ggml_backend_graph_compute, g.backend, graph)
    call.keep = [x, w, out]  # type: ignore[attr-defined]  # pointers don't keep what they point to
    weakref.finalize(call, _free_graph, context, buffers)
    return call


def _free_graph(context: Any, buffers: list[Any]) -> None:
    for buffer in buffers:
        _ggml().ggml_backend_buffer_free(buffer)
    _ggml().ggml_free(context)
