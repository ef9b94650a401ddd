"""What the tests run on two MPI ranks: rank 0 prints as JSON what all of them answered.

With arguments it is the command with them, in a session that is as short as can be.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from bench.cli import run
from bench.errors import BadInput
from bench.host import mpi as library
from bench.host.placement import pinned
from bench.measure.probes import peak_probe, walking
from bench.measure.ranks.team import Team, follow
from bench.measure.session import Session
from bench.parallel import __main__ as command
from bench.parallel import measuring
from bench.parallel.measuring import dealt
from bench.parallel.member import Member, Way
from bench.workloads.model import Model

MODELS = (
    Model("tiny GPT-2", 1, 48, 6, 192, 10, 32, decoder=True, fused_qkv=True, conv1d=True),
    Model("tiny BERT", 1, 48, 6, 96, 10, 32, segments=2),
)
LENGTH, LAYERS = 9, 2
OPERATIONS = ("layer_share", "layer_shares", "layer_sums", "layer_split")


class Faulty(Member):
    """With what goes wrong on request."""

    forged = False
    ran_on: Sequence[int] = ()

    def where(self) -> Sequence[int]:
        """The CPUs that the last sums ran on."""
        return self.ran_on

    def forge(self) -> None:
        """From now on rank 1 adds nothing to the sums."""
        self.forged = self.rank == 1

    def _sum(self, shards: Any) -> Any:
        summed = super()._sum(shards)

        def call() -> None:
            self.ran_on = sorted(os.sched_getaffinity(0))
            if self.forged:
                shards.summed[...] = 0
            summed()

        return call


def start(session: Session) -> None:
    """Two roofs, of little memory."""
    (threads,) = session.threads
    with pinned(threads):
        session.add_roofs(threads, [walking("read", 1 << 24, threads), peak_probe(threads, "f32", session.isa)])


def short() -> None:
    """From now on sessions last a second, and weights aren't cold."""
    measuring.VISITS, measuring.ROUNDS, measuring.REGION = 2, 2, 5e-4
    measuring.SIZES = (4, 64, 1024, 16384)
    measuring.dram_bytes = lambda arrays: (1 << 18, True)
    Session.start = start  # type: ignore[method-assign, assignment]


def main() -> None:
    if sys.argv[1:]:
        short()
        run(lambda _: command.main(sys.argv[1:]))
    try:
        mpi = library.load("parallel")
    except BadInput as error:
        sys.exit(str(error))
    communicator = library.ranks_in_use(mpi, "parallel")
    mine = Faulty(mpi, mpi.COMM_WORLD)
    if communicator.rank:
        follow(communicator, mine)
        return
    team = Team(communicator, mine)
    cpus = dealt(team.ask("facts"))
    team.ask("bind", cpus)
    found: dict[str, Any] = {"dealt": cpus, "ways": [], "checks": [], "forged": []}
    for model in MODELS:
        team.ask("prepare", model, LENGTH, [1, 2, 3], LAYERS)
        for phase in model.phases:
            for way in (Way(phase, "layer_share", 1), Way(phase, "layer_share", 3)):
                found["ways"].append([one.spent for one in team.ask("time", way, 5)])
            for operation in OPERATIONS[1:]:
                found["ways"].append([one.spent for one in team.ask("time", Way(phase, operation, 2), 5)])
            for part in range(2 * LAYERS):
                found["checks"].append(team.ask("check", Way(phase, "layer_split", 2), part))
            found["checks"].append(team.ask("check", Way(phase, "layer_share", 1), 1))
            team.ask("touch", phase)
    found["ping"] = [one.spent for one in team.ask("ping", 4096, 20, 2)]
    found["where"] = team.ask("where")
    found["cores"] = [one.cores for one in team.ask("facts")]
    team.ask("forge")
    for model in MODELS:
        team.ask("prepare", model, LENGTH, [1, 2], LAYERS)
        found["forged"] += [team.ask("check", Way(phase, "layer_split", 2), 0) for phase in model.phases]
    team.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
