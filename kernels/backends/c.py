"""The C backend: NumPy arrays to calls of csrc/ through cffi. Arguments were checked in kernels.arguments.

What there is, the compiled module says: its kernels, and the argument struct of each. The fields of a struct are filled
in by their names: a dimension, an operand, ld<operand>, stride_<operand>, threads, passes, scalar, workspace.
"""

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernels import sparse
from kernels.arrays import Arena, Scratch, leading_dimension
from kernels.operations import OPERATIONS as MEANINGS
from kernels.packing import Packed
from kernels.types import TYPES, native_isa

try:
    from kernels._native import ffi as ffi
    from kernels._native import lib as lib
except ImportError as error:
    raise ImportError(
        "kernels/_native, the compiled part, is missing or not for this Python: "
        "build it with `make build` or `pip install -e .`"
        f" ({error})"
    ) from error


CSRC = Path(__file__).resolve().parents[2] / "csrc"


def _sources() -> str | None:
    """SHA-256 of the sources beside the package, as CMake has it; None outside of a checkout."""
    files = {path.relative_to(CSRC).as_posix(): path for path in CSRC.rglob("*") if path.suffix in (".c", ".h", ".def")}
    lines = [f"{name} {hashlib.sha256(files[name].read_bytes()).hexdigest()}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


_built = str(ffi.string(lib.build_sources()), "ascii") if hasattr(lib, "build_sources") else "older ones"
if (_now := _sources()) and _now != _built:
    raise ImportError(
        f"{sys.modules['kernels._native'].__file__} was built from other sources than {CSRC} has now: "
        "build it again with `make build` or `pip install -e .`"
    )


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer), "ascii")


BUILT: tuple[str, ...] = tuple(_text(lib.isa_name(i)) for i in range(lib.isa_count()))
"""The ISAs compiled in, narrowest first."""

EXTENSIONS: dict[str, str] = {isa: of for i, isa in enumerate(BUILT) if (of := _text(lib.isa_extends(i)))}
"""Those that have kernels for some stored types alone, and which one they extend."""

ISAS: tuple[str, ...] = tuple(isa for isa in BUILT if isa not in EXTENSIONS)
"""The others, which have every type, narrowest first."""

CACHE_LINE = 64


_KERNELS: dict[tuple[str, str, str], Any] = {
    (_text(row.operation), _text(row.target.type), _text(row.target.isa)): row
    for row in map(lib.kernel_at, range(lib.kernel_count()))
}

OPERATIONS: tuple[tuple[str, str], ...] = tuple(
    (operation, element)
    for operation in MEANINGS
    for element in TYPES
    if any((operation, element, isa) in _KERNELS for isa in BUILT)
)
"""(operation, element type) of every kernel that an ISA has."""


def runs(isa: str) -> bool:
    """Whether this CPU and operating system have the ISA."""
    return bool(lib.isa_runs(BUILT.index(isa)))


def running() -> list[str]:
    """The ISAs that run here, extensions among them, narrowest first."""
    return [isa for isa in BUILT if runs(isa)]


def owner(operation: str, element: str, isa: str) -> str:
    """The ISA whose kernel it is that runs where `isa` is in use: itself, or the nearest that it extends."""
    if isa not in EXTENSIONS or (operation, element, isa) in _KERNELS:
        return isa
    return owner(operation, element, EXTENSIONS[isa])


def missing(operation: str, isa: str) -> str | None:
    """Why an ISA lacks an operation, or None."""
    if any((operation, element, isa) in _KERNELS for element in TYPES):
        return None
    return f"{isa} has no {'non-temporal stores' if operation.endswith('_nt') else operation}"


def target(isa: str, element: str) -> Any:
    """The struct target of an ISA and element type: what the planner of csrc/plan.c has to know of them."""
    return next(row for (_, of, has), row in _KERNELS.items() if (of, has) == (element, isa)).target


def vector_bytes(isa: str) -> int:
    return int(target(native_isa(isa), "f32").vector_bytes)


def tile(isa: str, element: str) -> tuple[int, int]:
    """(mr, nr): rows and columns of the register tile."""
    of = target(isa, element)
    return of.mr, of.nv * of.vector_bytes // of.element_bytes


def has_peak(element: str, isa: str) -> bool:
    """Whether peak() has a loop of its own for the type: not of weights that are widened to another."""
    return ("peak", element, isa) in _KERNELS


def chains(isa: str, element: str) -> int:
    """Independent multiply-adds, a vector each, of peak(): as many as keep every unit busy."""
    return int(target(isa, element).chains)


def products(isa: str, element: str) -> int:
    """Multiply-adds of each lane in a step of peak()'s chains."""
    return int(target(isa, element).products)


def build() -> dict[str, Any]:
    """Compiler, flags and ISAs of the compiled module."""
    return {"compiler": _text(lib.build_compiler()), "flags": _text(lib.build_flags()).strip(), "isas": list(BUILT)}


def _shape(x: Any, element: str) -> tuple[int, ...]:
    """In elements: packed weights know theirs, an array of groups has more than items."""
    return x.shape if isinstance(x, Packed) else TYPES[element].shape(x.shape)


def _pointer(x: Any) -> Any:
    return ffi.cast("void *", (x.data if isinstance(x, Packed) else x).ctypes.data)


def _distance(field: str, operands: dict[str, Any]) -> int:
    """ld<operand> or stride_<operand> in elements; 0 where there is no such operand, or it is packed."""
    x = operands.get(field.removeprefix("stride_").removeprefix("ld"))
    if x is None or isinstance(x, Packed):
        return 0
    return x.strides[0] // x.itemsize if field.startswith("stride_") else leading_dimension(x)


