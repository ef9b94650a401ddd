"""python -m bench.compare A B...: machines, or two days of one machine, side by side.

The first record is the yardstick. Raw ratios compare the machines; shares of each one's own roof compare how well the
kernels use them. faster and slower are said only where the intervals of the medians don't overlap.
"""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.probes import LOOPS
from bench.record.row import Row, types_label
from bench.record.store import load
from bench.report.columns import COMPARED, RECORDS_RIDGES
from bench.report.tables import ridges_of, table
from bench.report.text import machine_line, trust_text

SHAPE = ("kind", "operation", "types", "backend", "isa", "threads", "dims", "layers", "level", "cold")


def key(row: Row) -> tuple[Any, ...]:
    """What makes rows of two records the same measurement: everything but the ISA, which is the machine's."""
    dims = {name: size for name, size in row["dims"].items() if row["kind"] == "kernel"}
    return (
        row["operation"],
        types_label(row),
        row["backend"],
        row["threads"],
        row["level"],
        bool(row["cold"]),
        *sorted(dims.items()),
    )


def placement(metrics: Metrics, threads: int) -> str:
    """Where the threads ran, as far as it decides the bandwidth: the round trip between their CPUs, in classes.

    Under 40 ns two logical CPUs share a core, under 120 ns an L3; beyond, neither.
    """
    if threads == 1:
        return "one CPU"
    times = [p["seconds"] for p in metrics.record["session"]["pings"] if p["seconds"]]
    if not times:
        return "distance unknown"
    worst = max(times)
    return "one core" if worst < 40e-9 else "one L3" if worst < 120e-9 else "several L3s"


def verdict(ours: Interval, theirs: Interval) -> str:
    """faster, slower or same, of `theirs` against `ours`, both in seconds."""
    if ours.overlaps(theirs):
        return "same"
    return "faster" if theirs.value < ours.value else "slower"


def compare(records: Sequence[Metrics]) -> list[dict[str, Any]]:
    """One entry per measurement that the first record shares with another: times, ratio, shares of roof, verdict."""
    base = records[0]
    ours = {key(row): (row, f) for row, f in base.pairs if row["operation"] not in LOOPS}
    found = []
    for number, other in enumerate(records[1:], 1):
        for row, theirs in other.pairs:
            match = ours.get(key(row))
            if match is None or (row["kind"] == "probe" and row["dims"] != match[0]["dims"]):
                continue
            mine = match[1]
            a, b = Interval(**mine["seconds"]), Interval(**theirs["seconds"])
            same_place = placement(base, row["threads"]) == placement(other, row["threads"])
            found.append(
                {
                    "record": number,
                    "row": {name: value for name, value in row.items() if name in SHAPE},
                    "seconds": [a.as_dict(), b.as_dict()],
                    "ratio": a.value / b.value,
                    "percent_of_roof": [mine.get("percent_of_roof"), theirs.get("percent_of_roof")],
                    "bound": [mine.get("verdict"), theirs.get("verdict")],
                    "verdict": verdict(a, b),
                    "placements": [placement(base, row["threads"]), placement(other, row["threads"])],
                    "same_placement": same_place,
                }
            )
    return found


def _print(paths: Sequence[Path], records: Sequence[Metrics], rows: Sequence[dict[str, Any]]) -> None:
    out = console()
    for letter, path, metrics in zip(ascii_uppercase, paths, records, strict=False):
        out.print(f"{letter}: {path}: {machine_line(metrics.record['machine'], metrics.record['session'])}")
        out.print(trust_text(metrics))
    ridges = [one for letter, m in zip(ascii_uppercase, records, strict=False) for one in ridges_of(m, letter)]
    out.print(table("Ridges, in FLOP/byte", RECORDS_RIDGES, ridges))
    out.print(table("Measurements", COMPARED, rows))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("compare", "Lay records side by side; the first one is what the others are compared with.")
    parser.add_argument("record", nargs="+", type=Path, help="two to twenty-six records")
    options = parser.parse_args(arguments)
    if not 2 <= len(options.record) <= 26:
        raise BadInput(f"compare takes 2 to 26 records, not {len(options.record)}")
    records = [load(path) for path in options.record]
    rows = compare(records)
    if not rows:
        raise BadInput("the records share no measurement")
    if options.json:
        heads = [
            {
                "file": str(p),
                "machine": f.record["machine"]["id"],
                **{k: v for k, v in f.as_dict().items() if k != "rows"},
            }
            for p, f in zip(options.record, records, strict=True)
        ]
        print_json({"records": heads, "rows": rows})
    else:
        _print(options.record, records, rows)
    return 0


if __name__ == "__main__":
    run(main)
