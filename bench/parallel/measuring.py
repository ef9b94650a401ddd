"""Rank 0's session: roofs, the link between ranks and the layers, all in the same visits; checked before and after."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bench.errors import BadInput
from bench.files import result_path
from bench.measure.arrays import dram_bytes
from bench.measure.ranks.links import between
from bench.measure.ranks.team import Facts, Team, Timed, led, threads_of
from bench.measure.run import Kept, kept, measuring
from bench.measure.session import Session
from bench.parallel.figures import has_layers
from bench.parallel.member import Member, Way
from bench.parallel.model import splits
from bench.parallel.shards import DTYPE, share
from bench.record.row import Row, add_samples, make_row
from bench.record.store import save
from bench.workloads.model import Model, find
from kernels.verify import WrongResult

VISITS, ROUNDS = 4, 5
REGION = 4e-3  # seconds of a sample, about
MOST_CALLS = 4096
SIZES = tuple(4**n for n in range(1, 11))  # bytes of messages: 4 to a MiB
SKIP = 4  # round trips that aren't timed
LINK_SIZE, LINK_CALLS = 1 << 20, 16  # what tells the interface
COMMAND = "parallel"


def measured(options: Any) -> Kept | None:
    """The session, of rank 0; None of the other ranks, once it is over. Raises BadInput where MPI isn't there."""

    def lead(team: Team, name: str) -> Kept:
        facts = team.ask("facts")
        share(find(options.model), len(facts))
        cpus = dealt(facts)
        team.ask("bind", cpus)
        with measuring(COMMAND, options, [len(cpus[0])], [DTYPE]) as session:
            session.hire("mpi", len(cpus[0]), lambda _: team)
            options.save = options.save or result_path(options.results, session.machine["id"], f"-{COMMAND}")
            measure(session, team, team.ask("facts"), name, options)
        return kept(session, options, shows=lambda metrics: has_layers(metrics.rows))

    return led(COMMAND, Member, lead)


def dealt(facts: Sequence[Facts]) -> list[list[int]]:
    """By rank CPUs of its own, as many as rank 0 has: where a launcher leaves them open, ranks would share some.

    Raises BadInput where a host has more ranks than cores.
    """
    threads, taken, found = threads_of(facts), set[tuple[str, int]](), list[list[int]]()
    for rank, one in enumerate(facts):
        left = [cpu for cpu in one.cores if (one.boot, cpu) not in taken]
        if len(left) < threads:
            raise BadInput(f"rank {rank}: no core is left of {len(one.cores)}; a rank needs {threads} of its own")
        found.append(left[:threads])
        taken |= {(one.boot, cpu) for cpu in found[-1]}
    return found


