"""What lies between two ranks, from the bytes that network interfaces count while a known number is sent."""

from collections.abc import Mapping, Sequence

from bench.interconnect.member import Facts, Team
from bench.interconnect.plan import Step
from bench.record.format import Link

MOST = 0.5  # of the bytes, that an interface has counted if it is the one


def link(team: Team, facts: Sequence[Facts], step: Step, calls: int) -> Link:
    """Of the pair, by `calls` round trips of a step."""
    before = team.ask("counters")[0]
    team.ask("time", step, 0, 1, calls)
    after = team.ask("counters")[0]
    counted = {name: after[name] - before.get(name, 0) for name in after}
    name = max(counted, key=lambda one: counted[one], default="")
    device, speed = team.ask("interface", name)[0]
    return judged(counted, step.size * calls, facts[0].boot == facts[-1].boot, device, speed)


def judged(counted: Mapping[str, int], sent: int, one_host: bool, device: bool, speed: float | None) -> Link:
    """What it is.

    counted   bytes by interface that rank 0's host has sent meanwhile
    sent      bytes of messages that rank 0 sent
    one_host  whether both ranks are under one kernel; device, speed: of the interface that counted most

    Without a count, ranks of one kernel share memory. Between hosts a fabric may pass the kernel by.
    """
    name = max(counted, key=lambda one: counted[one], default=None)
    share = counted[name] / sent if name else 0.0
    if name is None or share < MOST:
        return {"kind": "shared memory" if one_host else "unknown", "interface": None, "share": None, "speed": None}
    if name == "lo":
        return {"kind": "loopback", "interface": name, "share": share, "speed": None}
    return {"kind": "network" if device else "virtual network", "interface": name, "share": share, "speed": speed}
