"""What every command shares: one line for bad input, JSON on request, Ctrl-C, files written whole or not at all."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console


class BadInput(Exception):
    """The user's input can't be used; the message is the one line they see."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line; every command also takes --json."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"python -m bench.{command}",
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        self.add_argument("--json", action="store_true", help="print JSON to stdout instead of tables")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    """Runs a command's main() as a process: exit 2 on bad input, 1 on a failed check, 130 on Ctrl-C."""
    command = Path(sys.argv[0]).stem
    try:
        sys.exit(main(None) or 0)
    except BadInput as error:
        sys.exit(_complain(command, str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_complain(command, "interrupted", 130))
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _complain(command: str, message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"bench.{command}: {line}", file=sys.stderr)
    return status


def console(stderr: bool = False) -> Console:
    """A rich console: as wide as the terminal, or 180 columns where the output is no terminal."""
    plain = Console(stderr=stderr, highlight=False)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, width=180)


def print_json(value: Any) -> None:
    """Prints one JSON document to stdout."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def output(text: str) -> Path:
    """An option's value as a file to write, missing folders included. Raises BadInput where it can't be written, so
    that nothing is measured in vain.
    """
    path = Path(text)
    _check_writable(path, path.absolute().parents)
    return path


def output_folder(text: str | Path) -> Path:
    """The same for a folder of files."""
    path = Path(text)
    _check_writable(path, [path.absolute(), *path.absolute().parents])
    return path


def _check_writable(path: Path, folders: Sequence[Path]) -> None:
    """Raises BadInput, naming the path, where files can't be made in the first of the folders that exists."""
    folder = next(folder for folder in folders if folder.exists())
    if not folder.is_dir():
        raise BadInput(f"can't write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"can't write {path}: no permission to write in {folder}")


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w"):
    """Opens a temporary file beside `path` and renames it there at the end: readers see the old file or the whole new
    one.

    Raises BadInput where the folder can't be written.
    """
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115  # closed below, before the rename
            mode, dir=path.parent, prefix=f".{path.name}.", delete=False
        )
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(handle.name, 0o644)
        os.replace(handle.name, path)
    except BaseException as error:
        if handle is not None:
            os.unlink(handle.name)
        if isinstance(error, OSError):
            raise BadInput(f"can't write {path}: {error.strerror}") from error
        raise