def measure(session: Session, team: Team, facts: Sequence[Facts], name: str, options: Any) -> None:
    """Adds the rows of link and layers; name: of the MPI library. Raises WrongResult for a wrong layer.

    The record is written after every visit: launchers end their ranks a second or two after Ctrl-C.
    """
    model = find(options.model)
    team.neighbours = {rank for rank, one in enumerate(facts) if rank and one.boot == facts[0].boot}
    session.progress("what lies between the ranks")
    sent = LINK_SIZE * LINK_CALLS
    session.interconnect = between(team, facts, name, sent, "ping", LINK_SIZE, LINK_CALLS, 0)
    session.start()
    layers = _Layers(session, team, model, options.length, len(facts), name)
    pings = _pings(session, team, name)
    layers.prepare()
    session.rows += [*pings.values(), *layers.rows.values()]
    for visit in session.visits(VISITS):
        session.progress(f"visit {visit + 1} of {VISITS}", visit / VISITS)
        session.probe_round()
        with session.watched():
            for _ in range(ROUNDS):
                for size, row in pings.items():
                    _add(session, row, team.ask("ping", size, row["calls"] // 2, SKIP)[:1])
                session.rounds += 1
        for phase in model.phases:
            team.ask("touch", phase)
            with session.watched():
                layers.rounds(phase)
        with suppress(BadInput):  # the end tells of a disk that is full
            save(session.metrics().record, options.save)
    layers.check()
    session.finish()


def _pings(session: Session, team: Team, name: str) -> dict[int, Row]:
    """Rows of messages, by their bytes."""
    rows = {}
    for size in SIZES:
        once = team.ask("ping", size, 4, SKIP)[0].spent[0] / 4e9
        calls = 2 * max(2, round(REGION / once))  # one is half of a round trip
        of = {"dims": {"bytes": size}, "level": "link", "calls": calls}
        rows[size] = make_row("probe", "ping_pong", "i8", "mpi", name, session.threads[0], **of)
    return rows


def _add(session: Session, row: Row, timed: Sequence[Timed]) -> None:
    """A sample, right after all have answered: of ranks that all took part the time of the slowest.

    It began no later than so long ago; when it did by another rank's clock isn't known.
    """
    took = max(one.spent[0] for one in timed if one.spent) / 1e9
    add_samples(row, [took], [time.perf_counter() - session.began - took], [session.rounds], session.visit)


class _Layers:
    """A model's layers in every phase and way."""

    def __init__(self, session: Session, team: Team, model: Model, length: int, ranks: int, name: str) -> None:
        self._session, self._team, self._model, self._length, self._ranks = session, team, model, length, ranks
        self.rows: dict[Way, Row] = {}
        for phase in model.phases:
            ways = [Way(phase, "layer_share", n) for n in (1, *splits(model.heads, model.ffn, ranks))]
            ways += [Way(phase, operation, ranks) for operation in ("layer_shares", "layer_sums", "layer_split")]
            for way in ways:
                self.rows[way] = self._row(way, name)
        self._turn = 0

    def _row(self, way: Way, name: str) -> Row:
        sums, model = way.operation == "layer_sums", self._model
        return make_row(
            "probe",
            way.operation,
            DTYPE,
            "mpi" if sums else "c",
            name if sums else self._session.isa,
            self._session.threads[0],
            dims={
                "m": 1 if way.phase == "decode" else self._length,
                "keys": self._length,
                "width": model.width,
                "heads": model.heads,
                "ffn": model.ffn,
                "ranks": way.ranks,
            },
            layers=[f"{model.name} {way.phase}"],
            level="link" if way.sums else "DRAM",
            cold=[] if sums else ["x"],
        )

    def prepare(self) -> None:
        """Every rank's shards; how many calls a sample has."""
        counts = sorted({way.ranks for way in self.rows})
        sets = len(self._model.phases) * (len(counts) + len(self._team.neighbours))
        size = dram_bytes(arrays=2 * sets)[0]
        layers = max(1, -(-size // (4 * self._model.width * (4 * self._model.width + 2 * self._model.ffn))))
        self._session.progress(f"{self._model.name}: weights of {layers} layers")
        self._team.ask("prepare", self._model, self._length, counts, layers)
        self.check()
        for way, row in self.rows.items():
            once = max(one.spent[0] for one in self._team.ask("time", way, 3) if one.spent) / 3e9
            row["calls"] = min(MOST_CALLS, max(1, round(REGION / once)))

    def rounds(self, phase: str) -> None:
        """Of one visit: in each another way comes first."""
        ways = [way for way in self.rows if way.phase == phase]
        for _ in range(ROUNDS):
            first = self._turn % len(ways)
            for way in [*ways[first:], *ways[:first]]:
                _add(self._session, self.rows[way], self._team.ask("time", way, self.rows[way]["calls"]))
            self._session.rounds += 1
            self._turn += 1

    def check(self) -> None:
        """The whole layer, and the split one on every rank. Raises WrongResult."""
        assert self._session.interconnect
        for phase in self._model.phases:
            for way in (Way(phase, "layer_share", 1), Way(phase, "layer_split", self._ranks)):
                answers = self._team.ask("check", way, 0)
                if wrong := {rank: over for rank, (_, over) in enumerate(answers) if not over <= 1}:
                    raise WrongResult(
                        f"{self._model.name} {phase} over {way.ranks} ranks: wrong by {max(wrong.values()):.3g} times "
                        f"what rounding allows, on ranks {', '.join(map(str, wrong))}"
                    )
                self._session.interconnect["bytes_checked"] += sum(size for size, _ in answers)
