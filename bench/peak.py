"""python -m bench.peak: the FMA peak of every ISA that runs here, f32 and f64, and the clock, from dependent adds.

FLOP per cycle and core is the figure to check: two FMA pipes of v lanes give 4 v (32 for f32 with 256-bit vectors).
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.host.placement import isa_in_use
from bench.measure.probes import of_roof
from bench.measure.run import kept, measuring
from bench.measure.session import Session
from bench.measure.visits import measure_probes
from bench.options import add_dtypes, add_seconds, add_threads
from bench.record.metrics import Metrics
from bench.record.roofs import is_peak, makes
from bench.record.row import Row, arithmetic, call_seconds, counted, flops
from bench.report.columns import Column, Measured
from bench.report.tables import table
from bench.report.text import interval, machine_line, trust_text
from kernels.backends import c


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
        t: [make(t, dtype, isa) for make in of_roof("peak") for isa in isas for dtype in dtypes]
        + [make(t) for make in of_roof("clock")]
        for t in threads
    }
    measure_probes(session, groups, seconds, "FMA peak")


def _isas(text: str | None) -> list[str]:
    if text is None:
        isa_in_use()  # refuses a RIDGELINE_ISA that can't run
        return [isa for isa in c.ISAS if c.runs(isa)]
    for isa in text.split(","):
        if isa not in c.ISAS:
            raise BadInput(f"--isa {isa}: this build has {', '.join(c.ISAS)}")
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
    Column("dtype", lambda p: arithmetic(p.measured.row), left=True),
    Column("chains", lambda p: str(p.measured.row["dims"]["chains"])),
    Column("lanes", lambda p: str(p.measured.row["dims"]["lanes"])),
    Column("best GFLOP/s", lambda p: f"{flops(p.measured.row) / p.measured.metrics['best_seconds'] / 1e9:.1f}"),
    Column(
        "FLOP/cycle/core",
        lambda p: f"{flop_per_cycle(p.measured.row, p.clock):.1f}",
        "FLOP/cycle/core: best over best clock. Where an ISA has no FMA, it is a multiply and an add.",
    ),
    Column("median [95 %]", lambda p: interval(p.measured.metrics["gflops"], 1)),
    Column("clock GHz", lambda p: f"{hertz(p.clock) / 1e9:.2f}"),
)


def _print(out: Console, metrics: Metrics) -> None:
    out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
    ticking = sorted((row for row in metrics.rows if makes(row, "clock")), key=hertz)
    clocks = {row["threads"]: row for row in ticking}  # of several, the one that came nearest
    entries = [Peak(Measured(*p), clocks[p[0]["threads"]]) for p in metrics.pairs if is_peak(p[0])]
    out.print(table("FMA peak", PEAKS, entries))
    out.print(trust_text(metrics))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("peak", "FMA peak per ISA and dtype, and the clock by dependent adds.")
    add_threads(parser)
    parser.add_argument("--isa", help="ISAs, separated by commas; all that run here if not given")
    add_dtypes(parser)
    add_seconds(parser, 0.2, "time for each of them")
    parser.add_save()
    options = parser.parse_args(arguments)
    isas = _isas(options.isa)
    with measuring("peak", options, options.threads, options.dtype, first="FMA peak") as session:
        measure(session, options.threads, isas, options.dtype, options.seconds)
    done = kept(session, options)
    metrics = done.metrics
    return shown(
        options, session.complete, metrics.record, lambda out: _print(out, metrics), done.saved, failed=done.failed
    )


if __name__ == "__main__":
    run(main)
