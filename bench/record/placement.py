"""Where the threads of a session ran: which CPUs share a core or an L3."""

from collections.abc import Mapping
from typing import Any, Literal

Found = Literal["one core", "one L3", "apart", "unknown"]

ONE_CORE = 0.75  # of the sum of each alone: two threads of one core reach half, or a little more, two cores all of it
ONE_L3 = 0.75
NEAR, CLOSE = 40e-9, 120e-9  # s of a round trip within one core, within one L3: where nothing else could be measured


def judged(pair: Mapping[str, Any]) -> Found:
    """What two CPUs share, by arithmetic, then by reads of L3; by distance only where those are missing."""
    fma, read, seconds = pair["fma_together"], pair["read_together"], pair["seconds"]
    if fma is not None and fma < ONE_CORE:
        return "one core"
    if fma is not None and read is not None:
        return "one L3" if read < ONE_L3 else "apart"
    if seconds is None:
        return "unknown"
    return "one core" if fma is None and seconds < NEAR else "one L3" if seconds < CLOSE else "apart"


def placement(session: Mapping[str, Any], threads: int) -> str:
    """In words, what the CPUs of so many threads share, by the closest pair; "then" where it changed in the session."""
    if threads == 1:
        return "one CPU"
    cpus = set(session["cpus"].get(str(threads), ()))
    words: list[str] = []
    for round_ in sorted({pair["round"] for pair in session["placements"]}):
        here = {p["found"] for p in session["placements"] if p["round"] == round_ and cpus.issuperset(p["cpus"])}
        closest = next((word for word in ("one core", "one L3", "apart") if word in here), "unknown")
        if not words or words[-1] != closest:
            words.append(closest)
    return ", then ".join(words) or "unknown"
