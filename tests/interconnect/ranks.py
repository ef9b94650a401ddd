"""What the tests run on two MPI ranks: rank 0 prints as JSON what all of them answered; "link": of one link alone."""

import json
import sys
from typing import Any

from bench.errors import BadInput
from bench.host import mpi as library
from bench.interconnect import member
from bench.interconnect.plan import KINDS, LARGEST, WINDOW, Step
from bench.measure.ranks.links import link
from bench.measure.ranks.team import Team, follow

POOL = 2 * LARGEST


class Faulty(member.Member):
    """With what goes wrong on request."""

    forged = False

    def forge(self) -> None:
        """From now on rank 1 sends one wrong value."""
        self.forged = self.rank == 1

    def _run(self, step: Step, *arguments: Any) -> None:
        if self.forged:
            send, receive = self._buffers(step)
            inside = step.operation == "allreduce_in_place"
            (receive if inside else send)[self._place(step).position * self._place(step).stride + 2] ^= 0x40
        super()._run(step, *arguments)

    def sums(self) -> list[float]:
        """What reductions left in the same buffer: its first two floats."""
        return [float(one) for one in self._same[1].view("f4")[:2]]

    def fail(self) -> None:
        if self.rank == 1:
            raise MemoryError("no room")


def _link(team: Team) -> dict[str, Any]:
    """Bytes/s of the fastest window, seconds of half the fastest round trip of a byte, and what the link is.

    Other processes make some slower; what limits the link holds for all.
    """
    window, single = Step("window", 1 << 19, False), Step("ping_pong", 1, False)
    times = {step: team.ask("time", step, 1, blocks, 1)[0].spent for step, blocks in ((window, 4), (single, 20))}
    of = link(team, team.ask("facts"), 4 << 19, "time", Step("ping_pong", 1 << 19, False), 0, 1, 4)
    rate = 1e9 * WINDOW * window.size / min(times[window])
    return {"rate": rate, "latency": min(times[single]) / 2e9, "link": of}


def main() -> None:
    try:
        mpi = library.load("interconnect")
    except BadInput as error:
        sys.exit(str(error))
    communicator = library.ranks_in_use(mpi, "interconnect")
    mine = Faulty(mpi, mpi.COMM_WORLD)
    if communicator.rank:
        follow(communicator, mine)
        return
    team = Team(communicator, mine)
    team.ask("prepare", POOL)
    if sys.argv[1:] == ["link"]:
        print(json.dumps(_link(team)))
        team.close()
        return
    found: dict[str, Any] = {"steps": [], "pool": POOL}
    for size in (4, 65536):
        for operation in KINDS:
            for rotating in (False, True):
                step = Step(operation, size, rotating)
                timed = team.ask("time", step, 1, 3, 2)
                found["steps"].append(
                    {"size": size, "timed": [one._asdict() for one in timed], "checked": team.ask("check", step)}
                )
    place = mine._place(Step("ping_pong", 65536, True))
    found |= {"slots": place.slots, "offset": mine._offset}
    inside = Step("allreduce_in_place", 8, False)
    team.ask("check", inside)  # leaves sums of rank and place
    team.ask("time", inside, 40, 4, 40)
    found["sums"] = team.ask("sums")
    team.ask("forge")
    found["forged"] = [
        {"checked": team.ask("check", Step(name, 4096, False))}
        for name in ("ping_pong", "allreduce", "allreduce_in_place")
    ]
    try:
        team.ask("fail")
    except BadInput as error:
        found["failed"] = str(error)
    team.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
