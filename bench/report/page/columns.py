"""The columns of a page: machines side by side, the first of them the yardstick, and what is said of their rows."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

from bench.comparison.families import role
from bench.comparison.page import Page, Side, compare
from bench.comparison.session import Session, session, stored
from bench.errors import BadInput
from bench.quantities import plural
from bench.record.folder import Refused, files_of, gathered, readers
from bench.record.format import Record
from bench.record.metrics import Metrics
from bench.record.store import intact, load
from bench.report.page.looks import MOST


@dataclass(frozen=True)
class Machine:
    """A column: one record, its figures derived anew, what is compared of it, and a name that no other column has."""

    metrics: Metrics
    side: Side
    name: str

    @property
    def letter(self) -> str:
        return self.side.letter

    @property
    def session(self) -> Session:
        return self.side.sessions[0]

    @property
    def path(self) -> Path:
        return Path(self.session.name)

    @property
    def record(self) -> Record:
        return self.metrics.record

    def role_of(self, threads: int) -> str:
        """ "one", "all" or "N threads"."""
        return role(threads, self.record["machine"])


@dataclass(frozen=True)
class Report:
    """What a page is made of.

    sessions  of every record, the yardstick first: those of columns as their raw seconds say, where there are more
              records than columns the others as their own figures do
    metrics   of the columns, by the names of their sessions
    refused   files that are no good record
    copies    files with a record that another one has
    """

    sessions: Sequence[Session]
    metrics: dict[str, Metrics]
    refused: Sequence[Refused] = ()
    copies: Sequence[Refused] = ()

    @cached_property
    def machines(self) -> list[Machine]:
        found = []
        shown = [one for one in self.sessions if one.name in self.metrics]
        names = told_apart(shown, [self.metrics[one.name].record for one in shown])
        for letter, one, name in zip(ascii_uppercase, shown, names, strict=False):
            found.append(Machine(self.metrics[one.name], Side(letter, [one]), name))
        return found

    @cached_property
    def groups(self) -> list[list[Session]]:
        """Sessions of one making."""
        groups: dict[tuple[str, ...], list[Session]] = defaultdict(list)
        for one in self.sessions:
            groups[one.group].append(one)
        return list(groups.values())

    @cached_property
    def pages(self) -> list[Page]:
        """Every other machine against the first; what else is known of the two machines tells how sessions differ."""
        first, *others = (machine.side for machine in self.machines)
        found = []
        for other in others:
            a = replace(first, known=self._besides(first, other))
            b = replace(other, known=self._besides(other, first) if other.machine != first.machine else ())
            found.append(compare(a, b, pages=len(others)))
        return found

    def _besides(self, side: Side, other: Side) -> list[list[Session]]:
        """Groups of replicates of a side's machine, without the sessions of either side."""
        ours = {one.name for one in (*side.sessions, *other.sessions)}
        mine = [[one for one in group if one.name not in ours] for group in self.groups]
        return [group for group in mine if len(group) > 1 and group[0].machine == side.machine]


def _whole(path: Path) -> tuple[Session, Metrics | None]:
    """With all figures derived anew."""
    metrics = load(path)
    metrics.as_dict()
    return session(metrics, str(path)), metrics


def _light(path: Path) -> tuple[Session, Metrics | None]:
    """As its own figures say."""
    return stored(intact(path), str(path)), None


def told_apart(sessions: Sequence[Session], records: Sequence[Record]) -> list[str]:
    """A name for each: the CPU's model, or where that isn't known the machine's id, and where several share it what
    tells them apart.
    """
    facets = (
        lambda one: one.facts["ISA"],
        lambda one: plural(one.cores, "core") if one.cores else "cores unknown",
        lambda one: one.facts["CPUs"],
        lambda one: one.facts["command"].removeprefix("python -m ").removesuffix(" --benchmark-only"),
        lambda one: one.machine,
        lambda one: one.started[:10],
        lambda one: Path(one.name).name,
        lambda one: one.name,
    )
    names = [record["machine"]["cpu"]["model"] or record["machine"]["id"] for record in records]
    for facet in facets:
        groups: dict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(names):
            groups[name].append(i)
        for group in groups.values():
            known = {i: facet(sessions[i]) for i in group}
            if len(set(known.values())) > 1:
                names = [f"{name}, {known[i]}" if i in known else name for i, name in enumerate(names)]
    return names


def report(given: Sequence[Path], base: str | None = None) -> Report:
    """Of files and folders. Where there are more than MOST records, the columns are the latest of each machine, ISA,
    CPUs and command.

    base  the yardstick: a file, or the id of a machine, of which it is the first column; None: the first column

    Raises BadInput where none of them is a good record, or none is the base.
    """
    files = files_of(given)
    with readers(files) as pool:
        return _report(files, base, pool)


def _report(files: Sequence[Path], base: str | None, pool: Executor | None) -> Report:
    found = gathered(files, _whole if len(files) <= MOST else _light, pool)
    refused, copies = list(found.refused), list[Refused]()
    sessions: dict[str, Session] = {}  # by digest
    for one, _ in found.kept:
        first = sessions.setdefault(one.digest or one.name, one)
        if first is not one:
            copies.append(Refused(Path(one.name), f"the same record as {first.name}"))
    metrics = {one.name: known for one, known in found.kept if known is not None}
    kept = {one.name: one for one in sessions.values()}
    yardstick = _yardstick([one for one, _ in found.kept], sessions, base)
    while missing := [one for one in _latest(kept.values(), yardstick) if one.name not in metrics]:
        whole = gathered([Path(one.name) for one in missing], _whole, pool)
        for anew, known in whole.kept:
            kept[anew.name] = anew
            metrics |= {anew.name: known} if known else {}
        refused += whole.refused
        for bad in whole.refused:
            del kept[str(bad.path)]
    if not kept:
        raise BadInput("; ".join(f"{one.path}: {one.reason}" for one in refused[:3]))
    columns = _latest(kept.values(), yardstick)
    if base:
        columns.sort(key=lambda one: one.name != yardstick if yardstick else one.machine != base)
        if columns[0].name != yardstick and columns[0].machine != base:
            reasons = (one.reason for one in refused if os.path.abspath(one.path) == os.path.abspath(base))
            raise BadInput(f"--base {base}: {next(reasons, 'no record, nor the id of a machine that has a column')}")
    shown = [one.name for one in columns]
    others = [one for name, one in kept.items() if name not in shown]
    return Report([*columns, *others], {name: metrics[name] for name in shown}, refused, copies)


def _yardstick(found: Sequence[Session], kept: Mapping[str, Session], base: str | None) -> str | None:
    """The name of the session of that file, or of the one that it is a copy of."""
    path = os.path.abspath(base) if base else None
    return next((kept[one.digest or one.name].name for one in found if os.path.abspath(one.name) == path), None)


def _latest(sessions: Collection[Session], yardstick: str | None) -> list[Session]:
    """All, where there are at most MOST; else the yardstick, the latest of each machine, ISA, CPUs and command, and of
    these the latest.
    """
    if len(sessions) <= MOST:
        return list(sessions)
    latest: dict[tuple[str, ...], Session] = {}
    for one in sorted(sessions, key=lambda one: (one.name == yardstick, one.started)):
        latest[one.machine, one.isa, one.facts["CPUs"], one.facts["command"]] = one
    return sorted(latest.values(), key=lambda one: (one.name == yardstick, one.started))[-MOST:]
