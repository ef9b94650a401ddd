"""Softmax, LayerNorm, GELU, bias and residual: each thread takes whole rows. See csrc/per_isa for the mathematics.

Vectors beyond three operands are passed as addresses among the sizes.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.arrays import leading_dimension
from kernels.backends.numba.emit import RowEmitter, Value
from kernels.backends.numba.pointers import at, pointer
from kernels.backends.numba.target import TAIL
from kernels.backends.numba.task import Call, launch

ONE_THREAD_ELEMENTS = 4096  # most elements for which entering a parallel region costs more than it saves


@intrinsic
def softmax_row(typing, s, seen, scale):
    """`seen` elements at s = exp(scale s - max) / sum."""

    def emit(context, builder, signature, args):
        e = RowEmitter(context, builder, signature.args[0].dtype)
        s, seen, scale = args
        factor, rest = Value(e, e.broadcast(scale)), Value(e, e.broadcast(s))
        sign = e.select(factor < 0, -1, 1)
        size = sign * factor
        most, sums = e.variable(-math.inf), e.variable()

        def find(j, mask):
            x, before = sign * e.masked_load(s, j, mask, rest), e.get(most)
            e.set(most, e.select(before < x, x, before))

        def exponentiate(j, mask):
            y = e.exp((sign * e.masked_load(s, j, mask, rest) - top) * size)
            e.masked_store(y, s, j, mask)
            e.set(sums, e.get(sums) + (y if mask is None else e.select(mask, y, 0)))

        e.each(seen, find)
        top = Value(e, e.splat(e.largest(e.get(most))))
        e.each(seen, exponentiate)
        inverse = Value(e, e.splat(builder.fdiv(e.scalar(1), e.sum(builder.load(sums)))))
        e.each(seen, lambda j, mask: e.masked_store(inverse * e.masked_load(s, j, mask), s, j, mask))
        return context.get_dummy_value()

    return types.void(s, types.int64, scale), emit


def _with_or_without(e, count, pointer, body):
    """each() vector of count: body(whether there is a pointer, j, mask)."""
    with e.builder.if_else(cgutils.is_not_null(e.builder, pointer)) as (present, missing):
        for given, branch in ((True, present), (False, missing)):
            with branch:
                e.each(count, functools.partial(body, given))


@intrinsic
def norm_row(typing, n, x, r, bias, gain, shift, eps, y):
    """y = LayerNorm(x + r + bias) gain + shift; without r there is no bias either."""

    def emit(context, builder, signature, args):
        e = RowEmitter(context, builder, signature.args[1].dtype)
        n, x, r, bias, gain, shift, eps, y = args
        sums, squares, count = e.variable(), e.variable(), builder.sitofp(n, e.scalar)

        def add(residual, j, mask):
            v = e.masked_load(x, j, mask)
            if residual:
                v = v + e.masked_load(r, j, mask) + e.masked_load(bias, j, mask)
            e.masked_store(v, y, j, mask)
            e.set(sums, e.get(sums) + v)

        def square(j, mask):
            d = e.masked_load(y, j, mask, mean) - mean
            e.set(squares, d * d + e.get(squares))

        def scale(j, mask):
            d = (e.masked_load(y, j, mask) - mean) * inverse
            e.masked_store(d * e.masked_load(gain, j, mask) + e.masked_load(shift, j, mask), y, j, mask)

        _with_or_without(e, n, r, add)
        mean = Value(e, e.splat(builder.fdiv(e.sum(builder.load(sums)), count)))
        e.each(n, square)
        variance = builder.fadd(builder.fdiv(e.sum(builder.load(squares)), count), builder.load(eps))
        inverse = Value(e, e.splat(builder.fdiv(e.scalar(1), e.square_root(variance))))
        e.each(n, scale)
        return context.get_dummy_value()

    return types.void(types.int64, *[x] * 7), emit


@intrinsic
def gelu_row(typing, tanh_form, n, x, bias):
    """x = GELU(x + bias) = max(v, 0) - |v| Q(|v|)."""

    def emit(context, builder, signature, args):
        e = RowEmitter(context, builder, signature.args[2].dtype)
        tanh_form, n, x, bias = args
        far = 40

        def activate(tanh, j, mask):
            v = e.masked_load(x, j, mask) + e.masked_load(bias, j, mask)
            size = v.absolute()
            a, most = e.select(size < far, size, far), e.select(v < 0, 0, v)
            if tanh:
                power = e.exp((a + (a * a * a) * 0.044715) * -1.5957691216057308)  # -2 sqrt(2 / pi)
                tail = power / (power + 1)
            else:
                tail = e.exp(a * a * -0.5) * e.polynomial(TAIL, (a - 4) / (a + 4))
            e.masked_store(most - a * tail, x, j, mask)

        with builder.if_else(tanh_form) as forms:
            for tanh, form in zip((True, False), forms, strict=True):
                with form:
                    e.each(n, functools.partial(activate, tanh))
        return context.get_dummy_value()

    return types.void(types.boolean, types.int64, x, x), emit


@intrinsic
def add_to_row(typing, n, x, r, bias):
    """x += r + bias; r may be missing."""

    def emit(context, builder, signature, args):
        e = RowEmitter(context, builder, signature.args[1].dtype)
        n, x, r, bias = args

        def add(residual, j, mask):
            v = e.masked_load(x, j, mask)
            if residual:
                v = v + e.masked_load(r, j, mask)
            e.masked_store(v + e.masked_load(bias, j, mask), x, j, mask)

        _with_or_without(e, n, r, add)
        return context.get_dummy_value()

    return types.void(types.int64, x, x, x), emit


def softmax(a, b, c, work, sizes, step, t, threads):
    """c = softmax(b[0] c) row by row; causal: row i of a matrix sees its first i + 1 + n - m columns."""
    z = carray(sizes, 1)[0]
    for i in range(z.rows * t // threads, z.rows * (t + 1) // threads):
        row = i % z.m
        s, seen = at(c, i // z.m * z.stride + row * z.ldc), z.n
        if z.causal:
            seen = min(max(row + 1 + z.n - z.m, 0), z.n)
        softmax_row(s, seen, b)
        for j in range(seen, z.n):
            s[j] = 0


def norm(a, b, c, work, sizes, step, t, threads):
    """c = LayerNorm(a + b + bias) gain + shift, row by row."""
    z = carray(sizes, 1)[0]
    bias, gain, shift, eps = pointer(a, z.bias), pointer(a, z.gain), pointer(a, z.shift), pointer(a, z.eps)
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        norm_row(z.n, at(a, i * z.lda), at(b, i * z.ldb), bias, gain, shift, eps, at(c, i * z.ldc))


def gelu(a, b, c, work, sizes, step, t, threads):
    """c = GELU(c + b)."""
    z = carray(sizes, 1)[0]
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        gelu_row(z.tanh_form != 0, z.n, at(c, i * z.ldc), b)


def add_to(a, b, c, work, sizes, step, t, threads):
    """c += a + b, where there is an a."""
    z = carray(sizes, 1)[0]
    for i in range(z.m * t // threads, z.m * (t + 1) // threads):
        add_to_row(z.n, at(c, i * z.ldc), at(a, i * z.lda), b)


def copy_rows(a, b, c, work, sizes, step, t, threads):
    """c = a, matrix by matrix and row by row."""
    z = carray(sizes, 1)[0]
    for i in range(z.rows * t // threads, z.rows * (t + 1) // threads):
        x, y = at(a, i // z.m * z.stride_a + i % z.m * z.lda), at(c, i // z.m * z.stride_c + i % z.m * z.ldc)
        for j in range(z.n):
            y[j] = x[j]


def embed(a, b, c, work, sizes, step, t, threads):
    """c = row b[0] of a: the nearest that there is, 0 for NaN."""
    z, row = carray(sizes, 1)[0], 0
    if b[0] >= 0:
        row = int(b[0]) if b[0] < z.n else z.n - 1
    for j in range(z.k):
        c[j] = a[row * z.lda + j]


def argmax(a, b, c, work, sizes, step, t, threads):
    """c[0] = where a has its largest element first, or its first NaN."""
    z, found, top = carray(sizes, 1)[0], 0, a[0]
    for j in range(z.n):
        if not a[j] <= top:
            found, top = j, a[j]
            if top != top:
                break
    c[0] = found


def _team(elements: int, threads: int) -> int:
    return 1 if elements <= ONE_THREAD_ELEMENTS else threads


def _softmax(scale: np.ndarray, s: np.ndarray, threads: int, causal: bool) -> Call:
    batch, m, n = s.shape
    return launch(
        softmax, None, scale, s, _team(s.size, threads),
        rows=batch * m, m=m, n=n, ldc=leading_dimension(s), stride=s.strides[0] // s.itemsize, causal=int(causal),
    )  # fmt: skip


def _gelu(bias: np.ndarray, x: np.ndarray, threads: int, tanh_form: bool) -> Call:
    sizes = {"m": x.shape[0], "n": x.shape[1], "ldc": leading_dimension(x), "tanh_form": int(tanh_form)}
    return launch(gelu, None, bias, x, _team(x.size, threads), **sizes)


def prepare_residual_norm(
    x: np.ndarray,
    r: np.ndarray | None,
    bias: np.ndarray | None,
    gain: np.ndarray,
    shift: np.ndarray,
    eps: np.ndarray,
    y: np.ndarray,
    threads: int,
) -> Call:
    return launch(
        norm, x, r, y, _team(y.size, threads),
        m=y.shape[0], n=y.shape[1], lda=leading_dimension(x), ldb=0 if r is None else leading_dimension(r),
        ldc=leading_dimension(y), bias=bias, gain=gain, shift=shift, eps=eps,
    )  # fmt: skip


def prepare_layer_norm(
    x: np.ndarray, gain: np.ndarray, shift: np.ndarray, eps: np.ndarray, y: np.ndarray, threads: int
) -> Call:
    return prepare_residual_norm(x, None, None, gain, shift, eps, y, threads)


def prepare_residual(r: np.ndarray | None, bias: np.ndarray, x: np.ndarray, threads: int) -> Call:
    (m, n), lda = x.shape, 0 if r is None else leading_dimension(r)
    return launch(add_to, r, bias, x, _team(x.size, threads), m=m, n=n, lda=lda, ldc=leading_dimension(x))


def prepare_copy_rows(x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    (batch, m, n), size = x.shape, x.itemsize
    return launch(
        copy_rows, x, x, y, _team(x.size, threads), rows=batch * m, m=m, n=n, lda=leading_dimension(x),
        ldc=leading_dimension(y), stride_a=x.strides[0] // size, stride_c=y.strides[0] // size,
    )  # fmt: skip


def prepare_embed(table: np.ndarray, i: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return launch(embed, table, i, y, 1, n=len(table), k=y.size, lda=leading_dimension(table))


def prepare_argmax(x: np.ndarray, i: np.ndarray, threads: int) -> Call:
    return launch(argmax, x, x, i, 1, n=x.size)


prepare_softmax = functools.partial(_softmax, causal=False)
prepare_softmax_causal = functools.partial(_softmax, causal=True)
prepare_gelu = functools.partial(_gelu, tanh_form=False)
prepare_gelu_tanh = functools.partial(_gelu, tanh_form=True)
prepare_bias = functools.partial(prepare_residual, None)
