"""Shapes of matrix products and of pointwise operations: FLOPs and compulsory bytes follow from the shape."""

from dataclasses import dataclass, field

from kernels.operations import OPERATIONS
from kernels.types import Types

PHASES = ("encode", "prefill", "decode")


@dataclass(frozen=True)
class Shape:
    """One product C[m, n] = A[m, k] B[k, n]; k is the length of each sum. `weight`: B is constant between passes.

    operation  "gemm", or with m = 1 "gemv" (B stored as W[n, k], nn.Linear) or "gemv_t" (stored as W[k, n], Conv1D);
               "gemm_batch" and "gemm_batch_t" are `batch` such products in one call; or one of the elementwise ones,
               which work on [m, n] or [batch, m, n] and have no k: it is 1
    nnz        how many weights aren't zero, for operations that store no others
    """

    operation: str
    m: int
    n: int
    k: int
    weight: bool
    batch: int = field(default=1, kw_only=True)
    nnz: int = field(default=0, kw_only=True)

    @property
    def shape(self) -> "Shape":
        """The shape alone, without who uses it: equal for equal products."""
        return Shape(self.operation, self.m, self.n, self.k, self.weight, batch=self.batch, nnz=self.nnz)

    @property
    def dims(self) -> dict[str, int]:
        """The sizes by the names that the operation gives them."""
        return self.sizes(self.operation)

    def sizes(self, operation: str) -> dict[str, int]:
        """The same by the names that another operation gives them, which multiplies the same matrices."""
        sizes = {"batch": self.batch, "m": self.m, "n": self.n, "k": self.k, "nnz": self.nnz}
        used = OPERATIONS[operation].dimensions
        return {name: size for name, size in sizes.items() if name in used}

    @property
    def weights(self) -> str | None:
        """The operand that is constant between passes, by its name; None where there is none."""
        return OPERATIONS[self.operation].weights if self.weight else None

    @property
    def flops(self) -> int:
        """A product's are 2 m n k, times the batch: a multiply and an add for every term."""
        return OPERATIONS[self.operation].flops(self.dims)

    def bytes(self, types: str | Types) -> int:
        """Compulsory traffic: each operand read once, the result written once, each element by its operand's type."""
        return OPERATIONS[self.operation].bytes(self.dims, types)

    def delivered(self, types: str | Types) -> int:
        """What of it has to come from where the operands are: see Operation.delivered()."""
        return OPERATIONS[self.operation].delivered(self.dims, types)

    def intensity(self, types: str | Types) -> float:
        """Arithmetic intensity in FLOP/byte."""
        return OPERATIONS[self.operation].intensity(self.dims, types)


@dataclass(frozen=True)
class Product(Shape):
    """A shape in its place: the layer that multiplies it and how often per forward pass, over all layers and heads."""

    layer: str
    count: int


@dataclass(frozen=True)
class Case(Shape):
    """A distinct shape and everybody who uses it, one entry per model: "BERT-Base q,k,v,o"."""

    layers: tuple[str, ...]

    @property
    def label(self) -> str:
        times = f"{self.batch} x " if self.batch > 1 else ""
        sizes = f"{self.m}x{self.n}" + (f"x{self.k}" if "k" in self.dims else "")
        return f"{self.operation} {times}{sizes} ({'; '.join(self.layers)})"
