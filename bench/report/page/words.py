"""The page's first answer: which machine hits the wall where, why they differ, and what can't be compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.comparison.session import Session
from bench.quantities import digits, plural, spanned
from bench.report.classes import DECODE, MANY, Class, classes, members
from bench.report.page.columns import Machine, Report
from bench.report.sides import counted
from bench.report.text import of_threads

NEAR = 1.05  # times: ridges nearer than this aren't told apart in words


class Wall(NamedTuple):
    """A machine's roofs on most of its threads: FLOP/s, bytes/s, FLOP/byte with its interval.

    told  whether two visits or more measured them; else the interval is the ridge itself
    """

    machine: Machine
    role: str
    threads: int
    peak: float
    read: float
    ridge: float
    low: float
    high: float
    told: bool


def walls(machines: Sequence[Machine]) -> list[Wall]:
    """Of those that have a ridge, each with the role that all have, "all" before "one"."""
    known = {machine.letter: _roofs(machine) for machine in machines}
    shared = set.intersection(*(set(roofs) for roofs in known.values() if roofs)) if any(known.values()) else set()
    found = []
    for machine in machines:
        mine = known[machine.letter]
        role = next((role for role in ("all", "one", *mine) if role in mine and (role in shared or not shared)), None)
        if role is not None:
            roof = mine[role]
            threads = next(t for t in machine.metrics.roofs if machine.role_of(t) == role)
            told = role not in machine.session.once
            low, high = (roof[name if told else "ridge"] for name in ("ridge_low", "ridge_high"))
            found.append(Wall(machine, role, threads, roof["peak"], roof["read"], roof["ridge"], low, high, told))
    return found


def _roofs(machine: Machine) -> Mapping[str, Mapping[str, float]]:
    of: Session = machine.side.sessions[0]
    return {role: roof for role, roof in of.roofs.items() if "ridge" in roof}


def answer(of: Report) -> list[str]:
    """Where the walls are, and why they differ."""
    found = walls(of.machines)
    if not found:
        return []
    if len(found) == 1:
        one = found[0]
        return [
            f"{one.machine.letter} hits the memory wall at {_span(one)} FLOP/byte, its ridge, on "
            f"{of_threads(one.threads)}: it multiplies at {digits(one.peak / 1e9)} GFLOP/s and reads memory at "
            f"{digits(one.read / 1e9)} GB/s. A kernel with fewer FLOPs for each byte waits for memory."
        ]
    said = [_highest(found)]
    a = found[0]
    for other in found[1:]:
        said.append(_why(a, other))
    return said


def _highest(found: Sequence[Wall]) -> str:
    told = [wall for wall in found if wall.told]
    spans = ", ".join(f"{w.machine.letter} {_span(w)}" for w in found)
    once = ", ".join(w.machine.letter for w in found if not w.told)
    if len(told) < 2:
        return f"Where the wall stands highest can't be told, for of {once} one visit measured the roofs: {spans}."
    first, last = min(told, key=lambda w: w.ridge), max(told, key=lambda w: w.ridge)
    beside = f" Of {once} one visit measured the roofs: where the wall stands there can't be told." if once else ""
    if last.ridge > NEAR * first.ridge and last.low > first.high:
        return (
            f"The wall stands highest on {last.machine.letter}: a kernel there waits for memory until it does "
            f"{_span(last)} FLOPs with each byte, on {first.machine.letter} {_span(first)} are enough.{beside}"
        )
    where = "all of them" if not once else "the others"
    return f"The wall stands at about the same place on {where}, in FLOP/byte: {spans}.{beside}"


def follows(of: Report) -> list[str]:
    """All sentences but the first, which is the answer's head."""
    return [*answer(of)[1:], *kernels(of), *verdicts(of)]


def _span(of: Wall) -> str:
    return spanned(of.ridge, of.low, of.high)


def _why(a: Wall, b: Wall) -> str:
    """Which of the two roofs moves the ridge."""
    peak, read, ridge = b.peak / a.peak, b.read / a.read, b.ridge / a.ridge
    name = f"{b.machine.letter} against {a.machine.letter}"
    parts = f"{digits(peak)} times the peak, {digits(read)} times the memory bandwidth"
    if not (a.told and b.told) or (b.low <= a.high and a.low <= b.high):
        return f"{name}: {parts}; the ridges can't be told apart."
    more = "sooner" if ridge < 1 else "later"
    cause = "arithmetic differs more than memory" if abs_log(peak) > abs_log(read) else "memory differs more"
    return f"{name}: {parts}, so arithmetic becomes the limit {more}, at {digits(ridge)} times the ridge; {cause}."


