"""python -m bench.ab A B: did my change help? Two builds of the kernels, timed in turn.

A and B are folders with kernels/ in them ("." is the working tree as it is) or revisions of this checkout, which are
compiled once and kept in ~/.cache/ridgeline/ab. Each runs in processes of its own, with the same operands, and its
results are checked first. Exit status: 0, whatever is found; 1 with --fail-slower where B is slower; 2 for input that
can't be used, wrong results included; 130 after Ctrl-C.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from bench.ab import builds, cases, tables
from bench.ab.judging import as_dict, judge
from bench.ab.measuring import Row, measure
from bench.cli import CUT_SHORT, Parser, console, print_json, run
from bench.errors import BadInput
from bench.measure.run import Interruptible, NothingMeasured
from bench.options import add_dtype, add_seconds, add_thread_count
from bench.progress import Bar

BACKENDS = ("c", "numba")
VISITS = 6
MOST_VISITS = 100


def _backends(text: str) -> list[str]:
    found = text.split(",")
    if set(found) - set(BACKENDS):
        raise BadInput(f"--backend {text}: {', '.join(BACKENDS)} or {','.join(BACKENDS)}")
    return found


def _visits(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= MOST_VISITS:
        raise BadInput(f"--visits {text}: 2 to {MOST_VISITS}")
    return int(text)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 50:
        raise BadInput(f"--threshold {text}: per cent, 0 to 50")
    return value


def _parser() -> Parser:
    parser = Parser("ab", "Did my change help? Two builds of the kernels, timed in turn.")
    for name in ("A", "B"):
        parser.add_argument(name, help="a folder with kernels/ in it, or a revision of this checkout")
    what = "as in 'gemm*,softmax'; without: a minute's worth"
    parser.add_argument("-k", dest="chosen", metavar="OPERATIONS", help=what)
    add_thread_count(parser, "1")
    add_dtype(parser)
    parser.add_argument("--backend", type=_backends, default="c", help="c, numba or c,numba")
    add_seconds(parser, 3, "measuring time per row, of both builds and all visits")
    what = "passes over all rows, each with new processes"
    parser.add_argument("--visits", type=_visits, default=str(VISITS), help=what)
    parser.add_argument("--threshold", type=_threshold, default="2", help="per cent that don't matter")
    parser.shapes.add_argument("--markdown", action="store_true", help="print Markdown to stdout instead of tables")
    parser.add_argument("--fail-slower", action="store_true", help="exit with 1 where B is slower in anything")
    return parser


def _document(options: Any, both: Sequence[builds.Build], page: Any, left_out: Sequence[Row], complete: bool) -> Any:
    sides = {
        letter: {"given": b.given, "tree": str(b.tree), "commit": b.commit, "module": str(b.module), "sha256": b.sha256}
        for letter, b in zip("AB", both, strict=True)
    }
    given = {name: getattr(options, name) for name in ("threads", "dtype", "backend", "visits", "seconds", "threshold")}
    kernels = [
        {"operation": operation, "backend": backend, **verdict.as_dict()}
        for (operation, backend), verdict in page.kernels.items()
    ]
    rows = [as_dict(row, verdict) for row, verdict in page.rows]
    left = [as_dict(row) for row in left_out]
    return {"builds": sides, "options": given, "complete": complete, "kernels": kernels, "rows": rows, "left_out": left}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    wanted = cases.cases(options.chosen)
    out = console(stderr=True)
    both = [builds.find(given, lambda text: out.print(text, markup=False)) for given in (options.A, options.B)]
    for line in tables.warnings(both):
        out.print(line, style="yellow", markup=False)
    rows = [Row(case, backend) for backend in options.backend for case in wanted]
    block, bar = Interruptible(), Bar(out)
    with block, closing(bar):
        measure(both, rows, options.dtype, options.threads, options.visits, options.seconds, bar)
    page = judge(rows, options.threshold)
    judged = [id(row) for row, _ in page.rows]
    left_out = [row for row in rows if id(row) not in judged]
    if not page.rows and not any(row.missing for row in rows):
        raise NothingMeasured
    if options.json:
        print_json(_document(options, both, page, left_out, block.complete))
    elif options.markdown:
        print(tables.as_markdown(both, page, left_out, options.threshold))
    else:
        tables.show(console(), both, page, left_out, options.threshold)
    if not block.complete:
        return CUT_SHORT
    if not page.rows:
        raise BadInput("A and B share no kernel that could be compared")
    return int(options.fail_slower and "slower" in page.words)


if __name__ == "__main__":
    run(main)
