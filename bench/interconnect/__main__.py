"""mpirun -n 2 python -m bench.interconnect: latency, bandwidth and allreduce between MPI ranks, and their ridge.

OSU's conventions for messages, NCCL's for allreduce. Shared memory, loopback and a network are told apart by what the
kernel counts. A record of it is shown again without MPI.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.host.mpi import one_voice
from bench.interconnect.figures import found
from bench.interconnect.plan import LARGEST
from bench.interconnect.tables import headline, show
from bench.record.metrics import Metrics
from bench.record.store import shown_again
from bench.report.text import machine_line, trust_text
from kernels.verify import WrongResult


def _parser() -> Parser:
    parser = Parser("interconnect", "Latency, bandwidth and allreduce between MPI ranks: mpirun -n 2 before python.")
    parser.add_record()
    parser.add_argument("--largest", type=int, default=LARGEST, metavar="BYTES", help="of the largest message")
    parser.add_argument("--fewer", type=int, default=1, metavar="N", help="make an N-th of OSU's loops")
    parser.add_results("record")
    parser.add_save()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    return one_voice(_main, arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save)
    from bench.interconnect.measuring import measured, refused  # records are shown where nothing was compiled

    refused(options)
    try:
        done = measured(options)
    except WrongResult as error:
        console(stderr=True).print(f"bench.interconnect: {error}")
        return 1
    return _shown(options, done.metrics, done.saved, done.failed) if done else 0


def _shown(options: Any, metrics: Metrics, saved: Path | None, failed: bool = False) -> int:
    """Raises BadInput for a record without an interconnect."""
    record = metrics.record
    if "interconnect" not in record:
        raise BadInput(f"{options.record}: no interconnect was measured in it")
    between, figures = record["interconnect"], found(metrics)

    def print_(out: Console) -> None:
        out.print(machine_line(record["machine"], record["session"]))
        out.print(headline(between))
        for one in show(figures, between):
            out.print(one)
        out.print(f"{between['bytes_checked'] / 1e6:.1f} MB of results compared, 0 wrong")
        out.print(trust_text(metrics))

    document = {"record": record, **figures.as_dict()}
    return shown(options, record["complete"], document, print_, saved, failed=failed)


if __name__ == "__main__":
    run(main)
