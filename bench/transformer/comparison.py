"""Whole models beside the same ones in other libraries: --peers."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.cli import CUT_SHORT, console, shown
from bench.measure.run import measuring, take_part
from bench.models import libraries
from bench.report.text import machine_line, trust_text
from bench.transformer.libraries import OURS, LibraryLatency
from bench.transformer.tables import beside_table
from bench.transformer.tasks import Task
from kernels.verify import WrongResult


def beside(todo: Sequence[Task], options: Any) -> int:
    """Measures the tasks beside every library that is installed, and prints what came of it; returns the exit status.

    options: threads, seconds, weights and json as python -m bench.transformer has them. Raises BadInput where no
    library is.
    """
    present = take_part(libraries.missing(), libraries.present())
    names, latency = ", ".join(library.name for library in present), None
    try:
        with measuring("transformer", options, [options.threads], ["f32"], first="roofs") as session:
            latency = LibraryLatency(session, todo, options.threads, options.weights, present)
            latency.run(
                options.seconds,
                lambda took: f"{len(todo)} runs beside {names}: about {took / 60:.0f} min from here",
            )
    except WrongResult as error:
        console(stderr=True).print(str(error), style="red", markup=False)
        return 1
    rows = latency.rows() if latency else []
    if not rows:
        return CUT_SHORT
    metrics = session.metrics()
    used = {library.name: {"version": library.version(), "path": library.path} for library in present}
    best = ", ".join(
        f"{row['over_best']:.2f} ({row['model']}, {row['phase']}, {row['length']}: {row['best_library']})"
        for row in rows
    )

    def show(out: Console) -> None:
        out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
        out.print(beside_table(rows))
        for name, how in used.items():
            out.print(f"{name} {how['version']}: {how['path']}")
        out.print(f"C over the best library: {best}")
        out.print(f"Every result is within 1e-4 of {OURS}'s largest element, and every token the same.")
        out.print(trust_text(metrics))

    return shown(options, session.complete, {"latency": rows, "libraries": used, "roofs": metrics.record}, show)
