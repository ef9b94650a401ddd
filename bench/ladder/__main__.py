"""python -m bench.ladder: the climb from three loops to all cores on one layer, naive, tiled, packed, vector, threads.

Every rung is the same product, checked against float64, in C and in Numba. All but the last run on one thread; the FMA
peak is timed in the same rounds as the rungs that are measured against it. docs/ladder.md explains each step.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.ladder.steps import BACKENDS, Step, climb, headline
from bench.options import add_dtype, add_seconds, add_thread_count
from bench.record.metrics import Metrics
from bench.record.store import derived_from, shown_again
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown, table
from bench.report.text import interval, machine_line, of_threads, trust_text

STEPS: Sequence[Column[Step]] = (
    Column("rung", lambda s: s.rung, left=True),
    Column("in", lambda s: BACKENDS[s.backend], left=True),
    Column("threads", lambda s: str(s.threads)),
    Column(
        "GFLOP/s [95 %]",
        lambda s: interval(s.gflops.as_dict(), 2 if s.gflops.value < 10 else 1),
        "GFLOP/s: median with its 95 % interval.",
    ),
    Column(
        "% of FMA peak",
        lambda s: f"{s.percent.value:.1f}",
        "% of FMA peak: the median over rounds of its rate over the peak's, timed beside it.",
    ),
    Column(
        "x the rung below [95 %]",
        lambda s: "" if s.gain is None else interval(s.gain.as_dict()),
        "x the rung below: the median over rounds of their ratio; of one thread and several, over visits.",
    ),
    Column("what it changes", lambda s: s.change, "Naive, tiled and packed are scalar code.", left=True),
)


def _peaks(steps: Sequence[Step]) -> str:
    found = {(s.threads, s.isa): f"{s.peak:.1f} GFLOP/s on {of_threads(s.threads)}" for s in steps}
    return f"FMA peak ({', '.join(dict.fromkeys(s.isa for s in steps))}): {', '.join(found.values())}"


def for_page(metrics: Metrics, steps: Sequence[Step]) -> str:
    """The table for a page: heading lines on machine and product, then GitHub's kind of table."""
    machine, session = metrics.record["machine"], metrics.record["session"]
    grade = metrics.trust["grade"] or "without a grade"
    lines = [
        f"{machine_line(machine, session)}; {metrics.record['ended'][:10]}, trust {grade}.",
        f"{headline(metrics)}. {_peaks(steps)}.",
        "",
        *markdown(STEPS, steps),
        "",
        caption_of(STEPS),
    ]
    return "\n".join(lines)


def _print(out: Console, metrics: Metrics, steps: Sequence[Step]) -> None:
    out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
    out.print(table(f"The climb: {headline(metrics)}", STEPS, steps, group=lambda s: s.backend))
    out.print(_peaks(steps))
    out.print(trust_text(metrics))


def _parser() -> Parser:
    parser = Parser("ladder", "The climb on one matrix product: naive, tiled, packed, vector, threads, in C and Numba.")
    parser.add_record(what="show this record's climb instead of measuring one")
    parser.add_argument("--model", default="BERT-Base", help="whose layer to multiply")
    parser.add_argument("--layer", default="ffn_up", help="which; python -m bench.layers lists them")
    parser.add_argument("--m", type=int, default=128, help="rows: tokens that enter the layer")
    parser.add_argument("--n", type=int, help="columns of a product of your own, with --k")
    parser.add_argument("--k", type=int, help="length of its sums")
    add_dtype(parser)
    add_thread_count(parser, what="of the last rung")
    add_seconds(parser, 0.5, "time for each rung")
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    parser.shapes.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save, options.record.with_suffix(""))
    from bench.ladder.measuring import measured  # records are drawn where nothing was compiled

    done = measured(options)
    return _shown(options, done.metrics, done.saved, done.stem, done.failed)


def _shown(options: Any, metrics: Metrics, saved: Path | None, stem: Path, failed: bool = False) -> int:
    """stem: of the picture, unless --picture has another."""
    try:
        steps = climb(metrics)
    except ValueError as error:
        raise BadInput(f"{options.record}: {error}") from error

    def show(out: Console) -> None:
        if options.markdown:
            print(for_page(metrics, steps))
        else:
            _print(out, metrics, steps)

    def drawn() -> Sequence[Path]:
        from bench.ladder.plot import draw

        with derived_from(*filter(None, [options.record])):
            return draw(metrics, steps, headline(metrics), options.picture or stem)

    document = {"record": metrics.record, "steps": [s.as_dict() for s in steps]}
    return shown(options, metrics.record["complete"], document, show, saved, drawn, failed)


if __name__ == "__main__":
    run(main)
