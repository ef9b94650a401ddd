"""python -m bench.memory: what training holds in memory, and what holding less of it costs in time, measured.

The analytic side follows Fig. 4 of Gholami et al., "AI and Memory Wall" (2024); the measured side tests its claim that
rematerialisation takes 5 times less memory for 20 % more compute.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.memory.chain import Chain, Disagreement, Sizes
from bench.memory.experiment import CLAIM, compared, experiment, verdict
from bench.memory.plot import draw
from bench.memory.tables import own_table, steps_table, training_table
from bench.memory.training import held, training_rows
from bench.options import add_thread_count
from bench.workloads.model import find
from kernels.verify import WrongResult

INTERVALS = "36,24,20,16,12,8,4,2,1"


def _parser() -> Parser:
    parser = Parser("memory", "What training holds in memory, and what holding less of it costs in time, measured.")
    parser.add_argument("--model", help="what training it holds: a model's name, or a TOML file with its numbers")
    parser.add_argument("--length", type=int, default=512, help="tokens of a sequence, for --model")
    parser.add_argument("--batch", type=int, default=1, help="sequences, for --model")
    parser.add_argument("--layers", type=int, default=48, help="of the measured chain")
    parser.add_argument("--width", type=int, default=96, help="of its layers; inside they are 4 times as wide")
    parser.add_argument("--tokens", type=int, default=192, help="that go through it together")
    parser.add_argument(
        "--intervals", default=INTERVALS, help="layers from one checkpoint to the next; the whole chain is added"
    )
    parser.add_argument("--rounds", type=int, default=8, help="timed steps at each interval; 0: measure nothing")
    add_thread_count(parser, default="1")
    parser.add_picture()
    return parser


def _check(options: Any) -> tuple[Sizes, list[int]]:
    for name in ("layers", "width", "tokens"):
        if not 1 <= getattr(options, name) <= 1 << 16:
            raise BadInput(f"--{name} {getattr(options, name)}: 1 to {1 << 16}")
    if not 0 <= options.rounds <= 1000:
        raise BadInput(f"--rounds {options.rounds}: 0 to 1000")
    if options.picture and not options.rounds:
        raise BadInput(f"--picture {options.picture}: nothing is measured with --rounds 0")
    try:
        wanted = {int(part) for part in options.intervals.split(",")}
    except ValueError as error:
        raise BadInput(f"--intervals {options.intervals}: give numbers of layers, separated by commas") from error
    if min(wanted) < 1:
        raise BadInput(f"--intervals {options.intervals}: at least 1 layer")
    sizes = Sizes(options.layers, options.tokens, options.width, 4 * options.width)
    if options.intervals == INTERVALS:  # those of a chain as long as the default's
        wanted = {k for k in wanted if k <= sizes.layers}
    if max(wanted) > sizes.layers:
        raise BadInput(f"--intervals {options.intervals}: the chain has {sizes.layers} layers")
    return sizes, sorted(wanted | {sizes.layers}, reverse=True)


def _own(name: str, length: int, batch: int) -> dict[str, Any]:
    """What training a model of the user's holds."""
    model = find(name)
    try:
        ours = held(model, length, batch)
    except ValueError as error:
        raise BadInput(str(error)) from error
    return {"model": model.name, "length": length, "batch": batch, **asdict(ours), "total": ours.total}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    sizes, intervals = _check(options)
    own = _own(options.model, options.length, options.batch) if options.model else None
    rows: list[dict[str, Any]] = []
    complete = True
    if options.rounds:
        with console(stderr=True).status("building the chain") as status:
            try:
                chain = Chain(sizes, options.threads)
                points, complete = experiment(chain, intervals, options.rounds, status.update)
            except (Disagreement, WrongResult) as error:
                console(stderr=True).print(f"bench.memory: {error}")
                return 1
        rows = compared(sizes, points)
    pictures = draw(sizes, rows, options.picture) if options.picture and rows else []
    chain_json = {**asdict(sizes), "threads": options.threads, "fixed_bytes": sizes.fixed_bytes, "steps": rows}
    document = {
        "training": training_rows(),
        "model": own,
        "rematerialisation": chain_json if rows else None,
        "pictures": list(map(str, pictures)),
    }

    def show(out: Console) -> None:
        out.print(own_table(own) if own else training_table(training_rows()))
        if rows:
            out.print(steps_table(sizes, rows))
            out.print(f"Claimed: {CLAIM[1]:.0f}x less memory for {CLAIM[0]:.0f} % more compute; {verdict(rows)}.")

    return shown(options, complete, document, show, pictures=pictures)


if __name__ == "__main__":
    run(main)
