"""What each operation means: its operands, its definition in NumPy float64, its FLOPs, bytes and error bound.

OPERATIONS is the one table of operations. Backends implement them (see KERNELS), tests and benchmarks compare every
result with `reference()` within `error_bound()`, and every FLOP and byte that is ever printed is counted here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from kernels import definitions, sparse
from kernels.types import TYPES, ElementType, Types, accumulator, expand

SCALAR = 3.0
"""STREAM's s in scale and triad."""
UPDATE_SCALAR = 1 - 2**-20
"""update's s: just below one, for it is applied to its own result again and again."""

Error = Callable[[Sequence[np.ndarray], float], np.ndarray]
"""The bound of the error, of inputs in float64 and u, the unit roundoff."""


@dataclass(frozen=True)
class Operation:
    """One operation: what it reads and writes, and how much.

    signature names the operands with their dimensions, as in "a[m,k] b[k,n] -> c[m,n]".
    define takes the inputs in float64 and returns the output; absolute inputs give the scale of its rounding error.
    terms names the dimension over which each output element sums (None: no sum).
    flops are per call, as a function of the dimensions.
    weights names the input that may be constant between calls, and of a type that is only stored (None: no input may).
    packed: the weights come in the kernel's own order, from Kernel.pack().
    write_allocates: a regular store first reads the output's lines into cache, because it misses.
    error, for what isn't a plain sum of products: the bound of error_bound(), of inputs in float64 and u, the unit
    roundoff; to first order, with a factor of two in hand.
    scalar is the constant by which a STREAM operation scales.
    rounded: its activations are rounded, and what they were rounded to is multiplied: integers, or bf16.
    stored, of weights without their zeros: their bytes. They and FLOPs depend on a dimension that no operand has, nnz,
    the number of weights that aren't zero.
    """

    name: str
    signature: str
    define: Callable[..., np.ndarray]
    flops: Callable[[Mapping[str, int]], int]
    terms: str | None = None
    weights: str | None = None
    packed: bool = False
    write_allocates: bool = False
    error: Error | None = None
    scalar: float = 0.0
    rounded: bool = False
    stored: Callable[[Mapping[str, int], ElementType], int] | None = None

    @cached_property
    def operands(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(name, dimensions) of each input, then of the output."""
        return tuple(
            (part.split("[")[0], tuple(part.split("[")[1].rstrip("]").split(",")))
            for part in self.signature.replace("->", "").split()
        )

    @property
    def inputs(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return self.operands[:-1]

    @property
    def output(self) -> tuple[str, tuple[str, ...]]:
        return self.operands[-1]

    @property
    def in_place(self) -> bool:
        """Whether the output is also the first input."""
        return self.inputs[0] == self.output

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of what its work depends on: sizes of its operands, and nnz."""
        names = dict.fromkeys(d for _, dims in self.operands for d in dims if d != "1")
        return (*names, "nnz") if self.stored else tuple(names)

    def dims(self, shapes: Iterable[tuple[int, ...]]) -> dict[str, int]:
        """The size of each dimension, where the inputs have these shapes in elements."""
        pairs = zip(self.inputs, shapes, strict=True)
        return {d: size for (_, names), shape in pairs for d, size in zip(names, shape, strict=True)}

    def types(self, types: str | Types) -> dict[str, str]:
        """The type of every operand; see kernels.types.expand()."""
        return expand((name for name, _ in self.operands), types)

    def multiplied(self, types: str | Types) -> str:
        """The type whose peak its multiply-adds are held against: their accumulator, or that of rounded ones."""
        of = self.types(types)
        return TYPES[of[self.weights]].products if self.rounded and self.weights else accumulator(of)

    def types_for(self, element: str) -> dict[str, str]:
        """The types of a kernel for one element type: a type that is only stored is the weights' alone.

        Raises ValueError where there are no weights to store.
        """
        if TYPES[element].native:
            return self.types(element)
        if self.weights is None:
            raise ValueError(f"{self.name} has no weights that could be {element}")
        return self.types({self.weights: element})

    def operand_bytes(self, dims: Mapping[str, int], types: str | Types) -> dict[str, int]:
        """Bytes of each operand by its type, scales included. A sum stays in a register: 0."""
        of = self.types(types)
        sizes = {**dims, "1": 1}
        found = {}
        for name, (*rows, row) in self.operands:
            found[name] = prod(sizes[d] for d in rows) * TYPES[of[name]].bytes(sizes[row])
        if self.stored and self.weights:
            found[self.weights] = self.stored(dims, TYPES[of[self.weights]])
        if self.output[1] == ("1",):
            found[self.output[0]] = 0
        return found

    def bytes(self, dims: Mapping[str, int], types: str | Types) -> int:
        """Compulsory bytes of one call: every operand read or written once; what is changed in place, both."""
        each = self.operand_bytes(dims, types)
        return sum(each.values()) + self.in_place * each[self.output[0]]

    def delivered(self, dims: Mapping[str, int], types: str | Types) -> int:
        """Bytes that have to come from where the operands are: as bytes(), but what is changed in place comes once.

        It goes back while other lines come: caches do both at once, and update moves twice the bytes that read does.
        """
        return sum(self.operand_bytes(dims, types).values())

    def allocated(self, dims: Mapping[str, int], types: str | Types) -> int:
        """Bytes that regular stores first read into cache, because they miss (write-allocate)."""
        return self.write_allocates * self.operand_bytes(dims, types)[self.output[0]]

    def intensity(self, dims: Mapping[str, int], types: str | Types) -> float:
        """Arithmetic intensity in FLOP/byte: flops / compulsory bytes."""
        return self.flops(dims) / self.bytes(dims, types)


def _gemm(name: str, packed: bool = False) -> Operation:
    return Operation(
        name,
        "a[m,k] b[k,n] -> c[m,n]",
        lambda a, b: a @ b,
        flops=lambda d: 2 * d["m"] * d["n"] * d["k"],
        terms="k",
        weights="b",
        packed=packed,
    )


def _gemm_batch(name: str, signature: str, define: Callable[..., np.ndarray]) -> Operation:
    return Operation(
        name,
        signature,
        define,
        flops=lambda d: 2 * d["batch"] * d["m"] * d["n"] * d["k"],
        terms="k",
    )


def _gemv(name: str, signature: str, define: Callable[..., np.ndarray]) -> Operation:
    return Operation(name, signature, define, flops=lambda d: 2 * d["n"] * d["k"], terms="k", weights="w")


def _sparse(name: str, stored: Callable[[Mapping[str, int], ElementType], int]) -> Operation:
    return Operation(
        name,
        "w[n,k] x[k] -> y[n]",
        sparse.product,
        flops=lambda d: 2 * d["nnz"],
        terms="k",
        weights="w",
        packed=True,
        stored=stored,
    )


def _linear(name: str, activations: Callable[[np.ndarray], np.ndarray], error: Error | None = None) -> Operation:
    return Operation(
        name,
        "x[m,k] w[n,k] -> y[m,n]",
        lambda x, w: activations(x) @ w.T,
        flops=lambda d: 2 * d["m"] * d["n"] * d["k"],
        terms="k",
        weights="w",
        packed=True,
        error=error,
        rounded=activations is not np.asarray,
    )


def _stream(name: str, signature: str, define: Callable[..., np.ndarray], flops: int) -> Operation:
    return Operation(
        name,
        signature,
        define,
        flops=lambda d: flops * d["n"],
        terms="n" if name.startswith("read") else None,
        # update's line is there already, reads write nothing, non-temporal stores read nothing
        write_allocates=not (name == "update" or name.startswith("read") or name.endswith("_nt")),
        scalar=UPDATE_SCALAR if name == "update" else SCALAR,
    )


GELU_FLOPS, NORM_FLOPS, SOFTMAX_FLOPS = 10, 8, 4
"""FLOPs per element, a convention: 4 * 10 + 2 * 8 + 2 residuals = the paper's 58. Kernels execute others."""


def _softmax_operation(name: str) -> Operation:
    causal = name == "softmax_causal"
    return Operation(
        name,
        "s[batch,m,n] scale[1] -> s[batch,m,n]",
        lambda s, scale: definitions.softmax(s, scale, causal),
        flops=lambda d: SOFTMAX_FLOPS * d["batch"] * d["m"] * d["n"],
        error=lambda inputs, u: definitions.softmax_error(inputs[0], inputs[1], causal, u),
    )


def _gelu_operation(name: str, define: Callable[[np.ndarray], np.ndarray]) -> Operation:
    return Operation(
        name,
        "x[m,n] bias[n] -> x[m,n]",
        lambda x, bias: define(x + bias),
        flops=lambda d: (GELU_FLOPS + 1) * d["m"] * d["n"],
        error=lambda inputs, u: 16 * u * (np.abs(inputs[0]) + np.abs(inputs[1])),  # |GELU'| <= 1.13
    )


PRODUCTS = ("gemm", "gemm_batch", "gemm_batch_t", "gemv", "gemv_t")
"""What every library of linear algebra has."""

SCALAR_GEMMS = ("gemm_naive", "gemm_tiled", "gemm_packed")
"""GEMM without vectors: these exist for bench.ladder alone."""

LINEAR = ("linear", "linear_a8", "linear_a16")
"""Products with weights that are only stored, for any number of rows."""

OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        _gemm("gemm"),
        _gemm("gemm_prepacked", packed=True),  # b packed ahead, as inference can: its weights are constant
        _gemm("gemm_packed"),
        _gemm("gemm_tiled"),
        _gemm("gemm_naive"),
        # independent products, such as attention's, one per head: P V, and Q K^T with K as it is stored
        _gemm_batch("gemm_batch", "a[batch,m,k] b[batch,k,n] -> c[batch,m,n]", lambda a, b: a @ b),
        _gemm_batch("gemm_batch_t", "a[batch,m,k] b[batch,n,k] -> c[batch,m,n]", lambda a, b: a @ b.swapaxes(1, 2)),
        _gemv("gemv", "w[n,k] x[k] -> y[n]", lambda w, x: w @ x),
        _gemv("gemv_t", "x[k] w[k,n] -> y[n]", lambda x, w: x @ w),
        _linear("linear", np.asarray),  # nn.Linear, of weights that are only stored: in f32
        _linear("linear_a8", definitions.rounded_to_8_bits),  # the same, of x rounded on the way
        _linear("linear_a16", definitions.rounded_to_bf16, definitions.flushed_error),  # to bf16, for bf16's products
        # weights without their zeros: see kernels.sparse
        _sparse("gemv_bitmap", sparse.bitmap_bytes),
        _sparse("gemv_2_4", sparse.two_of_four_bytes),
        _sparse("gemv_csr", sparse.csr_bytes(4)),
        _sparse("gemv_csr16", sparse.csr_bytes(2)),
        _softmax_operation("softmax"),  # of attention's scores, which scale divides by sqrt(head_dim)
        _softmax_operation("softmax_causal"),
        Operation(
            "layer_norm",
            "x[m,n] gain[n] shift[n] eps[1] -> y[m,n]",
            definitions.norm,
            flops=lambda d: NORM_FLOPS * d["m"] * d["n"],
            error=lambda inputs, u: definitions.norm_error(inputs[:1], inputs[1:], u),
        ),
        Operation(  # BERT's: the norm follows the sum
            "residual_norm",
            "x[m,n] r[m,n] bias[n] gain[n] shift[n] eps[1] -> y[m,n]",
            lambda x, r, bias, *norm: definitions.norm(x + r + bias, *norm),
            flops=lambda d: (NORM_FLOPS + 2) * d["m"] * d["n"],
            error=lambda inputs, u: definitions.norm_error(inputs[:3], inputs[3:], u),
        ),
        _gelu_operation("gelu", definitions.gelu),
        _gelu_operation("gelu_tanh", definitions.gelu_tanh),
        Operation(
            "bias",
            "x[m,n] bias[n] -> x[m,n]",
            lambda x, bias: x + bias,
            flops=lambda d: d["m"] * d["n"],
        ),
        Operation(  # GPT-2's: the sum goes on as it is, and the norm of it elsewhere
            "residual",
            "x[m,n] r[m,n] bias[n] -> x[m,n]",
            lambda x, r, bias: x + r + bias,
            flops=lambda d: 2 * d["m"] * d["n"],
            error=lambda inputs, u: 3 * u * (np.abs(inputs[0]) + np.abs(inputs[1]) + np.abs(inputs[2])),
        ),
        Operation(  # K and V into a decoder's cache
            "copy_rows",
            "x[batch,m,n] -> y[batch,m,n]",
            lambda x: x,
            flops=lambda d: 0,
        ),
        Operation("embed", "table[n,k] i[1] -> y[k]", definitions.row, flops=lambda d: 0),
        Operation("argmax", "x[n] -> i[1]", definitions.argmax, flops=lambda d: 0),
        _stream("copy", "a[n] -> c[n]", lambda a: a, flops=0),
        _stream("scale", "c[n] -> b[n]", lambda c: SCALAR * c, flops=1),
        _stream("add", "a[n] b[n] -> c[n]", lambda a, b: a + b, flops=1),
        _stream("triad", "b[n] c[n] -> a[n]", lambda b, c: b + SCALAR * c, flops=2),
        _stream("copy_nt", "a[n] -> c[n]", lambda a: a, flops=0),
        _stream("scale_nt", "c[n] -> b[n]", lambda c: SCALAR * c, flops=1),
        _stream("add_nt", "a[n] b[n] -> c[n]", lambda a, b: a + b, flops=1),
        _stream("triad_nt", "b[n] c[n] -> a[n]", lambda b, c: b + SCALAR * c, flops=2),
        _stream("update", "a[n] -> a[n]", lambda a: UPDATE_SCALAR * a, flops=1),
        _stream("read", "a[n] -> s[1]", definitions.total, flops=1),
        _stream("read_2", "a[n] -> s[1]", definitions.total, flops=1),
        _stream("read_4", "a[n] -> s[1]", definitions.total, flops=1),
        _stream("read_8", "a[n] -> s[1]", definitions.total, flops=1),
    )
}
