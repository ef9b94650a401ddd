"""python -m bench.report FILE|FOLDER... -o report.html: many machines on one page, made from records, never measured.

The suffix says what is written: .html one page that needs no network, .md the same as text, .csv the table of kernels,
.svg and .pgf the rooflines for a paper.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import MADE, Parser, complain, output, print_json, run
from bench.errors import BadInput, plain
from bench.files import replacing
from bench.quantities import plural
from bench.record.folder import in_short
from bench.record.store import derived_from
from bench.report.page.columns import report
from bench.report.page.words import answer
from bench.report.page.writers import WRITERS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("report", "One page of many machines: roofs, ridges, kernels, what differs, from records.")
    parser.add_argument("record", nargs="+", type=Path, help="records, or folders of them")
    parser.add_argument("--base", metavar="FILE|MACHINE", help="what the others are compared with; the first record")
    known = ", ".join(WRITERS)
    parser.add_argument(
        "-o", dest="output", type=output, required=True, metavar="FILE", help=f"to write: {known}; {MADE}"
    )
    options = parser.parse_args(arguments)
    write = WRITERS.get(options.output.suffix)
    if write is None:
        raise BadInput(f"-o {options.output}: its suffix is none of {known}")
    with derived_from(*options.record):
        found = report(options.record, options.base)
        text = write(found)
        said = answer(found)
    for one in found.refused:
        complain(f"{one.path}: {one.reason}")
    if found.copies:
        complain(in_short(found.copies))
    with replacing(options.output) as handle:
        handle.write(text)
    if options.json:
        machines = [{"letter": m.letter, "name": m.name, "file": m.session.name} for m in found.machines]
        refused = [{"file": str(one.path), "reason": one.reason} for one in found.refused]
        written = {"file": str(options.output), "bytes": len(text.encode()), "records": len(found.sessions)}
        print_json({**written, "machines": machines, "refused": refused, "words": said})
    else:
        names = (f"{m.letter}: {m.name}, {m.session.name}" for m in found.machines)
        count = len(found.sessions)
        size = f"{plural(count, 'record')}, {len(text.encode()) / 1000:.0f} kB"
        lines = [*names, *said, f"{options.output}: {size}"]
        print(*map(plain, lines), sep="\n")
    return 2 if found.refused else 0


if __name__ == "__main__":
    run(main)
