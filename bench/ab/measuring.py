"""The measuring of bench.ab: visits of all cases in another order each, and in a visit rounds of A B B A, B A A B.

A visit has processes of its own. What is the same for all rounds of a visit, such as which physical pages a process
got, is drawn anew for the next, so the spread over visits has it.
"""

import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.ab import cases as inputs
from bench.ab import server
from bench.ab.builds import Build
from bench.errors import BadInput
from bench.host.cpus import cpus_for
from bench.measure.process import spread
from bench.measure.timing import REGION_SECONDS, WAKEN_SECONDS
from bench.workloads.shapes import Case

WARM_SECONDS = 0.02
LEAST_ROUNDS = 3
PATIENCE = 3  # times the seconds asked for, where others have the CPUs for most of the time
TRIES = 4  # of a region of several threads, where one that lost its CPU holds up all
ORDERS = ((0, 1, 1, 0), (1, 0, 0, 1))
Progress = Callable[[str, float], None]
"""Told what is measured now, and the share that is done."""


@dataclass
class Visit:
    """Rounds of one row: seconds per call of A and B, each the mean of two regions; marked: a thread lost its CPU."""

    seconds: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    marked: list[bool] = field(default_factory=list)

    @property
    def good(self) -> list[int]:
        """The rounds that count: those that aren't marked, where they are more than half."""
        good = [i for i, marked in enumerate(self.marked) if not marked]
        return good if 2 * len(good) > len(self.marked) else list(range(len(self.marked)))


@dataclass
class Row:
    """One kernel on one shape. missing: by build, why it has none."""

    case: Case
    backend: str
    visits: list[Visit] = field(default_factory=list)
    missing: dict[int, str] = field(default_factory=dict)


class Child:
    """One build's process, as the measuring one sees it."""

    def __init__(self, build: Build, letter: str, pipe: socket.socket, log: Path, stop: bool) -> None:
        self.build, self.letter, self.log, self.stop, self.pid = build, letter, log, stop, 0
        self._lines = pipe.makefile("rw")
        told = self.ask("hello")
        self.pid = told["pid"]
        for part in ("kernels", "module"):
            if build.tree not in Path(told[part]).resolve().parents:
                raise BadInput(f"{letter}, {build.given}: its kernels came from {told[part]}")

    def close(self) -> None:
        """Ends the process, if it is there still."""
        with suppress(OSError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            self._lines.close()

    def ask(self, request: str, *arguments: Any) -> Any:
        """Raises BadInput, naming the build, for a wrong result, what the tree raised, and a process that is gone."""
        try:
            if self.stop and self.pid:
                os.kill(self.pid, signal.SIGCONT)
            self._lines.write(json.dumps([request, arguments]) + "\n")
            self._lines.flush()
            line = self._lines.readline()
            if self.stop and self.pid:
                os.kill(self.pid, signal.SIGSTOP)
        except OSError:
            line = ""
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "value" not in answer:
            raise BadInput(f"{self.letter}, {self.build.given}: {answer.get('wrong') or answer['error']}")
        return answer["value"]

    def _last_words(self) -> str:
        return ": ".join(
            ["its process is gone", *self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]]
        )


class Processes:
    """The process that holds the inputs, and for each visit a child of it per build."""

    def __init__(self, builds: Sequence[Build], folder: Path, threads: int, visits: int) -> None:
        self.builds, self.cpus, self.threads, self._log = builds, cpus_for(threads), threads, folder / "stderr"
        pipes = [[socket.socketpair() for _ in builds] for _ in range(visits)]
        self._pipes = iter([[ours for ours, _ in pair] for pair in pipes])
        theirs = [[their for _, their in pair] for pair in pipes]
        numbers = [[pipe.fileno() for pipe in pair] for pair in theirs]
        trees = [str(build.tree) for build in builds]
        plan = {"folder": str(folder), "cpus": self.cpus, "trees": trees, "pipes": numbers}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", server.__file__, json.dumps(plan)],
                pass_fds=[number for pair in numbers for number in pair],
                start_new_session=True,  # Ctrl-C is this process's affair
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # no pool but the kernels'
            )
        for pipe in (pipe for pair in theirs for pipe in pair):
            pipe.close()

    def close(self) -> None:
        """Ends all of them, whatever they are doing."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    @contextmanager
    def visit(self, first: int) -> Iterator["Pair"]:
        """Both children, `first` made first, for the next visit."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps([first, 1 - first]).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise BadInput("the process that holds the inputs is gone") from error
        stop = self.threads > 1
        children: list[Child] = []
        with ExitStack() as stack:
            for build, letter, pipe in zip(self.builds, "AB", next(self._pipes), strict=True):
                children.append(Child(build, letter, pipe, self._log, stop))
                stack.callback(children[-1].close)
            yield Pair(children, self.cpus)


@dataclass
class Pair:
    """Both builds' processes, ready for any row."""

    children: Sequence[Child]
    cpus: list[int]

    def measure(self, number: int, row: Row, seconds: float, lead: int) -> None:
        """Adds a visit to the row: rounds for so long, each led by another build than the one before."""
        for i, child in enumerate(self.children):
            try:
                told = child.ask("prepare", number, row.backend, len(self.cpus))
            except BadInput as error:
                raise BadInput(f"{inputs.label(row.case)} {row.backend}: {error}") from error
            if "missing" in told:
                row.missing[i] = told["missing"]
        if row.missing:
            return
        visit, position, once = Visit(), 0, []
        for child in self.children:
            with spread(self.cpus, child.pid):
                best, runs = child.ask("warm", WARM_SECONDS, position)
            once.append(best)
            position += runs
        count = math.ceil(REGION_SECONDS / min(once))
        waken = count * min(once) < WAKEN_SECONDS
        begin, measured = time.perf_counter(), 0.0
        while len(visit.marked) < LEAST_ROUNDS or (
            measured < seconds and time.perf_counter() - begin < PATIENCE * seconds
        ):
            spent, marked = [0.0, 0.0], False
            for which in ORDERS[(lead + len(visit.marked)) % 2]:
                for _ in range(1 if len(self.cpus) == 1 else TRIES):
                    took, lost = self.children[which].ask("time", position, count, waken)
                    position += count + waken
                    if not lost:
                        break
                measured += took
                spent[which] += took / (2 * count)
                marked |= lost
            for which in range(2):
                visit.seconds[which].append(spent[which])
            visit.marked.append(marked)
        for child in self.children:
            child.ask("check")
        row.visits.append(visit)


def measure(
    builds: Sequence[Build],
    rows: Sequence[Row],
    dtype: str,
    threads: int,
    visits: int,
    seconds: float,
    progress: Progress,
) -> None:
    """Adds visits to the rows, about `seconds` of measuring to each row in all. Raises BadInput for a wrong result."""
    chosen = list(dict.fromkeys(row.case for row in rows))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ridgeline-ab-")))
        inputs.write(folder, chosen, dtype)
        processes = Processes(builds, folder, threads, visits)
        stack.callback(processes.close)
        done = 0
        for v in range(visits):
            order = random.Random(v).sample(list(rows), len(rows))
            with processes.visit(v % 2) as pair:
                for row in order:
                    progress(
                        f"visit {v + 1} of {visits}: {inputs.label(row.case)} {row.backend}", done / visits / len(rows)
                    )
                    if not row.missing:
                        pair.measure(chosen.index(row.case), row, seconds / visits, v % 2)
                    done += 1
