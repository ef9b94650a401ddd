"""The registry: KERNELS, one row per (operation, types, backend, isa), and the ISA in use.

Importing it needs the compiled module; a backend's rows, and with them Numba, are made when they are first looked for.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np

from kernels.arguments import check_inputs, check_output, check_threads, check_weights
from kernels.arrays import aligned_empty
from kernels.backends import blas, numba
from kernels.backends import c as native
from kernels.operations import OPERATIONS
from kernels.packing import Packed
from kernels.teams import check_team, exclusive
from kernels.types import TYPES, Types, accumulator, label
from kernels.verify import WrongResult, check, error_bound, reference

ISA_VARIABLE = "RIDGELINE_ISA"
MANY = 1024
"""The most threads of backends that start as many as they are asked for."""

_Bind = Callable[..., Callable[[], Any]]
_Pack = Callable[[np.ndarray, int], Any]
_Meaning = Callable[[Types, Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]


class UnavailableISA(Exception):
    """An ISA was asked for by name that isn't compiled in or can't run here."""


@dataclass(frozen=True)
class Kernel:
    """One row of the registry. `types` are by operand; `reason` says why it can't be used here, None: it can.

    meaning: of a library that rounds activations in a way of its own, what `linear`'s inputs have to give, and within
    which bound.
    """

    operation: str
    types: Types = field(hash=False)
    backend: str
    isa: str
    reason: str | None
    most_threads: int
    _bind: _Bind
    _pack: _Pack | None = None
    meaning: _Meaning | None = None

    @property
    def dtype(self) -> str:
        """The type it computes in, that of its output: "f32"."""
        return accumulator(self.types)

    @property
    def label(self) -> str:
        """Its operands' types in a word: "f32", "w.bf16-f32"."""
        return label(self.types)

    @property
    def name(self) -> str:
        """As in tables and test ids: operation_types-backend-isa."""
        return f"{self.operation}_{self.label}-{self.backend}-{self.isa}"

    def __str__(self) -> str:
        return self.name

    def _check_threads(self, threads: Any) -> int:
        check_threads(threads, self.most_threads)
        if self.backend in ("c", "numba"):
            check_team(threads)
        return int(threads)

    def pack(self, weights: np.ndarray, threads: int = 1) -> Packed:
        """Weights, such as b[k,n], in this kernel's order; TypeError unless its operation takes them packed."""
        if self._pack is None:
            raise TypeError(f"{self.name} takes plain weights: it has no pack()")
        ready = check_weights(self.operation, self.types, weights)
        data = self._pack(ready, self._check_threads(threads))
        element = TYPES[self.types[OPERATIONS[self.operation].weights or ""]]
        return Packed(data, element.shape(ready.shape), self.label, (self.backend, self.isa))

    def bind(self, *inputs: Any, out: np.ndarray, threads: int = 1, **options: int) -> Callable[[], Any]:
        """Checks the arguments, prepares scratch memory and pointers, compiles what has to be; returns the bare call.

        The call writes `out`, returns nothing of use, releases the GIL and may be repeated; the arrays stay alive
        with it. The BLAS backend's calls run on the pool that set_threads() sized last.
        A call, its workspace and its output belong to one Python thread at a time: in C and Numba a call that another
        thread is running raises RuntimeError and computes nothing. So does one with more than one thread in a process
        that was forked after such a call. Calls with outputs of their own may run side by side, unless they share a
        kernels.arrays.Scratch.
        Raises TypeError or ValueError naming the argument, UnavailableISA where `reason` is set.
        """
        if self.reason:
            raise UnavailableISA(f"{self.name}: {self.reason}")
        ready, dims = check_inputs(self.operation, self.types, inputs, (self.backend, self.isa))
        check_output(self.operation, self.types, out, ready, dims)
        self._check_threads(threads)
        return self._bind(ready, out=out, threads=threads, **options)

    def expected(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(what these inputs, weights in plain storage, have to give in float64, the bound of the error)."""
        if self.meaning:
            return self.meaning(self.types, inputs)
        given = self.operation, self.types, inputs
        return reference(*given), error_bound(*given)

    def check(self, inputs: Sequence[np.ndarray], result: np.ndarray, *known: np.ndarray) -> None:
        """Raises WrongResult, with the kernel's name, where a result is farther from the expected one than its bound.

        known: what expected() gave.
        """
        try:
            check(self.operation, self.types, inputs, result, *(known or self.expected(inputs)))
        except WrongResult as error:
            raise WrongResult(f"{self.name}: {error}") from error

    def __call__(self, *inputs: Any, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
        """Runs once and returns the output, a new array unless `out` is given. Raises as bind() does."""
        if out is None:
            _, dims = check_inputs(self.operation, self.types, inputs, (self.backend, self.isa))
            op = OPERATIONS[self.operation]
            shape = tuple(1 if d == "1" else dims[d] for d in op.output[1])
            out = inputs[0] if op.in_place else aligned_empty(shape, TYPES[self.dtype].storage)
        call = self.bind(*inputs, out=out, threads=threads)
        set_threads(threads)
        call()
        return out


def set_threads(threads: int) -> None:
    """Sizes the pools that are the process's, not the call's: BLAS."""
    blas.set_threads(threads)


def _forced() -> str | None:
    """The ISA that RIDGELINE_ISA names, checked; None where it isn't set."""
    isa = os.environ.get(ISA_VARIABLE) or None
    if isa is None:
        return None
    running, built = native.running(), native.BUILT
    if isa not in built:
        raise UnavailableISA(f"{ISA_VARIABLE}={isa}: not compiled in; this build has {', '.join(built)}")
    if isa not in running:
        raise UnavailableISA(f"{ISA_VARIABLE}={isa}: this CPU can't run it; it runs {', '.join(running)}")
    return isa


def chosen_isa() -> str:
    """The ISA in use: the one RIDGELINE_ISA names, or the widest that runs here. Raises UnavailableISA.

    It may extend another, whose kernels are then in use where it has none of its own.
    """
    return _forced() or native.running()[-1]


def _native_reason(isa: str, operation: str, element: str) -> str | None:
    if not native.runs(isa):
        return f"this CPU has no {isa}"
    if isa != native.owner(operation, element, forced := os.environ.get(ISA_VARIABLE) or isa):
        return f"{ISA_VARIABLE} asks for {forced}"
    return native.missing(operation, isa)


def _c_rows() -> list[Kernel]:
    rows = []
    for isa in native.BUILT:
        for operation, element in native.OPERATIONS:
            if isa != native.owner(operation, element, isa):
                continue
            op, bind = OPERATIONS[operation], partial(native.bind, operation, element, isa)
            pack = partial(native.pack, operation, element, isa) if op.packed else None
            reason = _native_reason(isa, operation, element)
            rows.append(Kernel(operation, op.types_for(element), "c", isa, reason, MANY, bind, pack))
    return rows


def _numba_rows() -> list[Kernel]:
    def bind(operation: str, element: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        given = ready[1:] if OPERATIONS[operation].in_place else ready  # the first is `out` itself
        inputs = [x.data if isinstance(x, Packed) else x for x in given]
        return exclusive(numba.binder(operation, element)(*inputs, out=out, threads=threads), threads)

    rows, refusal = [], numba.refusal()
    most = 1 if refusal else numba.threads_available()
    for operation, element in numba.OPERATIONS:
        op = OPERATIONS[operation]
        calls = partial(bind, operation, element), partial(numba.pack, operation, element) if op.packed else None
        reason = refusal or numba.missing(operation, element)
        rows.append(Kernel(operation, op.types_for(element), "numba", numba.isa(), reason, most, *calls))
    return rows


def _blas_rows() -> list[Kernel]:
    def bind(operation: str, ready: list[Any], out: np.ndarray, threads: int) -> Callable[[], Any]:
        blas.check_threads(threads)
        return blas.bind(operation, ready, out)  # the threads are the pool's

    rows = []
    for operation, element in blas.OPERATIONS:
        types = OPERATIONS[operation].types_for(element)
        rows.append(Kernel(operation, types, "blas", blas.name(), blas.missing(), MANY, partial(bind, operation)))
    return rows


_ROWS = {"c": _c_rows, "numba": _numba_rows, "blas": _blas_rows}
BACKENDS = tuple(_ROWS)


@cache
def _rows(backend: str) -> list[Kernel]:
    return _ROWS[backend]()


Key = tuple[str, str, str, str]
KERNELS: Mapping[Key, Kernel]
"""Every row by (operation, label of its types, backend, isa), made on first use. Tests and commands loop over it."""


@cache
def _kernels() -> Mapping[Key, Kernel]:
    rows = [row for backend in BACKENDS for row in _rows(backend)]
    return MappingProxyType({(row.operation, row.label, row.backend, row.isa): row for row in rows})


def __getattr__(name: str) -> Any:
    if name == "KERNELS":
        return _kernels()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def available() -> list[Kernel]:
    """The rows that can be used here. Raises UnavailableISA where RIDGELINE_ISA names an ISA that can't."""
    _forced()
    return [kernel for kernel in _kernels().values() if kernel.reason is None]


def unusable(backend: str, threads: int = 1) -> str | None:
    """Why a backend runs nothing with so many threads, in a line that begins with its name; None: it runs something."""
    rows = [kernel for kernel in _rows(backend) if kernel.reason is None]
    if not rows:
        return f"{backend}: {_rows(backend)[-1].reason}"
    if backend == "blas" and (reason := blas.refusal(threads)):
        return f"{backend}: {reason}"
    most = max(kernel.most_threads for kernel in rows)
    return f"{backend} with {threads} threads: NUMBA_NUM_THREADS={most}" if threads > most else None


def pick(rows: Iterable[Kernel], operation: str, types: str | Types, backend: str, isa: str | None = None) -> Kernel:
    """The last usable one of the rows that fit. Raises as find() does."""
    wanted = types if isinstance(types, str) else label(OPERATIONS[operation].types(types))
    fitting = [k for k in rows if (k.operation, k.label, k.backend) == (operation, wanted, backend)]
    while isa in native.EXTENSIONS and isa not in {k.isa for k in fitting}:
        isa = native.EXTENSIONS[isa]
    fitting = [k for k in fitting if isa in (None, k.isa)]
    if not fitting:
        raise KeyError(f"no kernel {operation}_{wanted} in {backend}" + (f" for {isa}" if isa else ""))
    usable = [kernel for kernel in fitting if kernel.reason is None]
    if not usable:
        raise UnavailableISA(f"{fitting[-1].name}: {fitting[-1].reason}")
    return usable[-1]


def find(operation: str, types: str | Types, backend: str, isa: str | None = None) -> Kernel:
    """One usable row; without `isa` the widest. `types` of all operands, "f32", or by operand, {"w": "bf16"}.

    Of an ISA that has none of its own: the row of the one that it extends.

    Raises UnavailableISA where it can't run, KeyError where there is no such row, ValueError for a type or an operand
    by a name that doesn't exist.
    """
    _forced()
    return pick(_rows(backend) if backend in BACKENDS else (), operation, types, backend, isa)
