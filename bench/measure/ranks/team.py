"""Rank 0 asks the others, all do the same, and while they wait they sleep; what a rank knows of its host."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from bench.cli import ENDINGS, endings
from bench.errors import BadInput
from bench.host import mpi as library
from bench.host.facts import machine_id
from bench.host.sysfs import one_cpu_per_core

T = TypeVar("T")
ASLEEP = 1e-3  # seconds between two looks of a rank that waits


class Facts(NamedTuple):
    """Of a rank's host, and the CPUs that it may use.

    boot   the same for all that share a kernel
    cores  the first of these CPUs of each core
    """

    boot: str
    machine: str
    cpus: list[int]
    cores: list[int]


def threads_of(facts: Sequence[Facts]) -> int:
    """Cores of rank 0: those that it may use, shared among the ranks that may use the same."""
    mine = facts[0]
    sharing = sum(one.boot == mine.boot and bool({*one.cpus} & {*mine.cpus}) for one in facts)
    return max(1, len(mine.cores) // sharing)


class Timed(NamedTuple):
    """When each block of calls ended and how long its calls took, in ns; the CPU seconds the rank has used."""

    ended: list[int]
    spent: list[int]
    cpu_seconds: float


class Host:
    """What rank 0 can ask of any rank; a command adds its own."""

    def facts(self) -> Facts:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return Facts(boot, machine_id(), sorted(os.sched_getaffinity(0)), one_cpu_per_core())

    def counters(self) -> dict[str, int]:
        """Bytes that each network interface has sent, by Linux's count."""
        return {name: one.bytes_sent for name, one in psutil.net_io_counters(pernic=True).items()}

    def interface(self, name: str) -> tuple[bool, float | None]:
        """Whether there is a device behind an interface, and the bit/s that it claims."""
        known = psutil.net_if_stats().get(name)
        return Path(f"/sys/class/net/{name}/device").exists(), known.speed * 1e6 if known and known.speed else None


class Team:
    """All ranks, as rank 0 sees them: it asks them, and itself.

    neighbours   the other ranks of its host
    cpu_seconds  that these have used so far
    """

    def __init__(self, communicator: Any, member: Host) -> None:
        self._communicator, self._member, self._there = communicator, member, True
        self.cpu_seconds, self.neighbours = 0.0, set[int]()
        self._spent: dict[int, float] = {}

    def ask(self, task: str, *arguments: Any) -> list[Any]:
        """What each rank answers, by rank. Signals wait until all have: ranks stay in step.

        They aren't blocked, for that is a thread's own: one of MPI's would take them, and Python handle them here.

        Raises BadInput where one can't do it.
        """
        caught: list[int] = []
        with endings(lambda number, frame: caught.append(number)):
            self._communicator.Ibarrier().Wait()
            self._communicator.bcast((task, arguments))
            found: list[Any] = self._communicator.gather(_done(self._member, task, arguments))
        if caught:
            signal.raise_signal(caught[0])
        for rank, answer in enumerate(found):
            if isinstance(answer, Exception):
                raise BadInput(f"rank {rank}: {type(answer).__name__}: {answer}") from answer
            if isinstance(answer, Timed) and rank in self.neighbours:
                self._spent[rank] = answer.cpu_seconds
        self.cpu_seconds = sum(self._spent.values())
        return found

    def close(self) -> None:
        """Lets the others go."""
        if self._there:
            self._there = False
            with endings(lambda number, frame: None):
                self._communicator.Ibarrier().Wait()
                self._communicator.bcast(None)


def led(command: str, member_of: Callable[[Any, Any], Host], lead: Callable[[Team, str], T]) -> T | None:
    """What lead() makes of the team and of MPI's name, on rank 0; None on the others, once it is over.

    member_of  makes a rank's Host of mpi4py.MPI and its COMM_WORLD

    Raises BadInput where MPI isn't there.
    """
    mpi = library.load(command)
    communicator = library.ranks_in_use(mpi, command)
    member = member_of(mpi, mpi.COMM_WORLD)
    if communicator.rank:
        follow(communicator, member)
        return None
    team = Team(communicator, member)
    try:
        return lead(team, library.name(mpi))
    finally:
        team.close()


def follow(communicator: Any, member: Host) -> None:
    """A rank other than 0: does what it is asked until there is nothing more. Signals are rank 0's affair.

    It sleeps while it waits, so that rank 0 can measure its roofs on a host that is at rest.
    """
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        waiting = communicator.Ibarrier()
        while not waiting.Test():
            time.sleep(ASLEEP)
        asked = communicator.bcast(None)
        if asked is None:
            return
        communicator.gather(_done(member, *asked))


def _done(member: Host, task: str, arguments: Sequence[Any]) -> Any:
    """What the member answers; its exception, where it can't."""
    try:
        return getattr(member, task)(*arguments)
    except (BadInput, MemoryError, OSError) as error:
        return error
