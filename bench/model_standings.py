"""Where whole models stand: this project's beside the same ones in other libraries, as a table."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench import peer_models
from bench.cli import BadInput, console, print_json
from bench.figures import Figures
from bench.latency import Task
from bench.peer_latency import OURS, PeerLatency
from bench.report import interval, machine_line, table, trust_text
from bench.session import Session
from kernels.peers import PIP
from kernels.reference import WrongResult


def _table(rows: Sequence[dict[str, Any]], threads: int) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
    made = table(
        f"Latency beside other libraries, {threads} thread{'s' * (threads > 1)}, f32",
        ("<model", "<phase", "tokens", "<", *names, "C / best", "<best library"),
        caption="ms: medians [95 %] of samples taken in turn. C / best: speed of C over the fastest library's. "
        "% of peak, % of read: the FLOPs and the bytes from memory that C executes, over each one's time, beside this "
        "session's FMA peak and read bandwidth. decode: all tokens one by one, from an empty cache.",
    )
    for row in rows:
        decode = row["phase"] == "decode"
        share, what = ("share_of_read", "% of read") if decode else ("share_of_peak", "% of peak")
        milliseconds = {name: {k: 1e3 * x for k, x in row["seconds"].get(name, {}).items()} for name in names}
        lines = [
            ("ms", [interval(x, 1) if x else "-" for x in milliseconds.values()]),
            (what, [f"{100 * row[share][name]:.0f}" if name in row[share] else "-" for name in names]),
        ]
        if decode:
            rates = row["tokens_per_second"]
            lines.append(("tokens/s", [f"{rates[name]:.1f}" if name in rates else "-" for name in names]))
        for i, (unit, cells) in enumerate(lines):
            what_is_it = (row["model"], row["phase"], str(row["length"])) if i == 0 else ("", "", "")
            better = Text(f"{row['over_best']:.2f}", style="green" if row["over_best"] >= 1 else "red")
            ends = (better, row["best_library"]) if i == 0 else ("", "")
            made.add_row(*what_is_it, unit, *cells, *ends)
    return made


def beside(todo: Sequence[Task], options: Any, threads: int) -> int:
    """Measures the tasks beside every library that is installed, and prints what came of it; returns the exit status.

    options: seconds, weights and json as python -m bench.transformer has them. Raises BadInput where no library is.
    """
    out = console(stderr=True)
    for line in peer_models.missing():
        out.print(f"left out: {line}", style="yellow", markup=False)
    libraries = peer_models.present()
    if not libraries:
        raise BadInput(f"none of the libraries is installed: {PIP}")
    status = 0
    with out.status("roofs") as now:
        session = Session("python -m bench.transformer --peers", [threads], ["f32"], now.update)
        latency = PeerLatency(session, todo, threads, options.weights, libraries)
        try:
            session.start()
            out.print(
                f"{len(todo)} runs beside {', '.join(library.name for library in libraries)}: about "
                f"{latency.estimate(options.seconds) / 60:.0f} min from here"
            )
            for i, task in enumerate(latency.measure(options.seconds), 1):
                now.update(f"[{i}/{len(todo)}] {task.label}")
            session.finish()
        except KeyboardInterrupt:
            status = 130
            out.print("interrupted: what was measured so far follows")
        except WrongResult as error:
            out.print(str(error), style="red", markup=False)
            return 1
        finally:
            session.dismiss()
        record, rows = session.record(), latency.rows()
    if not rows:
        return status
    used = {library.name: {"version": library.version(), "path": library.path} for library in libraries}
    if options.json:
        print_json({"latency": rows, "libraries": used, "roofs": record})
        return status
    plain = console()
    plain.print(machine_line(record["machine"], record["session"]))
    plain.print(_table(rows, threads))
    for name, how in used.items():
        plain.print(f"{name} {how['version']}: {how['path']}")
    plain.print(f"Every result is within 1e-4 of {OURS}'s largest element, and every token the same.")
    plain.print(trust_text(Figures(record)))
    return status
