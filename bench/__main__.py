"""python -m bench: the commands, each with the first line of its help."""

import ast
from collections.abc import Sequence
from importlib.resources import files

from bench.cli import CALLED, console, run
from bench.report.columns import Column
from bench.report.tables import table


def commands() -> dict[str, str]:
    """name -> the first line of its docstring: the modules and folders of this package that can be run."""
    found = {}
    for path in sorted(files("bench").iterdir(), key=lambda p: p.name):
        code = path / "__main__.py" if path.is_dir() else path
        if path.name != "__main__.py" and code.name.endswith(".py") and code.is_file():
            text = code.read_text(encoding="utf-8")
            if 'if __name__ == "__main__":' in text:
                doc = ast.get_docstring(ast.parse(text)) or ""
                found[path.name.removesuffix(".py")] = doc.split("\n")[0].split(": ", 1)[-1]
    return found


COMMANDS: Sequence[Column[tuple[str, str]]] = (
    Column("command", lambda c: c[0], "each has --help and --json", left=True),
    Column("", lambda c: c[1], left=True),
)
SESSION = "the whole session: roofs, kernels on layer shapes, ridge, picture, record"


def listed(session: str = "pytest bench/ --benchmark-only", called: str = CALLED) -> None:
    """Prints how the session and each command is called."""
    entries = [(session, SESSION), *((f"{called}{name}", line) for name, line in commands().items())]
    console().print(table("Ridgeline", COMMANDS, entries))


if __name__ == "__main__":
    run(lambda _: listed())
