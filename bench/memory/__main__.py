"""python -m bench.memory [RECORD]: what training holds in memory, and what holding less of it costs in time, measured.

The analytic side follows Fig. 4 of Gholami et al., "AI and Memory Wall" (2024); the measured side tests its claim that
rematerialisation takes 5 times less memory for 20 % more compute.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.files import replacing
from bench.memory.experiment import CLAIM, compared, sizes_of, verdict
from bench.memory.sizes import Disagreement, Sizes
from bench.memory.tables import own_table, step_columns, steps_table, training_table
from bench.memory.training import held, training_rows
from bench.options import add_thread_count
from bench.record.metrics import Metrics
from bench.record.store import derived_from, shown_again
from bench.report.tables import caption_of, markdown
from bench.report.text import machine_line, trust_text
from bench.workloads.model import find
from kernels.verify import WrongResult

LENGTH, BATCH = 512, 1  # of what --model trains on
INTERVALS = "36,24,20,16,12,8,4,2,1"


def _parser() -> Parser:
    parser = Parser("memory", "What training holds in memory, and what holding less of it costs in time, measured.")
    parser.add_record("model", "length", "batch")
    parser.add_argument("--model", help="what training it holds: a model's name, or a TOML file with its numbers")
    parser.add_argument("--length", type=int, default=LENGTH, help="tokens of a sequence, for --model")
    parser.add_argument("--batch", type=int, default=BATCH, help="sequences, for --model")
    parser.add_argument("--layers", type=int, default=48, help="of the measured chain")
    parser.add_argument("--width", type=int, default=96, help="of its layers; inside they are 4 times as wide")
    parser.add_argument("--tokens", type=int, default=192, help="that go through it together")
    parser.add_argument(
        "--intervals", default=INTERVALS, help="layers from one checkpoint to the next; the whole chain is added"
    )
    parser.add_argument("--rounds", type=int, default=9, help="timed steps at each interval; 0: measure nothing")
    add_thread_count(parser, default="1")
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    return parser


def _check(options: Any) -> tuple[Sizes, list[int]]:
    for name in ("layers", "width", "tokens"):
        if not 1 <= getattr(options, name) <= 1 << 16:
            raise BadInput(f"--{name} {getattr(options, name)}: 1 to {1 << 16}")
    if not 0 <= options.rounds <= 1000:
        raise BadInput(f"--rounds {options.rounds}: 0 to 1000")
    for name, given in (("picture", options.picture), ("record", options.save)):
        if given and not options.rounds:
            raise BadInput(f"--{name} {given}: nothing is measured with --rounds 0")
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
    sizes = {"length": length, "positions": model.positions, "batch": batch}
    return {"model": model.name, **sizes, **asdict(ours), "total": ours.total, "remark": model.beyond(length)}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not options.model and (options.length, options.batch) != (LENGTH, BATCH):
        raise BadInput("--length and --batch are of a --model")
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save, options.record.with_suffix(""))
    sizes, intervals = _check(options)
    if options.model:
        _own(options.model, options.length, options.batch)  # refused, if it is, before anything is measured
    if not options.rounds:
        return _shown(options, None, None, None)
    from bench.memory.measuring import measured  # records are drawn where nothing was compiled

    try:
        done = measured(options, sizes, intervals)
    except (Disagreement, WrongResult) as error:
        console(stderr=True).print(f"bench.memory: {error}", markup=False)
        return 1
    return _shown(options, done.metrics, done.saved, done.stem, done.failed)


def _shown(options: Any, metrics: Metrics | None, saved: Path | None, stem: Path | None, failed: bool = False) -> int:
    """The analytic side and, of a session's metrics, the measured one; page and picture are written beside its record.

    Raises BadInput for a record without training.
    """
    own = _own(options.model, options.length, options.batch) if options.model else None
    document: dict[str, Any] = {"training": training_rows(), "model": own, "rematerialisation": None, "pictures": []}
    first = own_table(own) if own else training_table(training_rows())
    if metrics is None or stem is None:
        return shown(options, True, document, lambda out: out.print(first))
    steps = [run for run, _ in metrics.run_pairs if run["what"] == "training"]
    rows = compared(metrics)
    if not steps or (options.record and not rows):
        raise BadInput(f"{options.record}: no steps of training that keep everything were measured in it")
    record, sizes = metrics.record, sizes_of(steps[0])
    trust, machine = metrics.trust, machine_line(record["machine"], record["session"])
    why = f": {trust['reasons'][0]}" if trust["reasons"] else ""
    headings = [machine, f"{record['ended'][:10]}, trust {trust['grade'] or 'without a grade'}{why}"]
    stem = options.picture or stem
    chain = {**asdict(sizes), "threads": steps[0]["threads"], "fixed_bytes": sizes.fixed_bytes, "steps": rows}
    document |= {"record": record, "rematerialisation": chain if rows else None}
    said = f"Claimed: {CLAIM[1]:.0f}x less memory for {CLAIM[0]:.0f} % more compute; {verdict(rows)}." if rows else ""

    def drawn() -> Sequence[Path]:
        from bench.memory.plot import draw

        if not rows:
            return []
        columns, text = step_columns(sizes.layers), stem.with_name(f"{stem.name}.md")
        lines = ["# Rematerialisation", "", *headings, "", said, "", *markdown(columns, rows), "", caption_of(columns)]
        with derived_from(*filter(None, [options.record])):
            with replacing(text) as handle:
                handle.write("\n".join([*lines, *(f"- {reason}" for reason in trust["reasons"]), ""]))
            return [text, *draw(sizes, rows, stem, headings)]

    def show(out: Console) -> None:
        out.print(first)
        if rows:
            out.print(machine, markup=False)
            out.print(steps_table(sizes, rows))
            out.print(said)
        out.print(trust_text(metrics))

    return shown(options, record["complete"], document, show, saved, drawn, failed)


if __name__ == "__main__":
    run(main)
