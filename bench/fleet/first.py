"""What rank 0 does besides its own session: it refuses what can't work, gathers, and shows all at the end."""

from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import complain, console, drawn, output_folder, shown
from bench.errors import BadInput, plain
from bench.files import replacing
from bench.fleet.folder import Folder
from bench.fleet.gathering import Gathering, gather
from bench.fleet.rank import ALIKE, Post, Rank
from bench.fleet.session import refused
from bench.fleet.tables import RANKS, failures, lines
from bench.progress import Bar
from bench.record.store import derived_from
from bench.report.page.columns import report
from bench.report.page.writers import WRITERS
from bench.report.tables import table

PAGE = "report.html"


def gathered(options: Any, post: Post, ranks: int, rank: Rank) -> Gathering:
    """Raises BadInput, before anything is measured, for folders and options of the session that won't do."""
    output_folder(options.results)
    folder = Folder(output_folder(options.gathered), ranks)
    if why := refused(options.results, options.session):
        raise BadInput(f"no session starts with these options: {why}")
    err = console(stderr=True)
    bar = Bar(err)
    for _, judged in folder.settle():
        err.print(plain(f"{judged.path}: left unchecked before: {judged.reason or 'good'}"))
    present = folder.present() if options.missing else {}
    gathering = Gathering(ranks, folder, ALIKE[options.turns], present, err.print, bar)
    try:
        gather(post, rank, gathering)
    finally:
        bar.close()
    return gathering


def shown_all(options: Any, gathering: Gathering) -> int:
    found = lines(gathering)
    page = options.gathered / PAGE
    failed = failures(found)

    def draw() -> list[Path]:
        """Of all records in the folder, also those of earlier starts."""
        with derived_from(options.gathered):
            text = WRITERS[page.suffix](report([options.gathered]))
        with replacing(page) as handle:
            handle.write(text)
        return [page]

    written, undrawn = drawn(draw) if any(line.machine for line in found) else ([], False)
    document = {
        "folder": str(options.gathered),
        "page": str(page) if written else None,
        "complete": not gathering.interrupted,
        "hosts": [line.as_dict() for line in found],
    }

    def print_(out: Console) -> None:
        out.print(table("Fleet", RANKS, found))
        for path in written:
            out.print(f"page: {plain(path)}")

    for line in failed:
        complain(line)
    status = shown(options, not gathering.interrupted, document, print_, failed=undrawn)
    return status or (1 if failed else 0)
