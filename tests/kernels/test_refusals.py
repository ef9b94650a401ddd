"""What kernels refuse, each with an error that names the argument; and how an ISA is chosen, forced and refused."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import DTYPES, KERNELS, OPERATIONS, TYPES, Kernel, UnavailableISA
from kernels.arrays import aligned_empty
from kernels.backends import c as native
from kernels.types import native_isa
from support.cases import arguments, make_inputs, output_for, size_of, whole
from support.process import ROOT, TESTS, Run

DIMS = {"batch": 3, "m": 5, "n": 24, "k": 7}
OTHER = {"f32": np.float64, "f64": np.float32}

Refusal = tuple[type[Exception], str, list[Any], Any, Any]


@pytest.fixture
def good(kernel: Kernel) -> tuple[list[Any], np.ndarray]:
    """A kernel's arguments and output as they should be."""
    inputs = make_inputs(kernel, DIMS)
    out = output_for(kernel, inputs)[1]
    return arguments(kernel, inputs, out=out), out


def bad_inputs(kernel: Kernel, given: list[Any], out: np.ndarray) -> Iterator[Refusal]:
    """(error, message, inputs, out, threads) with one input wrong."""
    operands = OPERATIONS[kernel.operation].inputs
    at = next(i for i, x in enumerate(given) if isinstance(x, np.ndarray))  # the first that isn't packed
    first, (name, _) = given[at], operands[at]

    def instead(i: int, x: Any) -> list[Any]:
        return [*given[:i], x, *given[i + 1 :]]

    wanted = "float" if kernel.types[name] == kernel.dtype else rf"{kernel.types[name]}, stored as"
    for wrong in (np.dtype(OTHER[kernel.dtype]), DTYPES[kernel.dtype].newbyteorder()):
        yield TypeError, f"{name} must be {wanted}", instead(at, np.ones(first.shape, wrong)), out, 1
    yield TypeError, f"{name} must be a numpy array", instead(at, first.tolist()), out, 1
    yield ValueError, rf"{name} must be {name}\[", instead(at, first[None]), out, 1
    yield ValueError, f"{name} is empty", instead(at, first[:0]), out, 1
    yield TypeError, f"{kernel.operation} takes", [*given, first], out, 1
    yield TypeError, f"{kernel.operation} takes", given[1:], out, 1
    dims = whole(kernel, DIMS)
    for i, ((other, names), x) in enumerate(zip(operands, given, strict=True)):
        if i == at:
            continue
        element = TYPES[kernel.types[other]]
        values = np.ones([size_of(dims, d) + element.group for d in names])
        values[..., ::2] = 0  # what 2:4 can store
        longer = element.encode(values)
        blamed = name if i < at else other  # the later of two that contradict each other
        yield ValueError, rf"{blamed} must be {blamed}\[", instead(i, repack(kernel, longer, x)), out, 1


def repack(kernel: Kernel, x: np.ndarray, like: Any) -> Any:
    return x if isinstance(like, np.ndarray) else kernel.pack(x)


def bad_outputs(kernel: Kernel, given: list[Any], out: np.ndarray) -> Iterator[Refusal]:
    """The same with a wrong output."""
    yield TypeError, "out must be float", given, out.astype(OTHER[kernel.dtype]), 1
    yield TypeError, "out must be a numpy array", given, out.tolist(), 1
    yield ValueError, r"out must be out\[", given, np.empty((*out.shape, 1), out.dtype), 1
    yield ValueError, r"out must be out\[", given, np.empty([n + 1 for n in out.shape], out.dtype), 1
    read_only = out.view()
    read_only.flags.writeable = False
    yield ValueError, "out is read-only", given, read_only, 1
    if out.size > 1:
        yield ValueError, "out must have unit inner stride", given, out.repeat(2, axis=-1)[..., ::2], 1
        yield ValueError, "out must have unit inner stride", given, out.copy()[..., ::-1], 1
    if kernel.operation.endswith("_nt"):
        yield ValueError, "out must be 64-byte aligned", given, np.zeros(out.size + 8)[3:-5], 1


def bad_threads(kernel: Kernel, given: list[Any], out: np.ndarray) -> Iterator[Refusal]:
    for threads in (0, -1, kernel.most_threads + 1):
        yield ValueError, f"threads must be 1 to {kernel.most_threads}", given, out, threads
    for wrong in (1.0, "1", True, None):
        yield TypeError, "threads must be an int", given, out, wrong


