"""The streams: one pass over arrays, each thread on its share.

Loops run over slices, because Numba checks an index for being negative unless it runs from 0, and a loop with checks
stays scalar.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from kernels.backends.numba.settings import jit, parallel, use_threads
from kernels.backends.numba.task import Call, bind, share
from kernels.operations import SCALAR, UPDATE_SCALAR


@parallel
def copy(a, c, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(a.size, t, threads)
        source, target = a[first:last], c[first:last]
        for i in range(target.size):
            target[i] = source[i]


@parallel
def scale(c, b, scalar, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(c.size, t, threads)
        source, target = c[first:last], b[first:last]
        for i in range(target.size):
            target[i] = scalar * source[i]


@parallel
def add(a, b, c, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(a.size, t, threads)
        left, right, target = a[first:last], b[first:last], c[first:last]
        for i in range(target.size):
            target[i] = left[i] + right[i]


@parallel(fastmath={"contract"})
def triad(b, c, a, scalar, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(a.size, t, threads)
        left, right, target = b[first:last], c[first:last], a[first:last]
        for i in range(target.size):
            target[i] = left[i] + scalar * right[i]


@parallel
def update(a, scalar, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(a.size, t, threads)
        part = a[first:last]
        for i in range(part.size):
            part[i] = scalar * part[i]


@jit(fastmath={"reassoc"})  # one running sum would be a chain of additions, 3 or 4 cycles each: no read test
def sum_of(a):
    total = 0.0
    for i in range(a.size):
        total += a[i]
    return total


@parallel
def read(a, s, partial, threads):
    use_threads(threads)
    for t in prange(threads):
        first, last = share(a.size, t, threads)
        partial[t] = sum_of(a[first:last])
    s[0] = sum_of(partial)


def prepare_copy(a: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return bind("copy_f64", copy, a, c, threads)


def prepare_scale(c: np.ndarray, b: np.ndarray, threads: int) -> Call:
    return bind("scale_f64", scale, c, b, SCALAR, threads)


def prepare_add(a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int) -> Call:
    return bind("add_f64", add, a, b, c, threads)


def prepare_triad(b: np.ndarray, c: np.ndarray, a: np.ndarray, threads: int) -> Call:
    return bind("triad_f64", triad, b, c, a, SCALAR, threads)


def prepare_update(a: np.ndarray, threads: int) -> Call:
    return bind("update_f64", update, a, UPDATE_SCALAR, threads)


def prepare_read(a: np.ndarray, s: np.ndarray, threads: int) -> Call:
    return bind("read_f64", read, a, s, np.empty(threads), threads)
