"""Where the threads of a session ran: which CPUs share a core or an L3."""

from collections.abc import Mapping
from typing import Any, Literal

Found = Literal["one core", "one L3", "apart", "unknown"]

ONE_CORE = (0.65, 0.80)  # of the sum of each alone: two threads of one core reach half, two cores all of it
ONE_L3 = (0.70, 0.90)  # reads of data that fit into two L3s and not into one: 0.44 to 0.82, or 0.83 to 0.92
NEAR, CLOSE = 80e-9, 120e-9  # s of a round trip within one core, within one L3: 65, 85 to 110, apart 410 to 470


def judged(pair: Mapping[str, Any]) -> Found:
    """What two CPUs share: by multiply-adds, then by reads of L3; by distance where those leave it open or are missing.

    ONE_CORE, ONE_L3: shared below the first, not shared above the second.
    """
    fma, read, seconds = pair["fma_together"], pair["read_together"], pair["seconds"]
    if fma is None and seconds is None:
        return "unknown"
    if _shared(fma, ONE_CORE, seconds, NEAR):
        return "one core"
    return "one L3" if _shared(read, ONE_L3, seconds, CLOSE) else "apart"


def _shared(together: float | None, limits: tuple[float, float], seconds: float | None, near: float) -> bool:
    if together is not None and not limits[0] <= together <= limits[1]:
        return together < limits[0]
    return seconds is not None and seconds < near


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