@pytest.mark.parametrize("bad", [bad_inputs, bad_outputs, bad_threads])
def test_refused(kernel: Kernel, good: Any, bad: Any) -> None:
    for error, message, inputs, out, threads in bad(kernel, *good):
        with pytest.raises(error, match=message):
            kernel.bind(*inputs, out=out, threads=threads)


def test_overlap_is_refused(kernel: Kernel) -> None:
    """Even of one element: the last of an input is the first of the output."""
    op = OPERATIONS[kernel.operation]
    if op.in_place and len(op.inputs) == 1:
        pytest.skip("its output is its input")
    for i, (name, _) in enumerate(op.inputs):
        if i == 0 and op.in_place:
            continue
        inputs = make_inputs(kernel, DIMS)
        out, given = output_for(kernel, inputs)[1], arguments(kernel, inputs)
        if isinstance(given[i], np.ndarray):
            size, item = inputs[i].nbytes, inputs[i].itemsize
            begin = -(-size // 64) * 64
            memory = aligned_empty(begin + max(out.nbytes, item), np.uint8)
            memory[...] = 0
            given[i] = memory[begin + item - size : begin + item].view(inputs[i].dtype).reshape(inputs[i].shape)
            out = memory[begin : begin + out.nbytes].view(out.dtype).reshape(out.shape)
            given[0] = out if op.in_place else given[0]
            with pytest.raises(ValueError, match=f"out overlaps {name}"):
                kernel.bind(*given, out=out)


@pytest.mark.parametrize("backend", kernels.BACKENDS[:2])
def test_in_place_output_is_the_input(backend: str) -> None:
    """update multiplies its input where it lies; another array as output would be a wrong result."""
    a, out = np.ones(9), np.full(9, 5.0)
    with pytest.raises(ValueError, match="out"):
        kernels.find("update", "f64", backend).bind(a, out=out)


def test_weights_are_packed_for_one_kernel(kernel: Kernel) -> None:
    op = OPERATIONS[kernel.operation]
    if not op.packed:
        with pytest.raises(TypeError, match="has no pack"):
            kernel.pack(np.ones((3, 4), DTYPES[kernel.dtype]))
        return
    named = dict(zip((name for name, _ in op.inputs), make_inputs(kernel, DIMS), strict=True))
    name = str(op.weights)
    with pytest.raises(TypeError, match=f"{name} must be packed"):
        kernel(*named.values())
    with pytest.raises(TypeError, match=f"{name} must be"):
        kernel.pack(np.ones((3, 4), np.int64))
    for bad in (named[name][0], named[name][:, :0]):
        with pytest.raises(ValueError, match=f"{name} "):
            kernel.pack(bad)
    others = [k for k in kernels.available() if k.operation == kernel.operation and k != kernel]
    assert others
    for other in others[:6]:
        theirs = dict(zip(named, make_inputs(other, DIMS), strict=True))[name]
        with pytest.raises(ValueError, match=f"{name} was packed by"):
            kernel(*(named | {name: other.pack(theirs)}).values())


def test_kernels_that_cannot_run_say_so() -> None:
    missing = [k for k in KERNELS.values() if k.reason]
    if not missing:
        pytest.skip("every kernel runs here")
    for kernel in missing:
        with pytest.raises(UnavailableISA, match=kernel.isa):
            kernel.bind(*make_inputs(kernel, DIMS), out=np.empty(1))
    assert not set(missing) & set(kernels.available())


def test_unknown_kernels() -> None:
    for wanted in (("gemm", "f16", "c"), ("gem", "f32", "c"), ("gemm", "f32", "rust"), ("gemm", "f32", "c", "mmx")):
        with pytest.raises(KeyError, match="no kernel"):
            kernels.find(*wanted)


# --- RIDGELINE_ISA and REQUIRE_ISA are read at import and by pytest: each case is a process of its own


def test_forced_isa(python: Run) -> None:
    code = """
import json, kernels
from kernels.backends import c
isas = sorted({k.isa for k in kernels.available() if k.backend == "c"})
print(json.dumps([kernels.chosen_isa(), kernels.find("gemm", "f32", "c").isa, isas]))
try:
    kernels.find("gemm", "f32", "c", c.ISAS[-1])
except kernels.UnavailableISA as error:
    print(error)
"""
    ran = python("-c", code, RIDGELINE_ISA="generic")
    found, refused = ran.stdout.splitlines()
    assert json.loads(found) == ["generic", "generic", ["generic"]]
    assert refused.startswith(f"gemm_f32-c-{native.ISAS[-1]}: ")


def test_widest_isa_is_chosen(python: Run) -> None:
    ran = python("-c", "import kernels; print(kernels.chosen_isa(), kernels.find('gemm', 'f32', 'c').isa)")
    widest = [isa for isa in native.BUILT if native.runs(isa)][-1]
    assert ran.stdout.split() == [widest, native_isa(widest)]


@pytest.mark.parametrize(("isa", "extends"), native.EXTENSIONS.items())
def test_an_extension_has_the_other_kernels_of_what_it_extends(isa: str, extends: str) -> None:
    """Integers or bf16 are its own, also where this CPU has neither; the name of what has all types begins its own."""
    own = ("linear_a16", "bf16") if isa.endswith("bf16") else ("linear_a8", "i4g32")
    assert native.owner(*own, isa) == KERNELS[own[0], f"w.{own[1]}-f32", "c", isa].isa == isa
    assert ("gemm", "f32", "c", isa) not in KERNELS
    assert native_isa(isa) == native_isa(extends)
    assert native.owner("gemm", "f32", isa) == native_isa(isa) in native.ISAS
    for operation, element in (("gemm", "f32"), ("linear", "f16"), own):
        try:
            found = kernels.find(operation, OPERATIONS[operation].types_for(element), "c", isa).isa
        except UnavailableISA as error:
            found = str(error)
        assert (isa if operation == own[0] else native_isa(isa)) in found
        assert native.runs(isa) or operation != own[0] or f"this CPU has no {isa}" in found


REFUSED = ["mmx", *[isa for isa in native.BUILT if not native.runs(isa)][-1:]]
"""One that nobody knows and one that this CPU lacks: each is some processes."""


@pytest.mark.parametrize("isa", REFUSED)
def test_unusable_isa_is_refused(python: Run, isa: str) -> None:
    code = """
import kernels
for choose in (kernels.chosen_isa, kernels.available, lambda: kernels.find("gemm", "f32", "c")):
    try:
        choose()
    except kernels.UnavailableISA as error:
        print(error)
"""
    lines = python("-c", code, RIDGELINE_ISA=isa).stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"RIDGELINE_ISA={isa}: ") for line in lines)


