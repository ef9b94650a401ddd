"""Which files are compared with which: records, folders of them, sides divided by -- or by what made the records.

Records of one machine, ISA, CPUs, commit, options and roles of threads are replicates.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from os.path import realpath
from pathlib import Path
from string import ascii_uppercase

from bench.comparison.page import Side
from bench.comparison.session import Session, session, stored
from bench.errors import BadInput
from bench.files import says
from bench.record.folder import Refused, named
from bench.record.format import FORMAT, VERSION, digest
from bench.record.store import load, parsed

MOST = len(ascii_uppercase)
NEIGHBOURS = 10  # records beside those that are compared, the nearest by name, that are read for the variance


def read(path: Path) -> Session:
    """Raises BadInput where the record can't be read."""
    return session(load(path), str(path))


def sides(
    given: Sequence[Sequence[Path]], refuse: Callable[[Refused], object], copy: Callable[[Refused], object]
) -> list[Side]:
    """given  the arguments, one list of them for each side; where there is one list, its sides are found
    refuse  is told of files in folders that can't be read, which are left out
    copy    of files with a record that another one of their side has, which count once: copies don't differ

    Raises BadInput where there are fewer than two sides, or more than MOST.
    """
    if len(given) > 1 and not all(given):
        raise BadInput("a side without a record: write A... -- B...")
    known: dict[Path, Session | None] = {}

    def sessions_in(path: Path) -> list[Session]:
        found = named([path], lambda file: known.get(file) or read(file))
        known.update(found.kept)
        for one in found.refused:
            if one.path not in known:
                known[one.path] = None
                refuse(one)
        return [session for _, session in found.kept]

    sessions = [[sessions_in(path) for path in group] for group in given]
    every = [path for path, session in known.items() if session]
    groups = [_distinct(group, copy) for group in sessions] if len(given) > 1 else divided(sessions[0], copy)
    for letter, group in zip(ascii_uppercase, groups, strict=False):
        if len(machines := dict.fromkeys(one.machine for one in group)) > 1:
            raise BadInput(f"side {letter} has records of several machines: {', '.join(machines)}")
    if not 2 <= len(groups) <= MOST:
        raise BadInput(f"{len(groups)} of the 2 to {MOST} sides that can be compared")
    neighbours = _neighbours(every, groups)
    made = []
    for letter, group in zip(ascii_uppercase, groups, strict=False):  # a machine's neighbours go to its first side
        made.append(Side(letter, group, neighbours.pop(group[0].machine, [])))
    return made


def _distinct(found: Sequence[Sequence[Session]], copy: Callable[[Refused], object]) -> list[Session]:
    """Each record once, by the first of its names."""
    kept: dict[str, Session] = {}
    for one in {one.name: one for group in found for one in group}.values():
        first = kept.setdefault(one.digest or one.name, one)
        if first is not one:
            copy(Refused(Path(one.name), f"the same record as {first.name}"))
    return list(kept.values())


def divided(found: Sequence[Sequence[Session]], copy: Callable[[Refused], object]) -> list[list[Session]]:
    """Sessions by what made them, in the order given. Where that is one group, each argument is a side; of a single
    argument, each session. copy: as of sides().
    """
    groups: dict[tuple[str, ...], list[Session]] = {}
    every = _distinct(found, copy)
    for one in every:
        groups.setdefault(one.group, []).append(one)
    if len(groups) > 1:
        return list(groups.values())
    return [_distinct([group], lambda _: None) for group in found] if len(found) > 1 else [[one] for one in every]


def _neighbours(files: Sequence[Path], groups: Sequence[Sequence[Session]]) -> dict[str, list[list[Session]]]:
    """By machine, groups of replicates among the records beside those compared, where a side has one session."""
    alone = {group[0].machine for group in groups if len(group) == 1}
    ours, seen = {realpath(file) for file in files}, {one.digest for group in groups for one in group}
    found: list[Session] = []
    for folder in dict.fromkeys(file.parent for file in files) if alone else ():
        names = {realpath(name): name for name in sorted(folder.glob("*.json"))}
        mine = [i for i, real in enumerate(names) if real in ours] or [0]
        nearest = sorted(enumerate(names.items()), key=lambda entry: min(abs(entry[0] - at) for at in mine))
        for _, (real, name) in nearest:
            if len(found) < NEIGHBOURS and real not in ours and (one := neighbour(name)) and one.digest not in seen:
                found.append(one)
                seen.add(one.digest)
    kept = sorted((one for one in found if one.machine in alone), key=lambda one: one.group)
    together = [list(group) for _, group in groupby(kept, key=lambda one: one.group)]
    return {machine: [g for g in together if g[0].machine == machine and len(g) > 1] for machine in alone}


def neighbour(path: Path) -> Session | None:
    """A record that only tells how much sessions differ, with the figures that it stores; None where it can't."""
    if not says(path, FORMAT):
        return None
    try:
        record = parsed(path)
        if record["version"] != VERSION or record["digest"] != digest(record):
            return None
        return stored(record, str(path))
    except (BadInput, ValueError, KeyError, TypeError, RecursionError, AttributeError, ArithmeticError):  # not a record
        return None
