"""What lies between two ranks, from the bytes that network interfaces count while a known number is sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.measure.ranks.team import Facts, Team
from bench.record.format import Interconnect, Link

MOST = 0.5  # of the bytes, that an interface has counted if it is the one


def between(team: Team, facts: Sequence[Facts], library: str, sent: int, task: str, *arguments: Any) -> Interconnect:
    """What a record has of the ranks; the pair are the first and the last. library: MPI's name.

    sent  bytes that rank 0 sends to the last one when the team is asked for this task
    """
    boots = list(dict.fromkeys(one.boot for one in facts))
    return {
        "library": library,
        "ranks": [{"node": boots.index(one.boot), "machine": one.machine, "cpus": one.cpus} for one in facts],
        "pair": [0, len(facts) - 1],
        "link": link(team, facts, sent, task, *arguments),
        "bytes_checked": 0,
    }


def link(team: Team, facts: Sequence[Facts], sent: int, task: str, *arguments: Any) -> Link:
    """Of the pair, as between()."""
    before = team.ask("counters")[0]
    team.ask(task, *arguments)
    after = team.ask("counters")[0]
    counted = {name: after[name] - before.get(name, 0) for name in after}
    name = max(counted, key=lambda one: counted[one], default="")
    device, speed = team.ask("interface", name)[0]
    return judged(counted, sent, facts[0].boot == facts[-1].boot, device, speed)


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
