"""python -m bench.roofline FILE...: redraws the roofline and fits the ridges again, from records."""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.record.store import load
from bench.report.roofline_plot import roofline
from bench.report.tables import summary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("roofline", "Redraw the roofline and fit the ridges again, from the raw seconds of records.")
    parser.add_argument("record", nargs="+", type=Path, help="record to draw; several become several panels")
    parser.add_picture("results/roofline")
    options = parser.parse_args(arguments)
    records = [load(path) for path in options.record]
    try:
        paths = roofline(records, options.picture)
    except ValueError as error:
        raise BadInput(f"{', '.join(map(str, options.record))}: {error}") from error
    if options.json:
        print_json({"pictures": list(map(str, paths)), "figures": [metrics.as_dict() for metrics in records]})
        return 0
    for metrics in records:
        console().print(summary(metrics))
    print(*(f"picture: {path}" for path in paths), sep="\n")
    return 0


if __name__ == "__main__":
    run(main)
