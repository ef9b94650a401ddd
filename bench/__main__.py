"""python -m bench: the commands, each with the first line of its help."""

import ast
from importlib.resources import files

from bench.cli import console
from bench.report import table


def commands() -> dict[str, str]:
    """name -> what it does: the modules of this package that can be run, with the first line of their docstrings."""
    found = {}
    for path in sorted(files("bench").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".py") and path.name != "__main__.py":
            text = path.read_text()
            if 'if __name__ == "__main__":' in text:
                doc = ast.get_docstring(ast.parse(text)) or ""
                found[path.name[:-3]] = doc.split("\n")[0].split(": ", 1)[-1]
    return found


def main() -> None:
    made = table("Ridgeline", ("<command", "<"), caption="each has --help and --json")
    made.add_row(
        "pytest bench/ --benchmark-only", "the whole session: roofs, kernels on layer shapes, ridge, picture, record"
    )
    for name, line in commands().items():
        made.add_row(f"python -m bench.{name}", line)
    console().print(made)


if __name__ == "__main__":
    main()
