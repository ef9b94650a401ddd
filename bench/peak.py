"""python -m bench.peak: what every ISA that runs here can multiply and add, type by type, and the clock.

Of f32 and f64 by FMAs; of integers of 8 and of 4 bits by the dot products that linear_a8's loops issue, with what it
takes to sum them in 32 bits; of bf16 by linear_a16's, where the ISA has them. Elsewhere bf16 is widened and multiplied
as f32, as f16 always is: their peak is f32's. Operations per cycle and core are the figure to check: two FMA pipes of v
lanes give 4 v (32 for f32 with 256-bit vectors).
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.host.placement import isa_in_use
from bench.measure.probes import of_roof, peak_probe, peak_types
from bench.measure.run import kept, measure_probes, measuring
from bench.measure.session import Session
from bench.options import STORED, add_seconds, add_threads, words
from bench.record.metrics import Metrics
from bench.record.roofs import is_peak, makes
from bench.record.row import Row, call_seconds, counted, flops, multiplied
from bench.report.columns import Column, Measured
from bench.report.tables import table
from bench.report.text import interval, machine_line, trust_text
from kernels.backends import c
from kernels.types import DTYPES

KINDS = tuple(dict.fromkeys([*DTYPES, *(peak for dtype in DTYPES for peak in peak_types(dtype, STORED))]))


def hertz(clock: Row) -> float:
    """The clock, best of all samples: an add takes a cycle."""
    return counted(clock) / min(call_seconds(clock))


def flop_per_cycle(row: Row, clock: Row) -> float:
    """FLOP per cycle and thread: best of the peak over best of the clock, both measured in the same rounds."""
    return float(flops(row) / min(call_seconds(row)) / hertz(clock) / row["threads"])


def measure(
    session: Session, threads: Sequence[int], isas: Sequence[str], dtypes: Sequence[str], seconds: float
) -> None:
    """Adds a row per thread count, ISA and dtype, and one of the clock, to the session; `seconds` for each."""
    groups = {
        t: [peak_probe(t, dtype, isa) for isa in isas for dtype in dtypes if c.has_peak(dtype, isa)]
        + [make(t) for make in of_roof("clock")]
        for t in threads
    }
    measure_probes(session, groups, seconds, "peaks")


def _isas(text: str | None) -> list[str]:
    if text is None:
        isa_in_use()  # refuses a RIDGELINE_ISA that can't run
        return c.running()
    for isa in text.split(","):
        if isa not in c.BUILT:
            raise BadInput(f"--isa {isa}: this build has {', '.join(c.BUILT)}")
        if not c.runs(isa):
            raise BadInput(f"--isa {isa}: this CPU can't run it")
    return text.split(",")


class Peak(NamedTuple):
    """A peak, and the clock of the same rounds."""

    measured: Measured
    clock: Row


PEAKS: Sequence[Column[Peak]] = (
    Column("threads", lambda p: str(p.measured.row["threads"])),
    Column("isa", lambda p: p.measured.row["isa"], left=True),
    Column("dtype", lambda p: multiplied(p.measured.row), left=True),
    Column("chains", lambda p: str(p.measured.row["dims"]["chains"])),
    Column("lanes", lambda p: str(p.measured.row["dims"]["lanes"])),
    Column("best GOP/s", lambda p: f"{flops(p.measured.row) / p.measured.metrics['best_seconds'] / 1e9:.1f}"),
    Column(
        "OP/cycle/core",
        lambda p: f"{flop_per_cycle(p.measured.row, p.clock):.1f}",
        "An operation is a multiply or an add; of f32 and f64, GOP/s are GFLOP/s. OP/cycle/core: best over best clock. "
        "i8: weights of 8 bits times activations of 8; i4g32: of 4 bits, whatever their group. bf16, where it isn't "
        "listed, and f16 multiply as f32.",
    ),
    Column("median [95 %]", lambda p: interval(p.measured.metrics["gflops"], 1)),
    Column("clock GHz", lambda p: f"{hertz(p.clock) / 1e9:.2f}"),
)


def _print(out: Console, metrics: Metrics) -> None:
    out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
    ticking = sorted((row for row in metrics.rows if makes(row, "clock")), key=hertz)
    clocks = {row["threads"]: row for row in ticking}  # of several, the one that came nearest
    entries = [Peak(Measured(*p), clocks[p[0]["threads"]]) for p in metrics.pairs if is_peak(p[0])]
    out.print(table("Peak of multiply-adds", PEAKS, entries))
    out.print(trust_text(metrics))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("peak", "The peak of multiply-adds per ISA and dtype, and the clock by dependent adds.")
    add_threads(parser)
    parser.add_argument("--isa", help="ISAs, separated by commas; all that run here if not given")
    help_ = "one or several of f32, f64, bf16, i8 and i4g32: integers of 8 bits, and of 4 bits, times such of 8"
    parser.add_argument("--dtype", type=words("--dtype", KINDS), default=",".join(KINDS), help=help_)
    add_seconds(parser, 0.2, "time for each of them")
    parser.add_save()
    options = parser.parse_args(arguments)
    isas = _isas(options.isa)
    if not any(c.has_peak(dtype, isa) for dtype in options.dtype for isa in isas):
        raise BadInput(
            f"--dtype {','.join(options.dtype)}: {', '.join(isas)} multiplies such numbers as another type or ISA does"
        )
    with measuring("peak", options, options.threads, options.dtype, first="peaks") as session:
        measure(session, options.threads, isas, options.dtype, options.seconds)
    done = kept(session, options)
    metrics = done.metrics
    return shown(
        options, session.complete, metrics.record, lambda out: _print(out, metrics), done.saved, failed=done.failed
    )


if __name__ == "__main__":
    run(main)
