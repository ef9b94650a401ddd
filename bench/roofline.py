"""python -m bench.roofline FILE...: redraws the roofline and fits the ridges again, from records."""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import Parser, run, shown
from bench.record.store import derived_from, load
from bench.report.roofline_plot import roofline
from bench.report.tables import summary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("roofline", "Redraw the roofline and fit the ridges again, from the raw seconds of records.")
    parser.add_argument("record", nargs="+", type=Path, help="record to draw; several become several panels")
    parser.add_picture("results/roofline")
    options = parser.parse_args(arguments)
    records = [load(path) for path in options.record]
    with derived_from(*options.record):
        pictures = roofline(records, options.picture)
        document = {"pictures": list(map(str, pictures)), "figures": [metrics.as_dict() for metrics in records]}
        return shown(
            options, True, document, lambda out: out.print(*map(summary, records), sep="\n"), pictures=pictures
        )


if __name__ == "__main__":
    run(main)
