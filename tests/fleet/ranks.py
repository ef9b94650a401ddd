"""What the tests run on MPI ranks: bench.fleet with quick beats, whose sessions are small stand-ins.

How a rank's stand-in ends is in the variable FLEET as JSON, by rank; see stand_in.py. FLEET_HOSTS: what ranks take the
names of their hosts to be.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cli import run
from bench.fleet import __main__ as command
from bench.fleet import rank, session
from bench.host.mpi import launched_rank

STAND_IN = Path(__file__).with_name("stand_in.py")


def stand_in(folder: Path, options: Sequence[str]) -> list[str]:
    how = json.loads(os.environ["FLEET"]).get(str(launched_rank()), "good")
    return [sys.executable, str(STAND_IN), str(folder), how, *options]


rank.BEAT, rank.NAP, rank.SILENCE = 0.2, 0.02, float(os.environ.get("FLEET_SILENCE", "60"))
rank.LOCK = os.getcwd()  # other tests' sessions may hold that of /tmp
session.command = stand_in
if names := os.environ.get("FLEET_HOSTS"):
    true = rank.facts
    rank.facts = lambda host: true(names.split(",")[launched_rank()])
if __name__ == "__main__":
    run(command.main)
