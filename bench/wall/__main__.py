"""python -m bench.wall [RECORD...]: how fast compute outgrew memory, and where this machine and others stand in it.

Fig. 1 and 2 of Gholami et al., "AI and Memory Wall" (2024), fitted again, with the measured peak, memory bandwidth and
ridge of every host. A host stands at the day of its record: when its CPU came out isn't known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output
from bench.host.placement import thread_counts
from bench.measure.session import Session
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.store import load, save
from bench.report.tables import table
from bench.report.text import interval
from bench.wall.growth import CAVEATS, MATRIX_UNITS, PRINTED, Series, balance, series, trend
from bench.wall.plot import draw, times

DTYPE = "f32"
MOST = 25  # records: every host has a letter, and the machine itself may come first
HOSTS = (
    f"{DTYPE} FMA peak, DRAM read bandwidth and their ratio, best of all samples, on the day of the record: "
    "CPUs' release dates aren't known here"
)


@dataclass(frozen=True)
class Host:
    """One machine on the day of its record: peak in FLOP/s, bandwidth in bytes/s, ridge in FLOP/byte, RAM in bytes."""

    label: str
    day: date
    threads: int
    isa: str
    peak: Interval
    bandwidth: Interval
    ridge: Interval
    memory: int | None
    trust: str

    def as_dict(self) -> dict[str, Any]:
        roofs = {name: getattr(self, name).as_dict() for name in ("peak", "bandwidth", "ridge")}
        return {**vars(self), **roofs, "day": self.day.isoformat(), "dtype": DTYPE}


def host(metrics: Metrics, source: str) -> Host:
    """The host of a record, at the most threads whose roofs it has. Raises BadInput, naming `source`, without any."""
    record = metrics.record
    for threads, roofs in sorted(metrics.roofs.items(), reverse=True):
        found = roofs.peak(DTYPE, record["session"]["isa"])
        if found and "DRAM" in roofs.bandwidths:
            isa, peak = found
            return Host(
                record["machine"]["cpu"]["model"] or record["machine"]["id"],
                date.fromisoformat(record["created"][:10]),
                threads,
                isa,
                peak,
                roofs.bandwidths["DRAM"],
                roofs.ridges[DTYPE, isa],
                record["machine"].get("memory_bytes"),
                metrics.trust["grade"],
            )
    raise BadInput(f"{source}: no thread count has both an {DTYPE} peak and a DRAM read roof")


def fitted() -> list[tuple[Series, float | None]]:
    """The series whose growth is told, each with the paper's own figure; None: it gives none."""
    known = series()
    told: list[tuple[Series, float | None]] = [(known[name], printed) for name, printed in PRINTED.items()]
    return [*told[:1], (known["peak FLOPS"].before(MATRIX_UNITS), None), *told[1:]]


def growth_rows() -> list[dict[str, Any]]:
    """Growth per two years of every fitted() series, beside the printed one."""
    rows = []
    for one, printed in fitted():
        fit = trend(one)
        rows.append(
            {
                "series": one.name,
                "unit": one.unit,
                "points": fit.points,
                "from": min(one.dates).isoformat(),
                "to": max(one.dates).isoformat(),
                "per_two_years": fit.rate.as_dict(),
                "printed": printed,
                "r_squared": fit.r_squared,
            }
        )
    return rows


def _growth_table(rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "Growth per two years",
        ("<series", "points", "<from", "<to", "fitted", "95 % interval", "printed", "R²"),
        caption=f"Least squares of log10(value) on date; interval of the slope by Student's t. Caveats: {CAVEATS}.",
    )
    for row in rows:
        rate = row["per_two_years"]
        made.add_row(
            row["series"],
            str(row["points"]),
            row["from"],
            row["to"],
            times(rate["value"]),
            f"{times(rate['low'])} to {times(rate['high'])}",
            f"{row['printed']:g}x" if row["printed"] else "-",
            f"{row['r_squared']:.2f}",
        )
    return made


def _hosts_table(hosts: Sequence[Host]) -> Table:
    made = table(
        "Hosts on these lines",
        (
            "<host",
            "<day",
            "threads",
            "<isa",
            "GFLOP/s",
            "of the line",
            "GB/s",
            "of the line",
            "ridge, FLOP/byte",
            "the lines' ratio",
            "<trust",
        ),
        caption=f"Hosts: {HOSTS}. of the line: over the fitted value of that day, which is an accelerator's and, "
        "since 2017, FP16's.",
    )
    known = series()
    for one in hosts:
        peak, memory = trend(known["peak FLOPS"]).at(one.day), trend(known["DRAM bandwidth"]).at(one.day)
        made.add_row(
            one.label,
            one.day.isoformat(),
            str(one.threads),
            one.isa,
            f"{one.peak.value / 1e9:.1f}",
            f"{one.peak.value / 1e9 / peak:.1e}",
            f"{one.bandwidth.value / 1e9:.1f}",
            f"{one.bandwidth.value / 1e9 / memory:.1e}",
            interval(one.ridge.as_dict()),
            f"{balance([one.day])[0]:.0f}",
            one.trust,
        )
    return made


def _measure(threads: int, record: Path | None) -> tuple[Metrics, bool]:
    """Roofs of this machine, by a short session, and whether it was left to finish."""
    out = console(stderr=True)
    with out.status("roofs") as status:
        session = Session("python -m bench.wall", [threads], (DTYPE,), lambda text: status.update(text))
        try:
            session.start()
            session.finish()
        except KeyboardInterrupt:
            out.print("interrupted: what was measured so far follows")
    metrics = session.metrics()
    if record:
        save(metrics.record, record)
    return metrics, session.complete


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("wall", 'Fig. 1 and 2 of the paper "AI and Memory Wall", fitted again, with this machine on them.')
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="one more host each, then not measured")
    parser.add_argument("--measure", action="store_true", help="measure this machine although records are given")
    parser.add_argument("--threads", default="all", help="one thread count; all: one per physical core")
    parser.add_argument("--record", type=output, help="write the record of this machine here")
    parser.add_argument("--picture", type=output, default=Path("results/wall"), help="without .png and .svg")
    options = parser.parse_args(arguments)
    if len(options.records) > MOST:
        raise BadInput(f"{len(options.records)} records: at most {MOST} can be told apart in the picture")
    hosts = [host(load(path), str(path)) for path in options.records]
    complete = True
    if options.measure or not options.records:
        counts = thread_counts(options.threads)
        if len(counts) != 1:
            raise BadInput(f"--threads {options.threads}: one thread count")
        metrics, complete = _measure(counts[0], options.record)
        hosts.insert(0, host(metrics, "this session, cut short" if not complete else "this session"))
    elif options.record:
        raise BadInput(f"--record {options.record}: nothing is measured; add --measure")
    pictures = draw(hosts, options.picture, HOSTS)
    if options.json:
        document = {"growth": growth_rows(), "hosts": [one.as_dict() for one in hosts], "caveats": [CAVEATS, HOSTS]}
        print_json({**document, "pictures": list(map(str, pictures))})
    else:
        console().print(_growth_table(growth_rows()))
        console().print(_hosts_table(hosts))
        print(*(f"picture: {path}" for path in pictures), sep="\n")
    return 0 if complete else 130


if __name__ == "__main__":
    run(main)
