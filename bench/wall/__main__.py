"""python -m bench.wall [RECORD...]: how fast compute outgrew memory, and where this machine and others stand in it.

Fig. 1 and 2 of Gholami et al., "AI and Memory Wall" (2024), fitted again, with the measured peak, memory bandwidth and
ridge of every host. A host stands at the day of its record: when its CPU came out isn't known here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, complain, run, shown
from bench.errors import BadInput
from bench.files import result_path
from bench.options import add_thread_count
from bench.quantities import plural
from bench.record.folder import named
from bench.record.store import derived_from, load
from bench.report.tables import table
from bench.wall.growth import CAVEATS, growth_rows
from bench.wall.hosts import DTYPE, SOURCE, has_roofs, host
from bench.wall.tables import GROWTH, HOSTS

MOST = 25  # records: every host has a letter, and the machine itself may come first


def _measured(options: Any) -> Any:
    """bench.measure.run.Kept: roofs of this machine, by a short session, in visits."""
    from bench.measure.run import kept, measuring  # records are drawn where nothing was compiled

    with measuring("wall", options, [options.threads], [DTYPE], first="roofs") as session:
        session.start()
        session.run((), 0)
        session.finish()
    return kept(session, options, "-wall", has_roofs)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("wall", 'Fig. 1 and 2 of the paper "AI and Memory Wall", fitted again, with this machine on them.')
    parser.add_argument(
        "records",
        nargs="*",
        type=Path,
        metavar="RECORD",
        help="one more host each, or a folder of them, then not measured",
    )
    parser.add_argument("--measure", action="store_true", help="measure this machine although records are given")
    add_thread_count(parser)
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    options = parser.parse_args(arguments)
    found = named(options.records, load)
    if len(found.kept) > MOST:
        raise BadInput(f"{plural(len(found.kept), 'record')}: at most {MOST} can be told apart in the picture")
    for one in found.refused:
        complain(f"{one.path}: {one.reason}")
    with derived_from(*options.records):
        hosts = [host(metrics, str(path)) for path, metrics in found.kept]
    complete, done = True, None
    if options.measure or not options.records:
        done = _measured(options)
        complete = done.metrics.record["complete"]
        hosts.insert(0, host(done.metrics, "this session" if complete else "this session, cut short"))
    else:
        shows = ("help", "json", "records", "measure", "results", "picture")
        parser.refuse_beside("RECORD without --measure", options, parser.parse_args([]), shows)

    def drawn() -> Sequence[Path]:
        from bench.wall.plot import draw

        machine = found.kept[0][1].record["machine"]["id"] if found.kept else ""
        stem = done.stem if done else result_path(options.results, machine, "-wall").with_suffix("")
        with derived_from(*options.records):
            return draw(hosts, options.picture or stem)

    document = {
        "growth": growth_rows(),
        "hosts": [one.as_dict() for one in hosts],
        "caveats": [CAVEATS, SOURCE],
    }

    def show(out: Console) -> None:
        out.print(table("Growth per two years", GROWTH, growth_rows()))
        out.print(table("Hosts on these lines", HOSTS, hosts))

    return shown(
        options, complete, document, show, done and done.saved, drawn, bool(found.refused or (done and done.failed))
    )


if __name__ == "__main__":
    run(main)
