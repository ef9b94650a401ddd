"""mpirun --bind-to none -n 2 --host A,B python -m bench.fleet: the suite on many hosts, their records on one page.

Every rank has its own host run a session, alone on it: ranks of one host take turns. Rank 0 gathers the records, checks
them as bench.check does, and writes bench.report's page. What follows -- are options of the session.
"""

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cli import MADE, Parser, endings, output_folder, run
from bench.errors import BadInput
from bench.fleet.rank import ALIKE, Post, Rank, follow
from bench.fleet.session import RESULTS
from bench.host.mpi import launched, load, one_voice, ranks_in_use

MOST_MINUTES = 7 * 24 * 60


def _parser() -> Parser:
    parser = Parser("fleet", "The suite on many hosts, gathered to one page: mpirun -n N --host A,B,... before python.")
    gathered = f"of rank 0, for all records and their page; {MADE}"
    parser.add_argument("--gathered", type=Path, default="fleet", metavar="FOLDER", help=gathered)
    own = f"on every host, for its own record; {MADE}"
    parser.add_argument("--results", type=Path, default="results", metavar="FOLDER", help=own)
    missing = "leave out hosts whose good record is gathered already"
    parser.add_argument("--missing", action="store_true", help=missing)
    turns = "who takes turns: ranks under one kernel, also of several containers, or only those of one host's name"
    parser.add_argument("--turns", choices=list(ALIKE), default="kernel", help=turns)
    parser.add_argument("--minutes", type=float, default=240.0, metavar="N", help="end a session that takes longer")
    session = "of every host's session, as in -- --sweep quick --threads 1,all"
    parser.add_argument("session", nargs="*", metavar="-- OPTION", help=session)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    return one_voice(_main, arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if not 0 < options.minutes <= MOST_MINUTES:
        raise BadInput(f"--minutes {options.minutes:g}: more than 0, at most {MOST_MINUTES}")
    if any(text.partition("=")[0] == RESULTS for text in options.session):
        raise BadInput(f"-- {RESULTS}: {RESULTS} belongs before --")
    if not launched():  # of ranks the first one checks them, once MPI runs: the others would wait for it at MPI's start
        output_folder(options.results)
        output_folder(options.gathered)
    mpi = load("fleet")
    communicator = ranks_in_use(mpi, "fleet")
    number = communicator.rank
    host, limit, alone = mpi.Get_processor_name(), 60 * options.minutes, options.turns == "kernel"
    rank = Rank(number, host, options.results, options.session, limit, alone)
    atexit.register(_end, mpi, number)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)  # by which MPICH's launcher tells of a death
    if number:
        with endings(lambda number, frame: rank.stop()):
            if follow(mpi, communicator, rank):
                atexit.unregister(_end)
    else:
        from bench.fleet.first import gathered, shown_all  # what reads records, other ranks don't need

        post = Post(mpi, communicator)
        try:
            found = gathered(options, post, communicator.size, rank)
        finally:
            if post.let_go():
                atexit.unregister(_end)
        return shown_all(options, found)
    return 0


def _end(mpi: Any, rank: int) -> None:
    """At the end of a rank that wasn't let go, or can't let all others go: MPI's own end would wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    if rank:
        os._exit(1)
    mpi.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    run(main)
