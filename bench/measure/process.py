"""A process of its own for each of the other libraries, standing still while it isn't its turn.

In one process their pools would disturb each other and the project's: PyTorch brings an OpenMP runtime of its own, and
ONNX Runtime's threads spin for longer than a turn takes, which makes it fast and everybody else slow. Without spinning
it loses up to half of its speed on small products, so that wouldn't be ONNX Runtime as people run it. Therefore a
worker is stopped (SIGSTOP) with all of its threads between two requests, and finds them as it left them.

Its threads are pinned to the CPUs that the project's are pinned to, one each, whoever made them: those that used the
most CPU time in a few calls. Woken together, two unpinned threads now and then share a CPU for milliseconds.
"""

import atexit
import contextlib
import ctypes
import gc
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import kernels
from bench.cli import ENDINGS
from bench.errors import BadInput
from bench.measure.last_level import LastLevel, inherit, last_level
from bench.measure.problem import Problem
from bench.measure.timing import Elsewhere, Region, Variant, timed
from bench.workloads.shapes import Case
from kernels import Kernel
from kernels.backends import libraries
from kernels.cpus import inherit_cpus, started_with
from kernels.verify import WrongResult

PR_SET_PDEATHSIG = 1
SPREAD_SECONDS = 0.02


class Process:
    """One library's process, where a `server` is made and its methods are called. cpu_seconds: what it has used so far.

    server     a class, or a function that returns an object; it is called over there, after pinning to `cpus`
    arguments  the server's
    """

    def __init__(self, backend: str, cpus: list[int], server: Callable[..., Any], *arguments: Any) -> None:
        self.backend, self.cpu_seconds = backend, 0.0
        context = multiprocessing.get_context("spawn")  # a fork would copy a team of threads that isn't there
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, cpus, (started_with(), last_level()), server, arguments), daemon=True
        )
        self._process.start()
        theirs.close()
        atexit.register(self.close)  # before multiprocessing's own, which would wait for a stopped process

    def _ask(self, request: str, *arguments: Any) -> Any:
        """Raises what the request raised; BadInput where the process is gone."""
        assert self._process.pid is not None
        try:
            os.kill(self._process.pid, signal.SIGCONT)
            self._pipe.send((request, arguments))
            answer, self.cpu_seconds = self._pipe.recv()
            os.kill(self._process.pid, signal.SIGSTOP)
        except (EOFError, ConnectionError, ProcessLookupError) as error:
            self._process.join()
            raise BadInput(f"the process of {self.backend} ended with status {self._process.exitcode}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Worker(Process):
    """Where one library's kernels are measured."""

    def __init__(self, backend: str, cpus: list[int], arrays: int) -> None:
        super().__init__(backend, cpus, _Server, cpus, arrays)

    def prepare(
        self, case: Case, dtype: str, threads: int, kernel: Kernel, copies: int | None = None, verified: bool = False
    ) -> Elsewhere:
        """As Problem.prepare(), over there."""
        named = (kernel.operation, kernel.label)
        ready = self._ask("prepare", case, dtype, threads, named, kernel.backend, copies, verified)
        return Elsewhere(ready, lambda *region: self._ask("time", named, *region))

    def check_again(self, kernel: Kernel, copy: int) -> None:
        """As Problem.check_again(), over there."""
        self._ask("check_again", (kernel.operation, kernel.label), copy)


_Named = tuple[str, str]
"""A library's kernel over there: its operation, and the label of its types."""


class _Server:
    """The other end: the same problem as in the first process, for one library's kernels."""

    def __init__(self, cpus: list[int], arrays: int) -> None:
        self.cpus, self.problem = cpus, Problem(arrays)
        self.variants: dict[_Named, tuple[Kernel, Variant]] = {}
        self.case: Any = None

    def prepare(
        self,
        case: Case,
        dtype: str,
        threads: int,
        named: _Named,
        backend: str,
        copies: int | None,
        verified: bool,
    ) -> int:
        if self.case != (case, dtype, threads):
            self.variants.clear()
            self.case = (case, dtype, threads)
        os.sched_setaffinity(0, self.cpus)  # threads that are made now start with all of them
        find = libraries.find if backend in libraries.BACKENDS else kernels.find
        kernel = find(*named, backend)
        variant = self.problem.prepare(case, dtype, threads, kernel, copies, verified)
        with spread(self.cpus):
            begin, runs = time.perf_counter(), 0
            while time.perf_counter() - begin < SPREAD_SECONDS:
                timed(variant, runs, 1)
                runs += 1
        self.variants[named] = kernel, variant
        return len(variant)

    def time(self, named: _Named, first: int, count: int, waken: bool) -> Region:
        """As timed(); a library's threads may sleep while they wait, so only lost CPUs are marked, not idle clocks."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        region = timed(self.variants[named][1], first, count, waken, team=False)
        return Region(region.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > before)

    def check_again(self, named: _Named, copy: int) -> None:
        self.problem.check_again(self.variants[named][0], copy)


@contextlib.contextmanager
def spread(cpus: list[int], process: int | str = "self") -> Iterator[None]:
    """Pins the threads of a process that used the most CPU time within the block to one CPU each, the others to none.

    Those of an earlier block are free meanwhile: two that stayed on one CPU would not use as much.
    """
    before = _thread_seconds(process)
    for thread in before:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, cpus)
    yield
    used = {thread: seconds - before.get(thread, 0.0) for thread, seconds in _thread_seconds(process).items()}
    busiest = sorted(used, key=lambda thread: -used[thread])
    for thread, cpu in zip(busiest, cpus, strict=False):
        os.sched_setaffinity(thread, [cpu])


def _thread_seconds(process: int | str) -> dict[int, float]:
    """CPU seconds so far of each thread of a process; from schedstat, since ticks are too coarse."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            found[int(task.name)] = int((task / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
    return found


def _serve(
    pipe: Connection,
    cpus: list[int],
    known: tuple[Sequence[int], LastLevel],
    serve: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    inherit_cpus(known[0])  # what this process was started with is one CPU, that of the thread that started it
    inherit(known[1])
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)  # the first process's affair, which may get it alone, or all of a group
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process wouldn't see the pipe close
    gc.disable()
    os.sched_setaffinity(0, cpus)  # before a library is imported: some count the CPUs then
    server = serve(*arguments)
    while True:
        try:
            request, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = getattr(server, request)(*arguments)
        except (BadInput, WrongResult) as error:
            answer = error
        except MemoryError as error:
            answer = MemoryError(str(error))
        except Exception as error:  # a library's own exceptions may not survive the pipe
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        pipe.send((answer, time.process_time()))
