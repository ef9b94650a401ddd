"""Where a build's kernels run: `python -I server.py PLAN`, a script that knows nothing of bench.

The process makes the inputs, with NumPy alone, and for each visit forks one child per build. The children see the same
memory until they write: the same pages hold the weights of both, so that neither is faster for where its own happened
to be. Each imports `kernels` from its own tree, and answers requests, one JSON document a line.
"""

import contextlib
import ctypes
import gc
import json
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path
from typing import Any

import numpy as np

PR_SET_PDEATHSIG = 1
HUGE = 2 << 20
LINE = 64
APART = 4096 + 7 * LINE  # operands that start alike would meet in the same sets
LOST = 0.05  # a region without its CPU for a larger share is marked


def room(size: int) -> np.ndarray:
    """Bytes on 2 MiB pages, where Linux has them."""
    pages = mmap.mmap(-1, -(-size // HUGE) * HUGE + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(pages, np.uint8)
    start = -raw.ctypes.data % HUGE
    found: np.ndarray = raw[start : start + size]
    found[::4096] = 0
    return found


def array(shape: tuple[int, ...], dtype: np.dtype, number: int) -> np.ndarray:
    """One of a call's operands, at a cache line of its own: in the same place in every process."""
    start, size = APART * number, int(np.prod(shape)) * dtype.itemsize
    found: np.ndarray = room(start + size)[start:].view(dtype).reshape(shape)
    return found


def copied(path: Path, number: int) -> np.ndarray:
    """What a file holds, in an array()."""
    values = np.load(path)
    found = array(values.shape, values.dtype, number)
    found[...] = values
    return found


class Inputs:
    """What both builds read: the inputs of every case, and one block of weights that every case cuts its copies from.

    A copy starts on a cache line, and the first one is what the expected results were computed with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
        weights = np.load(folder / "weights.npy")
        bytes_ = max((case["cold_bytes"] for case in self.cases), default=0)
        self.block = np.zeros(0, weights.dtype)
        if bytes_:
            self.block = room(bytes_ + weights.nbytes).view(weights.dtype)
            for start in range(0, self.block.size, weights.size):
                part = self.block[start : start + weights.size]
                part[...] = weights[: part.size]
        self.hot = [
            {
                name: copied(folder / f"{i}-{name}.npy", number)
                for number, name in enumerate(case["operands"], 1)
                if name != case["weights"]
            }
            for i, case in enumerate(self.cases)
        ]

    def copies(self, case: dict[str, Any]) -> list[np.ndarray]:
        """Views of the block, as many as it takes to be cold."""
        shape = case["weights_shape"]
        size = int(np.prod(shape))
        stride = -(-size * self.block.itemsize // LINE) * LINE // self.block.itemsize
        count = max(1, -(-case["cold_bytes"] // (stride * self.block.itemsize)))
        return [self.block[i * stride : i * stride + size].reshape(shape) for i in range(count)]


class Server:
    """One build. Every public method is a request."""

    def __init__(self, tree: str, inputs: Inputs) -> None:
        import kernels  # of this tree

        self.kernels: Any = kernels
        self.inputs = inputs
        self.calls: list[Callable[[], Any]] = []
        self.case: dict[str, Any] = {}
        self.alone = True
        self.first: np.ndarray = np.empty(0)
        self.out: np.ndarray = np.empty(0)
        self.expected: tuple[Any, Any] = (None, None)

    def hello(self) -> dict[str, Any]:
        from kernels import _native

        return {"pid": os.getpid(), "kernels": self.kernels.__file__, "module": _native.__file__}

    def prepare(self, case: int, backend: str, threads: int) -> dict[str, Any]:
        """Binds a kernel to every copy of the weights, calls it once and checks the result.

        {"kernel", "isa", "copies"}, or {"missing": why} where this build has no such kernel.
        """
        self.calls, self.case, hot = [], self.inputs.cases[case], self.inputs.hot[case]
        self.alone = threads == 1
        self.kernels.set_threads(threads)
        try:
            kernel = self.kernels.find(self.case["operation"], self.case["dtype"], backend)
        except KeyError:
            return {"missing": "no such kernel"}
        except self.kernels.UnavailableISA as error:
            return {"missing": str(error)}
        if threads > getattr(kernel, "most_threads", threads):  # older builds have none
            return {"missing": f"{kernel.name}: threads: {kernel.most_threads} at most"}
        prefix = self.inputs.folder / f"{case}-"
        self.expected = tuple(np.load(f"{prefix}{what}.npy", mmap_mode="r") for what in ("expected", "bound"))
        names, weights = self.case["operands"], self.case["weights"]
        self.out = array(self.expected[0].shape, self.inputs.block.dtype, 0)
        copies = self.inputs.copies(self.case) if weights else [None]
        if self.case["packed"]:
            copies = [kernel.pack(copy, threads) for copy in copies]
        if self.case["in_place"]:
            self.first, hot = hot[names[0]], {**hot, names[0]: self.out}
        for copy in copies:
            given = [copy if name == weights else hot[name] for name in names]
            self.calls.append(kernel.bind(*given, out=self.out, threads=threads))
        self.check()
        return {"kernel": kernel.name, "isa": kernel.isa, "copies": len(self.calls)}

    def check(self) -> None:
        """Calls the kernel on the first copy. Raises ArithmeticError where the result isn't what is expected."""
        if self.case["in_place"]:
            self.out[...] = self.first
        else:
            self.out[...] = np.nan
        self.calls[0]()
        expected, bound = self.expected
        wrong = ~(np.abs(self.out.astype(np.float64) - expected) <= bound)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ArithmeticError(
                f"{int(wrong.sum())} of {wrong.size} elements are wrong, the first at {list(where)}: "
                f"{self.out[where]} instead of {expected[where]}"
            )

    def warm(self, seconds: float, first: int) -> tuple[float, int]:
        """Calls for so long, and at least twice: (seconds of the fastest call, number of calls)."""
        begin, best, runs = time.perf_counter(), float("inf"), 0
        while runs < 2 or time.perf_counter() - begin < seconds:
            best = min(best, self.time(first + runs, 1, False)[0])
            runs += 1
        return best, runs

    def time(self, first: int, count: int, waken: bool) -> tuple[float, bool]:
        """(seconds of `count` calls, whether a thread lost its CPU meanwhile), walking on through the copies.

        One thread's seconds are those of its CPU clock, which stands still while others have the CPU.
        waken: after one more call, untimed, which brings code and hot data back into the caches.
        """
        region = [self.calls[(first + i) % len(self.calls)] for i in range(-waken, count)]
        if waken:
            region.pop(0)()
        switches, used = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, time.thread_time()
        start = time.perf_counter()
        for call in region:
            call()
        seconds = time.perf_counter() - start
        used = time.thread_time() - used
        lost = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > switches
        return used if self.alone else seconds, lost or used < (1 - LOST) * seconds


def serve(pipe: socket.socket, tree: str, inputs: Inputs) -> None:
    """Answers requests until the other end is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process wouldn't see the pipe close
    sys.meta_path[:] = BuiltinImporter, FrozenImporter, PathFinder  # an editable install would bring its own kernels
    sys.path.insert(0, tree)
    gc.disable()
    with pipe.makefile("rw") as lines:
        server: Server | None = None
        for line in lines:
            name, arguments = json.loads(line)
            try:
                server = server or Server(tree, inputs)
                answer = {"value": getattr(server, name)(*arguments)}
            except ArithmeticError as error:
                answer = {"wrong": str(error)}
            except (Exception, SystemExit) as error:  # a tree may raise whatever it likes
                answer = {"error": f"{type(error).__name__}: {error}"}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def main() -> None:
    plan = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the first process's affair, also where all of a job get it
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, plan["cpus"])
    inputs = Inputs(Path(plan["folder"]))
    visits = [[socket.socket(fileno=number) for number in pair] for pair in plan["pipes"]]
    for pair, line in zip(visits, sys.stdin, strict=False):
        for which in json.loads(line):
            if os.fork() == 0:
                for pipe in (pipe for others in visits for pipe in others if pipe is not pair[which]):
                    pipe.close()
                serve(pair[which], plan["trees"][which], inputs)
                os._exit(0)
        for pipe in pair:
            pipe.close()
        for _ in pair:
            os.wait()


if __name__ == "__main__":
    main()
