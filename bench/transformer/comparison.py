"""Whole models: this project's beside the same ones in other libraries, as a table."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.cli import console, print_json
from bench.errors import BadInput
from bench.measure.session import Session
from bench.models import libraries
from bench.report.tables import table
from bench.report.text import interval, machine_line, trust_text
from bench.transformer.latency import Task
from bench.transformer.libraries import OURS, PeerLatency
from kernels.backends.libraries import PIP
from kernels.verify import WrongResult


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    threads = rows[0]["threads"]
    made = table(
        f"Latency beside other libraries, {threads} thread{'s' * (threads > 1)}, f32",
        ("<model", "<phase", "tokens", "<by", "ms [95 %]", "tokens/s", "% of peak", "% of read", "C / it"),
        caption="Medians of samples taken in turn. % of peak and of read: the FLOPs and the bytes from memory that C "
        "executes, over each one's time, beside this session's FMA peak and read bandwidth. C / it: how many times its "
        "speed C's is; of the fastest library in colour. decode: all tokens one by one, from an empty cache.",
    )
    for row in rows:
        made.add_section()
        head = [row["model"], row["phase"], str(row["length"])]
        for name, figure in row["seconds"].items():
            over = row["seconds"][OURS]["value"]
            colour = "" if name != row["best_library"] else "bold green" if row["over_best"] >= 1 else "bold red"
            made.add_row(
                *head,
                name,
                interval({key: 1e3 * value for key, value in figure.items()}, 1),
                f"{row['tokens_per_second'][name]:,.1f}",
                f"{100 * row['share_of_peak'][name]:.0f}",
                f"{100 * row['share_of_read'][name]:.0f}",
                Text("" if name == OURS else f"{figure['value'] / over:.2f}", style=colour),
            )
            head = [""] * 3
    return made


def beside(todo: Sequence[Task], options: Any, threads: int) -> int:
    """Measures the tasks beside every library that is installed, and prints what came of it; returns the exit status.

    options: seconds, weights and json as python -m bench.transformer has them. Raises BadInput where no library is.
    """
    out = console(stderr=True)
    for line in libraries.missing():
        out.print(f"left out: {line}", style="yellow", markup=False)
    present = libraries.present()
    if not present:
        raise BadInput(f"none of the libraries is installed: {PIP}")
    names = ", ".join(library.name for library in present)
    with out.status("roofs") as now:
        session = Session("python -m bench.transformer --peers", [threads], ["f32"], now.update)
        latency = PeerLatency(session, todo, threads, options.weights, present)
        try:
            status = latency.run(
                options.seconds,
                lambda took: f"{len(todo)} runs beside {names}: about {took / 60:.0f} min from here",
                now.update,
            )
        except WrongResult as error:
            out.print(str(error), style="red", markup=False)
            return 1
        finally:
            session.dismiss()
        metrics, rows = session.metrics(), latency.rows()
        record = metrics.record
    if not rows:
        return status
    used = {library.name: {"version": library.version(), "path": library.path} for library in present}
    if options.json:
        print_json({"latency": rows, "libraries": used, "roofs": record})
        return status
    plain = console()
    plain.print(machine_line(record["machine"], record["session"]))
    plain.print(_table(rows))
    for name, how in used.items():
        plain.print(f"{name} {how['version']}: {how['path']}")
    best = ", ".join(
        f"{row['over_best']:.2f} ({row['model']}, {row['phase']}, {row['length']}: {row['best_library']})"
        for row in rows
    )
    plain.print(f"C over the best library: {best}")
    plain.print(f"Every result is within 1e-4 of {OURS}'s largest element, and every token the same.")
    plain.print(trust_text(metrics))
    return status
