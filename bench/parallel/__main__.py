"""mpirun -n 2 python -m bench.parallel: a Transformer's layers split over MPI ranks, measured, and modelled for links.

The plane of compute, memory and network is drawn from the measured roofs. A record of it is shown again without MPI.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.host.mpi import one_voice
from bench.models.weights import refuse
from bench.parallel.figures import found
from bench.parallel.model import KNOWN, wire
from bench.parallel.tables import show, words
from bench.record.metrics import Metrics
from bench.record.store import derived_from, shown_again
from bench.report.text import machine_line, trust_text
from bench.workloads.model import find
from kernels.verify import WrongResult


def _parser() -> Parser:
    parser = Parser("parallel", "A Transformer's layers split over MPI ranks: mpirun -n 2 before python.")
    parser.add_record("link")
    parser.add_argument("--model", default="GPT-2", help="whose layers; or a TOML file with its numbers")
    parser.add_argument("--length", type=int, default=128, help="tokens that enter together, and that the cache holds")
    help_ = "model this one, too, bandwidth and latency, as in 25gbit,10us; may be given again"
    parser.add_argument("--link", type=wire, action="append", default=[], metavar="LINK", help=help_)
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    return one_voice(_main, arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save, options.record.with_suffix(""))
    _check(options)
    from bench.parallel.measuring import measured  # records are shown where nothing was compiled

    try:
        done = measured(options)
    except WrongResult as error:
        console(stderr=True).print(f"bench.parallel: {error}")
        return 1
    return _shown(options, done.metrics, done.saved, done.stem, done.failed) if done else 0


def _check(options: Any) -> None:
    """Raises BadInput for tokens that the model doesn't take, and a model with parts that aren't there to be run."""
    model = find(options.model)
    refuse(model)
    if not 2 <= options.length <= model.positions:
        raise BadInput(f"--length {options.length}: {model.name} takes 2 to {model.positions} tokens")


def _shown(options: Any, metrics: Metrics, saved: Path | None, stem: Path, failed: bool = False) -> int:
    """stem: of the picture, unless --picture has another. Raises BadInput for a record without layers over ranks."""
    record = metrics.record
    figures = found(metrics)
    if "interconnect" not in record or not figures.layers:
        raise BadInput(f"{options.record or 'the session'}: no layer over ranks was measured in it")
    between, wires = record["interconnect"], [*KNOWN, *options.link]

    def print_(out: Console) -> None:
        out.print(machine_line(record["machine"], record["session"]))
        for one in show(figures, between, wires):
            out.print(one)
        for line in words(figures):
            out.print(line)
        out.print(f"{between['bytes_checked'] / 1e6:.1f} MB of results compared with float64, 0 wrong")
        out.print(trust_text(metrics))

    def drawn() -> Sequence[Path]:
        from bench.parallel.plane import draw  # matplotlib takes a second

        with derived_from(*filter(None, [options.record])):
            return draw(metrics, figures, options.link, options.picture or stem)

    links = [
        {
            "name": one.name,
            "alpha": one.alpha,
            "beta": one.beta,
            "layers": {
                layer.name: {n: layer.expects(n, one) for n in layer.alone if n > 1} for layer in figures.layers
            },
        }
        for one in wires
    ]
    document = {"record": record, **figures.as_dict(), "links": links}
    return shown(options, record["complete"], document, print_, saved, drawn, failed)


if __name__ == "__main__":
    run(main)
