"""Rank 0's session: roofs, then every step of the plan in visits, each checked; and the other ranks' part."""

import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any

from bench.errors import BadInput
from bench.files import result_path
from bench.interconnect.member import Member
from bench.interconnect.plan import KINDS, LARGEST, VISITS, WINDOW, Loops, Step, likely_seconds, steps
from bench.measure.arrays import dram_bytes
from bench.measure.ranks.links import between
from bench.measure.ranks.team import Facts, Team, Timed, led, threads_of
from bench.measure.run import Kept, kept, measuring
from bench.measure.session import Session
from bench.record.row import Row, add_samples, make_row
from bench.record.store import save
from kernels.verify import WrongResult

SAVED_EVERY = 5.0  # seconds
AT_A_TIME = 0.2  # seconds: how long Ctrl-C may have to wait
LINK_STEP, LINK_CALLS = Step("ping_pong", 1 << 20, False), 32  # what tells the interface


def measured(options: Any) -> Kept | None:
    """The session, of rank 0; None of the other ranks, once it is over. Raises BadInput where MPI isn't there."""

    def lead(team: Team, name: str) -> Kept:
        facts = team.ask("facts")
        threads = threads_of(facts)
        with measuring("interconnect", options, [threads], ["f32"]) as session:
            session.hire("mpi", threads, lambda cpus: team)
            options.save = options.save or result_path(options.results, session.machine["id"], "-interconnect")
            measure(session, team, facts, name, options)
        return kept(session, options)

    return led("interconnect", Member, lead)


def measure(session: Session, team: Team, facts: Sequence[Facts], name: str, options: Any) -> None:
    """Adds the rows of all steps to the session; name: of the MPI library.

    The record is written again and again meanwhile: launchers end their ranks a second after Ctrl-C, and all of them
    where one fails. Raises WrongResult where a byte that was received, or a sum, is wrong.
    """
    fewer = options.fewer
    here = [rank for rank, one in enumerate(facts) if one.boot == facts[0].boot]
    team.neighbours = {*here} - {0}
    if any({*facts[a].cpus} & {*facts[b].cpus} for a in here for b in here if a < b):
        session.remark("ranks may use the same CPUs, and move between them: mpirun --bind-to core")
    if fewer > 1:
        session.remark(f"a {fewer}th of OSU's loops")
    session.progress("compiling the loops")
    size = dram_bytes(arrays=4 * len(here))[0] // 2
    team.ask("prepare", max(2 * LARGEST, 1 << size.bit_length() - 1))
    sent = LINK_STEP.size * LINK_CALLS
    session.interconnect = between(team, facts, name, sent, "time", LINK_STEP, 0, 1, LINK_CALLS)
    session.start()
    runs = [_Run(session, team, step, name, len(facts), fewer) for step in steps(options.largest)]
    session.rows += [run.row for run in runs]
    todo, done, saved = VISITS * sum(likely_seconds(run.step, fewer) for run in runs), 0.0, 0.0
    for _ in session.visits(VISITS):
        session.probe_round()
        team.ask("touch")
        with session.watched():
            for run in runs:
                session.progress(run.text, done / todo)
                run.visit()
                done += likely_seconds(run.step, fewer)
                if time.monotonic() > saved + SAVED_EVERY:
                    with suppress(BadInput):  # the end tells of a disk that is full
                        save(session.metrics().record, options.save)
                    saved = time.monotonic()
    session.finish()


class _Run:
    """A step and its row."""

    def __init__(self, session: Session, team: Team, step: Step, name: str, ranks: int, fewer: int) -> None:
        self._session, self._team, self.step = session, team, step
        operation, size, rotating = step
        kind = KINDS[operation]
        self._loops: Loops = kind.loops(size, fewer)
        dims = {"bytes": size}
        dims |= {"messages": WINDOW} if operation == "window" else {}
        dims |= {} if kind.pair else {"ranks": ranks}
        self.row: Row = make_row(
            "probe",
            operation,
            "i8" if kind.pair else "f32",
            "mpi",
            name,
            session.threads[0],
            dims=dims,
            level="link",
            cold=["x"] if rotating else [],
            calls=self._loops.each * (2 if operation == "ping_pong" else 1),  # a call is half of a round trip
        )
        self._block = 0.0  # seconds of the last one

    @property
    def text(self) -> str:
        return f"{self.step.operation}, {self.step.size} bytes"

    def visit(self) -> None:
        """One visit's loops, in pieces that Ctrl-C needn't wait for long; then the check of one more call."""
        skip, left, each = self._loops.skip, self._loops.blocks, self._loops.each
        while left:
            blocks = min(left, max(1, int(AT_A_TIME / self._block))) if self._block else 1
            self._add(self._team.ask("time", self.step, skip, blocks, each))
            skip, left = 1, left - blocks
        answers = self._team.ask("check", self.step)
        wrong = {rank: count for rank, (_, count) in enumerate(answers) if count}
        if wrong:
            raise WrongResult(f"{self.text}: {wrong} elements are wrong, by rank")
        assert self._session.interconnect
        self._session.interconnect["bytes_checked"] += sum(compared for compared, _ in answers)

    def _add(self, answers: Sequence[Timed]) -> None:
        session, first = self._session, answers[0]
        spent = [first.spent] if KINDS[self.step.operation].pair else [one.spent for one in answers]
        seconds = [round(fmean(each)) / 1e9 for each in zip(*spent, strict=True)]
        starts = [ended / 1e9 - session.began - took for ended, took in zip(first.ended, seconds, strict=True)]
        rounds = list(range(session.rounds, session.rounds + len(seconds)))
        session.rounds += len(seconds)
        self._block = max(seconds)
        add_samples(self.row, seconds, starts, rounds, session.visit)


def refused(options: Any) -> None:
    """Raises BadInput for what makes no plan."""
    if not 1 <= options.fewer <= 1000:
        raise BadInput(f"--fewer {options.fewer}: 1 to 1000")
    if options.largest not in [1 << n for n in range(2, LARGEST.bit_length())]:
        raise BadInput(f"--largest {options.largest}: a power of two, 4 to {LARGEST} bytes")
