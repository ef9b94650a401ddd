"""Whose a call is: one Python thread's at a time, and not a forked child's; and how little stack its threads need."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import kernels
from kernels.backends import c
from kernels.verify import check
from support.process import Run

BACKENDS = ("c", "numba")
STACK = (
    16 << 10
)  # bytes that a function may take of it: musl's threads have 128 KiB, and OMP_STACKSIZE says what it likes

# What a child does that was forked after a call on two threads; its parent kills it after 20 s.
FORK = """
import os, select, sys, numpy as np, kernels
backend, before, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
a, out = np.ones((64, 64), np.float32), np.empty((64, 64), np.float32)
bind = lambda backend, threads: kernels.find("gemm", "f32", backend).bind(a, a, out=out, threads=threads)
if before:
    bind(before, 2)()
call = bind(backend, after) if before else None
here, there = os.pipe()
if not (child := os.fork()):
    said = ""
    for act in (call or (lambda: None), lambda: bind(backend, after)()):
        try:
            act()
            said += f"right: {bool((out == 64).all())}; "
        except RuntimeError as error:
            said += f"{error}; "
    os.write(there, said.encode())
    os._exit(0)
ready, _, _ = select.select([here], [], [], 60)
os.kill(child, 9)
print(os.read(here, 9999).decode() if ready else "hangs")
"""


@pytest.mark.parametrize("before", BACKENDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_has_no_team(backend: str, before: str, python: Run) -> None:
    """Calls that were bound before the fork, and calls that are bound after it; whichever backend had a team before."""
    ran = python("-c", FORK, backend, before, "2")
    assert ran.stdout.strip() == f"{c.FORKED}; {c.FORKED};", ran.stderr


@pytest.mark.parametrize(("before", "after"), [("c", "1"), ("numba", "1"), ("", "2")])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_forked_child_can_do(backend: str, before: str, after: str, python: Run) -> None:
    """Calls of one thread; and teams, where there was none before."""
    ran = python("-c", FORK, backend, before, after)
    assert re.fullmatch("(right: (True|False); )right: True;", ran.stdout.strip()), ran.stderr


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_is_one_threads_at_a_time(backend: str, threads: int) -> None:
    """Of calls at the same time one computes, right, and the others raise; afterwards it can be made again."""
    a = np.random.default_rng(5).random((300, 300), np.float32)
    out = np.empty_like(a)
    kernel = kernels.find("gemm", "f32", backend)
    call = kernel.bind(a, a, out=out, threads=min(threads, kernel.most_threads))
    together = Barrier(4)

    def calls() -> list[str]:
        together.wait()
        said = []
        for _ in range(50):
            try:
                call()
                said.append("")
            except RuntimeError as error:
                said.append(str(error))
        return said

    with ThreadPoolExecutor(4) as pool:
        said = [each for one in [pool.submit(calls) for _ in range(4)] for each in one.result()]
    assert set(said) == {"", c.BUSY}
    check("gemm", kernel.types, [a, a], out)
    out[...] = np.nan
    call()
    check("gemm", kernel.types, [a, a], out)


def test_no_function_has_much_stack(machine_code: str) -> None:
    """All of the compiled module, whatever ISA: what functions take of the stack, in the machine code of x86-64."""
    frames = [int(size, 16) for size in re.findall(r"sub\s+\$0x([0-9a-f]{1,8}),%rsp", machine_code)]  # longer: an add
    assert len(frames) > 100 and max(frames) <= STACK


def test_calls_in_turn() -> None:
    """Each call is run, in order, and timed; the first that can't be run ends it."""
    x, seconds = np.ones((3, 5), np.float32), np.zeros(3)
    add = kernels.find("bias", "f32", "c")
    calls = [add.bind(x, np.full(5, value, np.float32), out=x) for value in (1, 2, 4)]
    run = c.in_turn(calls, seconds)
    run()
    assert (x == 8).all()
    assert (seconds > 0).all()
    seconds[:] = 0
    c.arguments_of(calls[1]).running = 1
    with pytest.raises(RuntimeError, match="another thread is running this call"):
        run()
    assert (x == 9).all()
    assert [bool(spent) for spent in seconds] == [True, False, False]


def test_threads_with_a_small_stack(python: Run) -> None:
    code = """
import kernels
from support.cases import make_inputs, verify
for kernel in kernels.available():
    if kernel.backend == "c":
        verify(kernel, make_inputs(kernel, {"m": 50, "n": 300, "k": 60}), 2)
"""
    ran = python("-c", code, OMP_STACKSIZE="64k")
    assert ran.returncode == 0, ran.stderr


def test_threads_with_more_stack_than_there_is(python: Run) -> None:
    """OpenMP would end the process: its threads are tried with the stack that they will have."""
    code = """
import numpy as np, kernels
from support.process import limit_address_space
kernel, a = kernels.find("gemm", "f32", "c"), np.ones((8, 8), np.float32)
limit_address_space(1 << 30)
try:
    kernel(a, a, threads=2)
except ValueError as error:
    print(error)
"""
    ran = python("-c", code, OMP_STACKSIZE="2 G")
    assert ran.stdout.startswith("can't start 2 threads: "), ran.stderr


def test_threads_of_another_python_thread(python: Run) -> None:
    """Every Python thread has a team of its own: that another had one says nothing."""
    code = """
import threading, numpy as np, kernels
from support.process import limit_address_space
a, out = np.ones((8, 8), np.float32), np.empty((8, 8), np.float32)
call = kernels.find("gemm", "f32", "c").bind(a, a, out=out, threads=64)
call()
def again():
    limit_address_space(100 << 20)
    try:
        call()
    except RuntimeError as error:
        print(error)
thread = threading.Thread(target=again)
thread.start()
thread.join()
call()
"""
    ran = python("-c", code)
    assert (ran.returncode, ran.stdout[:31]) == (0, "can't start the call's threads:"), ran.stderr
