"""A rank: its host's part, and the messages between it and rank 0. Every message of a rank has one answer.

No call waits without a limit, and none is collective after the start: a rank that is dead keeps nobody waiting.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import plain
from bench.fleet.session import Outcome, Said, Session
from bench.host.sysfs import ranges
from bench.quantities import plural

BEAT = 5.0  # seconds between two messages of a rank
NAP = 0.1  # between two looks; each takes some 50 us
SILENCE = 120.0  # seconds without a message, after which a rank counts as lost
PATIENCE = 600.0  # seconds without an answer, after which rank 0 does: it has folders to read before it answers
LOCK = "/tmp"  # by whose flock, as docs/fleet.md has it, sessions on one machine take turns, whoever starts them
LOCKED = Said("waits for another session, which holds the lock of /tmp", None, None)
TAG = 13


class Facts(NamedTuple):
    """Of a rank's host. kernel: the same for all that share one; bound: which of its CPUs the rank was bound to."""

    host: str
    kernel: str
    bound: str | None


ALIKE: Mapping[str, Callable[[Facts], str]] = {"kernel": lambda of: of.kernel, "host": lambda of: of.host}
"""What ranks that take turns have in common, by --turns."""


class Report(NamedTuple):
    """What a rank tells.

    folder   that its session writes to; None: it hasn't begun
    outcome  None until its session has ended
    """

    facts: Facts
    folder: str | None
    said: Said
    outcome: Outcome | None


def facts(host: str) -> Facts:
    """Without a kernel that tells its boot, all of a host's name count as under one."""
    name = plain(host)[:80] or "?"
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        kernel = name
    return Facts(name, kernel, _bound())


def _bound() -> str | None:
    """ "1 of 8 CPUs (0 of 0-7)", where whoever started this process may use more than it."""
    mine = os.sched_getaffinity(0)
    try:
        others = os.sched_getaffinity(os.getppid())
    except OSError:
        return None
    return (
        f"{len(mine)} of {plural(len(others), 'CPU')} ({ranges(mine)} of {ranges(others)})" if mine < others else None
    )


class Clock:
    """Seconds that this process saw pass: those for which it was suspended count as one."""

    def __init__(self) -> None:
        self._last, self.now = time.monotonic(), 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        self.now += min(now - self._last, 1.0)
        self._last = now
        return self.now


class Rank:
    """What a rank does on its host: at most one session. alone: not beside another on this machine."""

    def __init__(
        self, rank: int, host: str, results: Path, options: Sequence[str], limit: float, alone: bool = True
    ) -> None:
        self._rank, self._results, self._options, self._limit = rank, results, options, limit
        self._alone = alone
        self._lock: int | None = None
        self._facts, self._wanted = facts(host), False
        self._session: Session | None = None
        self._outcome: Outcome | None = None

    def report(self) -> Report:
        if self._wanted:
            self._begin()
        if self._session and not self._outcome and not self._session.running():
            self._outcome = self._session.outcome()
            self._unlock()
        folder = str(self._session.folder) if self._session else None
        said = self._session.said() if self._session else LOCKED if self._wanted else Said("", None, None)
        return Report(self._facts, folder, said, self._outcome)

    @property
    def ended(self) -> bool:
        """Whether there is an end of its session that hasn't been told yet."""
        return self._session is not None and not self._outcome and not self._session.running()

    @property
    def measuring(self) -> bool:
        return self._session is not None and not self._outcome

    def obey(self, order: str) -> None:
        if order == "go" and not self._session and not self._outcome:
            self._wanted = True
            self._begin()
        elif order == "stop":
            self.stop()

    def _begin(self) -> None:
        """Its session, once it has the lock."""
        try:
            if self._alone and self._lock is None:
                lock = os.open(LOCK, os.O_RDONLY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    return
                self._lock = lock
            self._session = Session(self._results, self._rank, self._options, self._limit)
        except OSError as error:
            reason = f"can't write {error.filename or self._results}: {error.strerror}"
            self._outcome = Outcome(plain(reason), str(self._results), None)
            self._unlock()
        self._wanted = False

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def stop(self) -> None:
        """Ends its session, which keeps what it measured; without one, none will begin."""
        if self._session and not self._outcome:
            self._session.stop("interrupted")
        elif not self._outcome:
            self._outcome, self._wanted = Outcome("interrupted before its turn", str(self._results), None), False


class Post:
    """Rank 0's side of the messages: what arrives, and answers. dead: why a rank will tell nothing more, by rank."""

    def __init__(self, mpi: Any, communicator: Any) -> None:
        self._mpi, self._communicator = mpi, communicator
        self._arriving: dict[int, Any] = {}
        self._answers: list[Any] = []
        self.dead: dict[int, str] = {}

    def arrived(self) -> Iterator[tuple[int, Report | None]]:
        """Whole messages, by rank; None for one of another version of this code, which means nothing here.

        One that stops halfway never gets here, and keeps no other back.
        """
        for source in range(1, self._communicator.size):
            try:
                if source not in self._arriving:
                    found = self._communicator.improbe(source, TAG)
                    if found is None:
                        continue
                    self._arriving[source] = found.irecv()
                done, report = self._arriving[source].test()
            except self._mpi.Exception as error:
                self.dead[source] = f"can't be reached: {plain(error)[:80]}"
                continue
            except Exception:  # of unpickling
                done, report = True, None
            if done:
                del self._arriving[source]
                yield source, report if isinstance(report, Report) else None
        self._answers = [one for one in self._answers if not self._sent(one)]

    def answer(self, source: int, order: str) -> None:
        with suppress(self._mpi.Exception):
            self._answers.append(self._communicator.isend(order, source, TAG))

    def let_go(self) -> bool:
        """Lets the other ranks come to MPI's end. False where one didn't ask for leave in time."""
        clock, left = Clock(), set[int]()
        while clock() < 2 * BEAT and len(left) + 1 < self._communicator.size:
            for source, _ in self.arrived():
                self.answer(source, "leave")
                left.add(source)
            time.sleep(NAP)
        return len(left) + 1 == int(self._communicator.size)

    def _sent(self, request: Any) -> bool:
        try:
            return bool(request.test()[0])
        except self._mpi.Exception:
            return True


def follow(mpi: Any, communicator: Any, rank: Rank) -> bool:
    """A rank other than 0, until it is let go. False where rank 0 is silent: a session comes to its end even so."""
    while True:
        order = _asked(mpi, communicator, rank.report())
        if order is None:
            while rank.measuring and not rank.ended:
                time.sleep(NAP)
            return False
        if order == "leave":
            return True
        rank.obey(order)
        woken = time.monotonic() + (0.0 if order == "go" else BEAT)  # where its session writes to, it tells at once
        while time.monotonic() < woken and not rank.ended:
            time.sleep(NAP)


def _asked(mpi: Any, communicator: Any, report: Report) -> str | None:
    """Rank 0's answer; None where it gives none."""
    clock = Clock()
    try:
        sending, answer = communicator.isend(report, 0, TAG), communicator.irecv(source=0, tag=TAG)
        while clock() < PATIENCE:
            done, order = answer.test()
            sending.test()
            if done:
                return str(order)
            time.sleep(NAP / 2)
    except mpi.Exception:
        pass
    return None