def _arguments(kernel: Any, operands: dict[str, Any], numbers: dict[str, Any]) -> Any:
    """The argument struct of a call. Raises TypeError where the struct and what is given don't match."""
    tag = _text(kernel.arguments)
    arguments = ffi.new(f"struct {tag} *", {"kernel": kernel})
    fields = dict(ffi.typeof(arguments).item.fields)
    if strange := operands.keys() - fields.keys():
        raise TypeError(f"struct {tag} of csrc/kernels.h has no field {min(strange)}")
    for name, field in fields.items():
        if name in operands:
            setattr(arguments, name, _pointer(operands[name]))
        elif name in numbers:
            setattr(arguments, name, numbers[name])
        elif name == "running":
            arguments.running = 0
        elif name.startswith(("ld", "stride_")):
            setattr(arguments, name, _distance(name, operands))
        elif field.type.kind != "pointer":  # of an operand that a call may lack: NULL
            raise TypeError(f"field {name} of struct {tag} in csrc/kernels.h is neither a dimension nor known by name")
    return arguments


FORKED = (
    "this process was forked from a thread that had started a team, and has none of its threads: "
    "start it by spawn or forkserver, or fork before the first call with more than one thread"
)
BUSY = "another thread is running this call: a bound call, with its workspace and output, is one thread's at a time"


def _check_run(error: int) -> None:
    """Raises RuntimeError for what kernel_run() returns when it computed nothing."""
    if error:
        named = {errno.EBUSY: BUSY, errno.EDEADLK: FORKED}
        raise RuntimeError(named.get(error, f"can't start the call's threads: {os.strerror(error)}"))


def pack(operation: str, element: str, isa: str, b: np.ndarray, threads: int) -> np.ndarray:
    """Weights as the operation reads them, a flat aligned array: b[k,n] as the panels of gemm_prepacked, w[n,k] as
    linear's strips, or without its zeros."""
    if MEANINGS[operation].stored:
        return sparse.pack(operation, TYPES[element], max(8, vector_bytes(isa) // 4), b)
    if not TYPES[element].native:
        return _pack_linear(isa, element, b, threads)
    (k, n), kernel = b.shape, _KERNELS["pack", element, isa]
    packed = Arena.take(lib.packed_elements(kernel.target, n, k), TYPES[element].storage)
    arguments = _arguments(kernel, {"b": b, "packed": packed}, {"threads": threads, "n": n, "k": k})
    _check_run(lib.kernel_run(arguments))
    return packed


def _pack_linear(isa: str, element: str, w: np.ndarray, threads: int) -> np.ndarray:
    kernel, (n, k) = _KERNELS["pack_linear", element, isa], _shape(w, element)
    plan = lib.plan_linear(kernel.target, n, k)
    packed = Arena.take(plan.strips * plan.strip, np.uint8)
    arguments = _arguments(kernel, {"w": w, "packed": packed}, {"threads": threads, "n": n, "k": k})
    _check_run(lib.kernel_run(arguments))
    return packed


def peak(isa: str, element: str, threads: int, iterations: int) -> Callable[[], float]:
    """A call that does products() multiply-adds on each lane of chains() vectors, `iterations` times.

    It returns the sum of all lanes: of integers it is the number of multiply-adds.
    """
    arguments = _arguments(_KERNELS["peak", element, isa], {}, {"threads": threads, "iterations": iterations})
    arguments.total = total = ffi.new("double *")

    def call() -> float:
        _check_run(lib.kernel_run(arguments))
        return float(total[0])

    return call


def bind(
    operation: str, element: str, isa: str, inputs: list[Any], out: np.ndarray, threads: int, passes: int = 1
) -> Callable[[], Any]:
    """A call with everything prepared: what is left to the call is one C function that allocates nothing.

    passes: how often one call does the operation; other than 1 only for the STREAM operations.
    """
    op = MEANINGS[operation]
    types = op.types_for(element)
    if operation.endswith("_nt") and out.ctypes.data % CACHE_LINE:
        raise ValueError(f"out must be {CACHE_LINE}-byte aligned for non-temporal stores")
    given = [*inputs, out]
    numbers: dict[str, Any] = {"threads": threads, "passes": passes, "scalar": op.scalar}
    operands = {name: x for (name, _), x in zip(op.operands, given, strict=True)}
    for name, dims in op.operands:
        numbers |= dict(zip(dims, _shape(operands[name], types[name]), strict=True))
    arguments = _arguments(_KERNELS[operation, element, isa], operands, numbers)
    if passes != 1 and not hasattr(arguments, "passes"):
        raise ValueError(f"passes must be 1 for {operation}, not {passes}")
    if size := lib.kernel_workspace_bytes(arguments):
        workspace = Scratch.take(size)
        arguments.workspace = _pointer(workspace)
        given.append(workspace)
    run = lib.kernel_run

    def call() -> None:
        if error := run(arguments):
            _check_run(error)

    call.keep = given  # type: ignore[attr-defined]  # the pointers are only as good as the arrays are alive
    call.arguments = arguments  # type: ignore[attr-defined]
    return call


def arguments_of(call: Callable[[], Any]) -> Any:
    """The argument struct of a call that bind() made, or None: another call's."""
    return getattr(call, "arguments", None)


def in_turn(calls: Sequence[Callable[[], Any]], seconds: np.ndarray) -> Callable[[], None]:
    """One call of C for some that bind() made, one after another without Python between them.

    seconds: an array of f64, to which it writes how long each took. Raises RuntimeError as the first does that fails.
    """
    arguments = ffi.new("void *[]", [arguments_of(call) for call in calls])
    count, to, run = len(calls), ffi.cast("double *", seconds.ctypes.data), lib.kernel_run_all

    def call() -> None:
        if error := run(arguments, count, to):
            _check_run(error)

    call.keep = [*calls, seconds]  # type: ignore[attr-defined]
    return call
