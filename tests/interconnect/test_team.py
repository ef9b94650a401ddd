"""Rank 0 and signals, which must not put ranks out of step."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from bench.cli import endings
from bench.measure.ranks.team import Host, Team


class Alone:
    """A communicator of one rank, that a signal meets while it gathers: a thread of MPI's library takes it."""

    def __init__(self) -> None:
        self.gathered = 0

    def Ibarrier(self) -> "Alone":
        return self

    def Wait(self) -> None:
        pass

    def bcast(self, what: Any) -> Any:
        return what

    def gather(self, answer: Any) -> list[Any]:
        other = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM))
        other.start()
        other.join()
        for _ in range(20):
            time.sleep(0.001)  # Python runs handlers between these
        self.gathered += 1
        return [answer]


def test_a_signal_waits_until_all_have_answered() -> None:
    communicator = Alone()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with endings(signal.default_int_handler):
            team = Team(communicator, Host())
            with pytest.raises(KeyboardInterrupt):
                team.ask("facts")
            assert communicator.gathered == 1
    finally:
        signal.signal(signal.SIGTERM, before)
