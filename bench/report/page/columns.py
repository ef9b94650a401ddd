"""The columns of a page: machines side by side, the first of them the yardstick, and what is said of their rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

from bench.comparison.families import role
from bench.comparison.page import Page, Side, compare
from bench.comparison.session import Session, session, stored
from bench.errors import BadInput
from bench.record.folder import Refused, files_of, gathered
from bench.record.format import Record
from bench.record.metrics import Metrics
from bench.record.store import intact, load
from bench.report.page.looks import MOST


@dataclass(frozen=True)
class Machine:
    """A column: one record, its figures derived anew, and what is compared of it."""

    metrics: Metrics
    side: Side

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

    @property
    def name(self) -> str:
        """The CPU's model, or where that isn't known the machine's name."""
        return self.record["machine"]["cpu"]["model"] or self.record["machine"]["id"]

    def role_of(self, threads: int) -> str:
        """ "one", "all" or "N threads"."""
        return role(threads, self.record["machine"])


@dataclass(frozen=True)
class Report:
    """What a page is made of.

    sessions  of every record: those of columns as their raw seconds say, where there are more records than columns the
              others as their own figures do
    metrics   of the columns, by the names of their sessions
    refused   files that are no good record
    """

    sessions: Sequence[Session]
    metrics: dict[str, Metrics]
    refused: Sequence[Refused] = ()

    @cached_property
    def machines(self) -> list[Machine]:
        found = []
        shown = [one for one in self.sessions if one.name in self.metrics]
        for letter, one in zip(ascii_uppercase, shown, strict=False):
            found.append(Machine(self.metrics[one.name], Side(letter, [one])))
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


def report(given: Sequence[Path]) -> Report:
    """Of files and folders. Where there are more than MOST records, the columns are the latest of each machine, ISA
    and command.

    Raises BadInput where none of them is a good record.
    """
    files = files_of(given)
    found = gathered(files, _whole if len(files) <= MOST else _light)
    refused = list(found.refused)
    sessions: dict[str, Session] = {}  # by digest
    for one, _ in found.kept:
        first = sessions.setdefault(one.digest or one.name, one)
        if first is not one:
            refused.append(Refused(Path(one.name), f"the same record as {first.name}"))
    metrics = {one.name: known for one, known in found.kept if known is not None}
    kept = list(sessions.values())
    while missing := [one for one in _latest(kept) if one.name not in metrics]:
        whole = gathered([Path(one.name) for one in missing], _whole)
        metrics |= {one.name: known for one, known in whole.kept if known is not None}
        refused += whole.refused
        bad = {str(one.path) for one in whole.refused}
        kept = [one for one in kept if one.name not in bad]
    if not kept:
        raise BadInput("; ".join(f"{one.path}: {one.reason}" for one in refused[:3]))
    shown = {one.name for one in _latest(kept)}
    return Report(kept, {name: known for name, known in metrics.items() if name in shown}, refused)


def _latest(sessions: Sequence[Session]) -> list[Session]:
    """All, where there are at most MOST; else the latest of each machine, ISA and command, and of these the latest."""
    if len(sessions) <= MOST:
        return list(sessions)
    latest: dict[tuple[str, ...], Session] = {}
    for one in sorted(sessions, key=lambda one: one.started):
        latest[one.machine, one.isa, one.facts["command"]] = one
    return sorted(latest.values(), key=lambda one: one.started)[-MOST:]