@pytest.mark.parametrize("isa", REFUSED)
@pytest.mark.parametrize(
    "command", [["bench.peak"], ["bench.stream", "--size", "1"], ["pytest", ROOT / "bench", "--collect-only"]]
)
def test_commands_refuse_an_unusable_isa(python: Run, command: list[str], isa: str) -> None:
    ran = python("-m", *command, RIDGELINE_ISA=isa)
    assert ran.returncode != 0
    lines = [line for line in ran.stderr.splitlines() if line]
    assert len(lines) == 1
    assert f"RIDGELINE_ISA={isa}" in lines[0]


@pytest.mark.skipif(len(native.ISAS) < 2, reason="one ISA was compiled in")
def test_required_isa_is_not_skipped(python: Run) -> None:
    test = f"{TESTS}/kernels/test_kernels.py::test_subnormal_values[gemm_f32-c-{native.ISAS[1]}]"
    arguments = ("-m", "pytest", test, "-q", "-rs", "-p", "no:cacheprovider")
    skipped = python(*arguments, RIDGELINE_ISA="generic")
    assert (skipped.returncode, "RIDGELINE_ISA asks for generic" in skipped.stdout) == (0, True)
    failed = python(*arguments, RIDGELINE_ISA="generic", REQUIRE_ISA=f"generic,{native.ISAS[1]}")
    assert (failed.returncode, f"REQUIRE_ISA: gemm_f32-c-{native.ISAS[1]}" in failed.stdout) == (1, True)
    unknown = python(*arguments, REQUIRE_ISA="mmx")
    assert (unknown.returncode, "REQUIRE_ISA=mmx" in unknown.stdout) == (1, True)
