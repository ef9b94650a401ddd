"""python -m bench.peak: the FMA peak of every ISA that runs here, f32 and f64, and the clock, from dependent adds.

FLOP per cycle and core is the figure to check: two FMA pipes of v lanes give 4 v (32 for f32 with 256-bit vectors).
"""

from collections.abc import Sequence

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output
from bench.host.placement import isa_in_use, pinned, thread_counts
from bench.measure.probes import clock_probe, fma_probe
from bench.measure.session import Session
from bench.measure.timing import interleave
from bench.record.metrics import Metrics
from bench.record.row import Row, call_seconds, flops
from bench.record.store import save
from bench.report.tables import table
from bench.report.text import interval, machine_line, trust_text
from kernels.backends import c
from kernels.types import DTYPES


def flop_per_cycle(row: Row, clock: Row) -> float:
    """FLOP per cycle and thread: best of the peak over best of the clock, both measured in the same rounds."""
    hertz = clock["dims"]["adds"] / min(call_seconds(clock))
    return flops(row) / min(call_seconds(row)) / hertz / row["threads"]


def measure(session: Session, threads: int, isas: Sequence[str], dtypes: Sequence[str], budget: float) -> None:
    """Adds a row per ISA and dtype, and one of the clock, interleaved, to the session."""
    probes = [fma_probe(threads, dtype, isa) for isa in isas for dtype in dtypes]
    probes.append(clock_probe(threads))
    with pinned(threads), session.watched():
        session.add_samples(probes, interleave([p.variant for p in probes], budget))
    session.rows += [p.row for p in probes]


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


def _print(metrics: Metrics) -> None:
    record = metrics.record
    out = console()
    out.print(machine_line(record["machine"], record["session"]))
    made = table(
        "FMA peak",
        (
            "threads",
            "<isa",
            "<dtype",
            "chains",
            "lanes",
            "best GFLOP/s",
            "FLOP/cycle/core",
            "median [95 %]",
            "clock GHz",
        ),
    )
    clocks = {row["threads"]: row for row in metrics.rows if row["operation"] == "adds"}
    for row, f in metrics.pairs:
        if row["operation"] != "fma":
            continue
        clock = clocks[row["threads"]]
        hertz = clock["dims"]["adds"] / min(call_seconds(clock))
        made.add_row(
            str(row["threads"]),
            row["isa"],
            row["dtype"],
            str(row["dims"]["chains"]),
            str(row["dims"]["lanes"]),
            f"{flops(row) / f['best_seconds'] / 1e9:.1f}",
            f"{flop_per_cycle(row, clock):.1f}",
            interval(f["gflops"], 1),
            f"{hertz / 1e9:.2f}",
        )
    out.print(made)
    out.print(trust_text(metrics))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("peak", "FMA peak per ISA and dtype, and the clock by dependent adds.")
    parser.add_argument("--threads", default="1,all", help="thread counts; all: one per physical core")
    parser.add_argument("--isa", help="ISAs, separated by commas; all that run here if not given")
    parser.add_argument("--dtype", default="f32,f64", help="f32, f64 or both")
    parser.add_argument("--seconds", type=float, default=0.2, help="time for each of them")
    parser.add_argument("--record", type=output, help="write the record here")
    options = parser.parse_args(arguments)
    counts, isas, dtypes = thread_counts(options.threads), _isas(options.isa), options.dtype.split(",")
    if set(dtypes) - set(DTYPES):
        raise BadInput(f"--dtype {options.dtype}: f32, f64 or f32,f64")
    if not 0 < options.seconds <= 60:
        raise BadInput(f"--seconds {options.seconds:g}: more than 0, at most 60")
    session = Session("python -m bench.peak", counts, dtypes)
    try:
        with console(stderr=True).status("FMA peak"):
            for threads in counts:
                measure(session, threads, isas, dtypes, options.seconds)
        session.complete = True
    except KeyboardInterrupt:
        console(stderr=True).print("interrupted: what was measured so far follows")
    metrics = session.metrics()
    if options.record:
        save(metrics.record, options.record)
    if options.json:
        print_json(metrics.record)
    else:
        _print(metrics)
    return 0 if session.complete else 130


if __name__ == "__main__":
    run(main)
