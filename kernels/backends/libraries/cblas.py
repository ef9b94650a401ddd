"""Libraries with the CBLAS interface and 32-bit integers, loaded beside NumPy's own."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cffi
import numpy as np

from kernels.arrays import leading_dimension

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112
DECLARATIONS = """
void {p}cblas_{t}gemm(int, int, int, int, int, int, {r}, const {r} *, int, const {r} *, int, {r}, {r} *, int);
void {p}cblas_{t}gemv(int, int, int, int, {r}, const {r} *, int, const {r} *, int, {r}, {r} *, int);
void {p}cblas_{t}gemm_batch(int, int *, int *, int *, int *, int *, {r} *, const {r} **, int *, const {r} **, int *,
                            {r} *, {r} **, int *, int, int *);
"""
LETTERS = {"f32": ("s", "float"), "f64": ("d", "double")}


class Library:
    """A shared library, its symbols' prefix, and its function that sizes the thread pool, with the C type it takes."""

    def __init__(self, path: str, prefix: str, set_threads: str, integer: str) -> None:
        self.prefix = prefix
        self.ffi = cffi.FFI()
        for letter, real in LETTERS.values():
            self.ffi.cdef(DECLARATIONS.format(p=prefix, t=letter, r=real))
        self.ffi.cdef(f"void {set_threads}({integer});")
        self.lib = self.ffi.dlopen(path)
        self.set_threads = getattr(self.lib, set_threads)

    def bind(self, operation: str, dtype: str, inputs: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        self.set_threads(threads)
        letter, real = LETTERS[dtype]
        makers: dict[str, Callable[..., tuple[Any, Any]]] = {
            "gemm": self._gemm,
            "gemv": self._gemv,
            "gemv_t": self._gemv,
        }
        name = f"{self.prefix}cblas_{letter}{operation.removesuffix('_t')}"
        make: Callable[..., tuple[Any, Any]] = makers.get(operation, self._batch)
        arguments, keep = make(operation, real, *inputs, out)
        call = partial(getattr(self.lib, name), ROW_MAJOR, *arguments)
        call.keep = [*inputs, out, *keep]  # type: ignore[attr-defined]  # pointers don't keep what they point to
        return call

    def _at(self, x: np.ndarray, real: str) -> Any:
        return self.ffi.cast(f"{real} *", x.ctypes.data)

    def _gemm(self, operation: str, real: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[Any, Any]:
        (m, k), n = a.shape, b.shape[1]
        pairs = [x for array in (a, b) for x in (self._at(array, real), leading_dimension(array))]
        return (NO_TRANS, NO_TRANS, m, n, k, 1.0, *pairs, 0.0, self._at(c, real), leading_dimension(c)), ()

    def _gemv(self, operation: str, real: str, left: np.ndarray, right: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        w, x = (left, right) if operation == "gemv" else (right, left)
        trans = NO_TRANS if operation == "gemv" else TRANS
        ends = (self._at(x, real), 1, 0.0, self._at(y, real), 1)
        return (trans, *w.shape, 1.0, self._at(w, real), leading_dimension(w), *ends), ()

    def _batch(self, operation: str, real: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[Any, Any]:
        """One group of equal products: every size, transposition and scalar once, then a pointer per matrix."""
        (batch, m, k), n = a.shape, c.shape[2]

        def one(kind: str, value: float) -> Any:
            return self.ffi.new(f"{kind}[]", [value])

        def each(x: np.ndarray) -> Any:
            return self.ffi.new(f"{real} *[]", [self._at(matrix, real) for matrix in x])

        trans = TRANS if operation == "gemm_batch_t" else NO_TRANS
        arguments = [one("int", value) for value in (NO_TRANS, trans, m, n, k)] + [one(real, 1.0)]
        arguments += [each(a), one("int", leading_dimension(a)), each(b), one("int", leading_dimension(b))]
        arguments += [one(real, 0.0), each(c), one("int", leading_dimension(c)), 1, one("int", batch)]
        return arguments, arguments
