"""ridgeline COMMAND: what python -m bench.COMMAND does, and `ridgeline bench`, the measuring session, in any folder."""

import os
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ridgeline import one_tree

OWN = Path(__file__).resolve().parents[1]


def main() -> None:
    """Runs the command that sys.argv names; without one, lists them. Exits as the command does, 2 if there is none."""
    one_tree(OWN)
    from bench import cli
    from bench.__main__ import commands, listed
    from bench.errors import plain

    cli.CALLED = "ridgeline "
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        cli.run(lambda _: listed("ridgeline bench", cli.CALLED))
    elif name == "--version":
        cli.run(lambda _: print(_version()))
    elif name == "bench":
        sys.exit(_session(arguments))
    elif name in commands():
        sys.argv[1:] = arguments
        runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
    else:
        print(f"ridgeline {plain(name)}: no such command; there are bench, {', '.join(commands())}", file=sys.stderr)
        sys.exit(2)


def _version() -> str:
    try:
        return f"ridgeline {version('ridgeline')}, {OWN}"
    except PackageNotFoundError:
        return f"ridgeline, a checkout that isn't installed, {OWN}"


def _session(arguments: list[str]) -> int:
    """pytest on bench/, wherever that is: with no settings of a project that the current folder may belong to."""
    try:
        import pytest
        import pytest_benchmark  # noqa: F401
    except ImportError as error:
        sys.exit(f"ridgeline bench: {error.name} isn't installed: pip install 'ridgeline[session]'")
    alone = ["-c", os.devnull, "--rootdir", os.curdir, "-p", "no:cacheprovider", "-p", "benchmark"]
    return int(pytest.main([*alone, "--benchmark-only", str(OWN / "bench"), *arguments]))


if __name__ == "__main__":
    main()
