"""Rank 0: whose turn it is, what arrives, who is silent; and the records, once nothing is measured beside them."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.cli import endings
from bench.errors import BadInput, plain
from bench.fleet.folder import Folder, Judged
from bench.fleet.rank import BEAT, NAP, SILENCE, Clock, Facts, Post, Rank, Report
from bench.fleet.session import Outcome, Said

WAITING, MEASURING, ENDED = "waiting", "measuring", "ended"


class Host:
    """A rank as rank 0 sees it.

    state   one of WAITING, MEASURING, ENDED
    reason  why it isn't good; None: nothing is known against it
    heard   when its last message came; began, ends: when its session did, and when it is thought to end
    place   on its own host: its record, or the folder that its session writes to
    told    whether it told how its session ended
    path    where its record was gathered
    there   whether that was gathered before
    """

    def __init__(self, rank: int) -> None:
        self.rank, self.state = rank, WAITING
        self.facts: Facts | None = None
        self.said = Said("", None, None)
        self.heard = self.began = 0.0
        self.ends: float | None = None
        self.reason: str | None = None
        self.place: str | None = None
        self.told = False
        self.path: Path | None = None
        self.judged: Judged | None = None
        self.there = False

    @property
    def name(self) -> str:
        return self.facts.host if self.facts else f"rank {self.rank}"

    @property
    def over(self) -> bool:
        return self.state == ENDED


class Gathering:
    """What rank 0 knows of all ranks.

    alike    what ranks that take turns have in common
    present  by a host's folder the good records that are there already: so many of its ranks needn't measure
    say      called with lines as they happen; progress with a text, and the share of the time since it is known
    """

    def __init__(
        self,
        ranks: int,
        folder: Folder,
        alike: Callable[[Facts], str],
        present: Mapping[str, Sequence[Judged]],
        say: Callable[[str], None],
        progress: Callable[[str, float | None], None],
    ) -> None:
        self.hosts = [Host(rank) for rank in range(ranks)]
        self.interrupted = False
        self._folder, self._alike, self._say, self._progress = folder, alike, say, progress
        self._present = {name: list(found) for name, found in present.items()}
        self._awake, self._began = Clock(), time.perf_counter()
        self._known: float | None = None  # since when it is known how long all will take

    @property
    def over(self) -> bool:
        return all(host.over for host in self.hosts)

    def label(self, host: Host) -> str:
        """Its name, with its rank where another rank has the same."""
        several = sum(one.name == host.name for one in self.hosts) > 1
        return f"{host.name}, rank {host.rank}" if several else host.name

    def answer(self, source: int, report: Report | None) -> str:
        """What a rank is to do after its report."""
        host, now = self.hosts[source], self._seconds
        host.heard = self._awake()
        if report is None:
            self._lose(host, "runs another version of Ridgeline")
            return "wait"
        if report.said != host.said:
            host.said = report.said
            host.ends = host.ends if report.said.left is None else now + report.said.left
        if host.facts is None:
            self._met(host, report.facts)
        if report.outcome and not host.told:
            self._received(host, report.outcome)
        elif not host.told:
            host.place = report.folder
        given_up = host.over and not host.told and not host.there
        if self.interrupted or given_up:
            return "stop"
        if host.state == WAITING and not any(one.state == MEASURING for one in self._beside(host)):
            host.state, host.began = MEASURING, now
            self._tell(host, "measuring")
            return "go"
        return "wait"

    def _beside(self, host: Host) -> list[Host]:
        """The ranks that take turns with it, itself among them."""
        assert host.facts
        mine = self._alike(host.facts)
        return [one for one in self.hosts if one.facts and self._alike(one.facts) == mine]

    def _met(self, host: Host, facts: Facts) -> None:
        host.facts = facts
        if facts.bound and not host.over:
            self._tell(host, f"bound to {facts.bound}, and measures no more: mpirun --bind-to none")
        if found := self._present.get(self._folder.of(facts.host)):
            host.judged, host.there, host.state = found.pop(0), True, ENDED
            host.path = host.judged.path
            self._tell(host, f"its record is there: {host.path}")

    def _received(self, host: Host, outcome: Outcome) -> None:
        host.state, host.told, host.place, host.reason = ENDED, True, outcome.place, outcome.reason
        if outcome.record is not None:
            try:
                host.path = self._folder.write(host.name, host.rank, outcome.record)
            except BadInput as error:
                host.reason = str(error)
        said = "its record is here" if host.path else "failed"
        self._tell(host, f"{said}{f': {host.reason}' if host.reason else ''}")

    def watch(self, dead: Mapping[int, str]) -> None:
        """Gives up ranks that are silent, or known to stay so, and why; then says how far the others are."""
        awake = self._awake()
        for host in self.hosts:
            silent = awake - host.heard > SILENCE
            if silent or host.rank in dead:
                self._lose(host, dead.get(host.rank) or f"sent nothing for {SILENCE:.0f} s")
        self._progress(*self._so_far(self._seconds))

    def _lose(self, host: Host, why: str) -> None:
        if not host.over:
            host.state, host.reason = ENDED, f"its rank {why}"
            self._tell(host, f"lost: {host.reason}")

    def idle(self) -> bool:
        """Whether records may be looked at: rank 0's own host has nothing more to measure."""
        return self.interrupted or (bool(self.hosts[0].facts) and all(one.over for one in self._beside(self.hosts[0])))

    def settle(self) -> None:
        """Looks at the records that have arrived."""
        mine = {host.path: host for host in self.hosts if host.path}
        for path, judged in self._folder.settle():
            if host := mine.get(path):
                host.judged, host.path = judged, judged.path
                if judged.reason:
                    host.reason = judged.reason
                    self._tell(host, f"kept apart: {judged.reason}")

    def interrupt(self) -> None:
        """Nobody begins; who measures ends, and keeps what there is."""
        self.interrupted = True
        running = [
            f"{self.label(host)} in {host.place}" for host in self.hosts if host.state == MEASURING and host.place
        ]
        kept = plain(f": {'; '.join(running)}") if running else ""
        self._say(f"interrupted: sessions end, and each keeps on its own host what it measured{kept}")
        for host in self.hosts:
            if host.state == WAITING:
                host.state, host.reason = ENDED, "interrupted before its turn"

    @property
    def _seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._began

    def _so_far(self, now: float) -> tuple[str, float | None]:
        """In words, and the share of the time that has passed; None where a session doesn't tell."""
        at_it = [host for host in self.hosts if host.state == MEASURING]
        done = sum(host.over for host in self.hosts)
        words = f"{done} of {len(self.hosts)} done, {len(at_it)} measuring"
        if not at_it:
            return words, None
        lefts = {host.rank: self._left(host, now) for host in at_it}
        last = max(at_it, key=lambda host: lefts[host.rank] or 0.0)
        share = "" if last.said.share is None else f"{100 * last.said.share:.0f} %, "
        words += f"; {self.label(last)}: {share}{last.said.text}" if last.said.text else ""
        known = [left for left in lefts.values() if left is not None]
        if len(known) < len(lefts):
            return words, None
        self._known = now if self._known is None else self._known
        return words, (now - self._known) / max(now - self._known + max(known), 1e-6)

    def _left(self, host: Host, now: float) -> float | None:
        """Seconds until a host and those that take turns with it are done."""
        if host.ends is None:
            return None
        waiting = sum(one.state == WAITING for one in self._beside(host))
        left = max(0.0, host.ends - now)
        return left + waiting * (now - host.began + left)

    def _tell(self, host: Host, what: str) -> None:
        self._say(f"{self._seconds:5.0f} s  {plain(f'{self.label(host)}: {what}')}")


def gather(post: Post, rank: Rank, gathering: Gathering) -> None:
    """Rank 0's part until every rank has ended or is lost. Raises BadInput where the folder can't be written."""
    signals, woken = list[int](), 0.0
    with endings(lambda number, frame: signals.append(number)):
        while not gathering.over:
            for source, report in post.arrived():
                post.answer(source, gathering.answer(source, report))
            if time.monotonic() >= woken or rank.ended:
                order = gathering.answer(0, rank.report())
                rank.obey(order)
                woken = time.monotonic() + (0.0 if order == "go" else BEAT)  # as follow()
            if signals and not gathering.interrupted:
                gathering.interrupt()
                rank.stop()
            gathering.watch(post.dead)
            if gathering.idle():
                gathering.settle()
            time.sleep(NAP)
        gathering.settle()