def abs_log(ratio: float) -> float:
    """How far from 1, whichever side."""
    return max(ratio, 1 / ratio)


def kernels(of: Report) -> Iterator[str]:
    """How near to their roofs kernels come: of every machine the best contestant of a class, on most threads."""
    known = {machine.letter: classes(members(machine.metrics)) for machine in of.machines}
    for class_, phase in ((DECODE, "one token at a time (m = 1, cold weights)"), (MANY, "16 rows and more")):
        said = [f"{m.letter} {best}" for m in of.machines if (best := _best(known[m.letter], class_))]
        if said:
            yield f"Of what its roof allows, {phase} reach: {', '.join(said)}."


def _best(known: Sequence[Class], class_: str) -> str | None:
    found = [one for one in known if one.name == class_ and one.types == "f32"]
    if not found:
        return None
    of = max(found, key=lambda one: one.rows[0].row["threads"])
    shares = {name: share for name in of.contestants if (share := of.percent(name))}
    if not shares:
        return None
    name = max(shares, key=lambda one: shares[one].value)
    return f"{shares[name].value:.0f} % ({name})"


def verdicts(of: Report) -> list[str]:
    """ "B against A: of 17 families 10 faster, 7 same"."""
    return [f"{counted(page)}." for page in of.pages if page.families]


# --- what can't be compared


def incomparable(of: Report) -> list[str]:
    """What keeps figures of these records from being laid side by side, or from being relied on."""
    said = [*_threads(of.machines), *_made(of.machines)]
    said += _of_some(of.machines)
    for page in of.pages:
        a, b = page.a.letter, page.b.letter
        if not page.rows:
            said.append(f"{b} and {a} share no kernel row: only their roofs can be compared.")
        elif page.only_a or page.only_b:
            counts = f"of kernels {plural(len(page.rows), 'row')} can be compared; {len(page.only_a)} are only in {a}"
            said.append(f"{b} and {a}: {counts}, {len(page.only_b)} only in {b}.")
    return said


def _threads(machines: Sequence[Machine]) -> Iterator[str]:
    counts = {m.letter: m.side.sessions[0].cores for m in machines}
    if len(set(counts.values())) > 1:
        known = ", ".join(f"{letter} {cores or 'unknown'}" for letter, cores in counts.items())
        yield f'Core counts differ ({known}): "all" compares whole machines, "one" compares cores.'
    none = [m.letter for m in machines if "all" not in {m.role_of(t) for t in m.metrics.roofs}]
    if none and len(none) < len(machines):
        yield f"{', '.join(none)} measured nothing on all cores: there only one thread can be compared."


def _made(machines: Sequence[Machine]) -> Iterator[str]:
    commits = {m.record["machine"].get("commit") or "unknown" for m in machines}
    compilers = {str(m.record["machine"]["build"].get("compiler") or "unknown") for m in machines}
    what = [name for name, of in (("commits", commits), ("compilers", compilers)) if len(of) > 1]
    if what:
        yield f"They were built from different {' and by different '.join(what)}: kernels differ, not machines alone."
    commands = {m.record["command"] for m in machines}
    if len(commands) > 1:
        yield f"Different commands made them ({', '.join(sorted(commands))}): not all measured the same things."


def _of_some(machines: Sequence[Machine]) -> Iterator[str]:
    """What holds for some of them, each thing once."""
    said: dict[str, list[str]] = {}
    for machine in machines:
        for line in _of_one(machine):
            said.setdefault(line, []).append(machine.letter)
    yield from (f"{', '.join(letters)}: {line}." for line, letters in said.items())


def _of_one(machine: Machine) -> Iterator[str]:
    record, trust = machine.record, machine.metrics.trust
    if record["session"]["forced"]:
        yield f"forced to {record['session']['isa']}, which need not be the fastest ISA of this CPU"
    if not record["complete"]:
        yield "cut short, with the rows that were finished"
    if trust["grade"] in (None, "D"):
        yield f"not to be relied on, trust is {trust['grade'] or 'without a grade'}: {trust['reasons'][0]}"
    if not machine.metrics.roofs:
        yield "without roofs: rows can't be laid beside their ceilings"
    yield from machine.metrics.stand_ins
    if record["machine"].get("virtual_machine"):
        yield "a virtual machine: cores and caches are what the hypervisor says"
