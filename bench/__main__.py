"""python -m bench: the commands, each with the first line of its help."""

import ast
from importlib.resources import files

from bench.cli import console
from bench.report.tables import table


def commands() -> dict[str, str]:
    """name -> the first line of its docstring: the modules and folders of this package that can be run."""
    found = {}
    for path in sorted(files("bench").iterdir(), key=lambda p: p.name):
        code = path / "__main__.py" if path.is_dir() else path
        if path.name != "__main__.py" and code.name.endswith(".py") and code.is_file():
            text = code.read_text()
            if 'if __name__ == "__main__":' in text:
                doc = ast.get_docstring(ast.parse(text)) or ""
                found[path.name.removesuffix(".py")] = doc.split("\n")[0].split(": ", 1)[-1]
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
