"""python -m bench.roofline FILE...: redraws the roofline and fits the ridges again, from records."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.cli import Parser, complain, run, shown
from bench.files import replacing
from bench.record.folder import named
from bench.record.store import derived_from, load
from bench.report.classes import classes, headline, members
from bench.report.screen import page, summary
from bench.report.words import answer


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("roofline", "Redraw the roofline and fit the ridges again, from the raw seconds of records.")
    parser.add_argument(
        "record", nargs="+", type=Path, help="records, or folders of them; several become several panels"
    )
    parser.add_argument("--rows", action="store_true", help="print all rows of kernels, too; the page has them")
    parser.add_picture("results/roofline")
    options = parser.parse_args(arguments)
    found = named(options.record, load)
    records = [metrics for _, metrics in found.kept]
    for one in found.refused:
        complain(f"{one.path}: {one.reason}")
    with derived_from(*options.record):
        text = Path(f"{options.picture}.md")
        document = {
            "page": str(text),
            "words": [answer(metrics) for metrics in records],
            "headlines": [short and short.as_dict() for short in map(headline, records)],
            "classes": [[one.as_dict() for one in classes(members(metrics))] for metrics in records],
            "figures": [metrics.as_dict() for metrics in records],
        }

        def show(out: Console) -> None:
            out.print(*(summary(metrics, options.rows) for metrics in records), sep="\n")

        def drawn() -> Sequence[Path]:
            from bench.report.roofline_plot import roofline

            with derived_from(*options.record):
                pictures = roofline(records, options.picture)
                with replacing(text) as handle:
                    handle.write("\n".join(page(metrics, pictures[:1]) for metrics in records))
                return [text, *pictures]

        return shown(options, True, document, show, draw=drawn, failed=bool(found.refused))


if __name__ == "__main__":
    run(main)
