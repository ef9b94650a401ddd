"""What every command shares: one line for bad input, JSON on request, Ctrl-C, outputs that are checked first."""

import argparse
import codecs
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from rich.console import Console, ConsoleDimensions

from bench.errors import BadInput, plain

CUT_SHORT = 130  # exit status after Ctrl-C or SIGTERM
CALLED = "python -m bench."  # before a command's name; the command ridgeline sets its own


def output(text: str) -> Path:
    """An option's value as a file to write, missing folders included. Raises BadInput where it can't be written, so
    that nothing is measured in vain.
    """
    path = Path(text)
    _check_writable(path, path.absolute().parents, file=True)
    return path


def output_stem(text: str) -> Path:
    """The same for the beginning of files' names."""
    path = Path(text)
    _check_writable(path, path.absolute().parents)
    return path


def output_folder(text: str | Path) -> Path:
    """The same for a folder of files."""
    path = Path(text)
    _check_writable(path, [path.absolute(), *path.absolute().parents])
    return path


def _check_writable(path: Path, folders: Sequence[Path], file: bool = False) -> None:
    """Raises BadInput, naming the path, where nothing can be made in the first of the folders that exists: tries.

    file: also where the path itself is a folder, a device or the like.
    """
    try:
        if file and path.exists() and not path.is_file():
            raise BadInput(f"can't write {path}: it is no file")
        folder = next(folder for folder in folders if folder.exists())
        make = tempfile.TemporaryFile if folder == folders[0] else tempfile.TemporaryDirectory
        with make(dir=folder):
            pass
    except OSError as error:  # no permission, not a folder, read-only, full, or no place for files, as /proc
        raise BadInput(f"can't write {path}: {error.strerror}") from error
    except ValueError as error:  # a zero byte
        raise BadInput(f"can't write {path}: {error}") from error


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line; every command also takes --json."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"{CALLED}{command}",
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        self.add_argument("--json", action="store_true", help="print JSON to stdout instead of tables")

    def add_save(self) -> None:
        """--record FILE, as options.save."""
        self.add_argument("--record", dest="save", type=output, metavar="FILE", help="write the record here")

    def add_results(self, what: str = "record and picture") -> None:
        """--results FOLDER."""
        self.add_argument("--results", type=output_folder, default="results", help=f"folder for {what}")

    def add_picture(self, default: str | None = None) -> None:
        """--picture STEM."""
        self.add_argument("--picture", type=output_stem, default=default, metavar="STEM", help="without .png and .svg")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; options.arguments are the arguments as they were given."""
        given = list(sys.argv[1:] if args is None else args)
        options = super().parse_args(given, namespace)
        options.arguments = given
        return options

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {plain(message)}\n")


def run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    """Runs a command's main() as a process: exit 2 on bad input, 1 on a failed check, 130 on Ctrl-C.

    Output that can't be written, to a full disk or a stdout that is closed, is one line and exit 2, too.
    """
    path = Path(sys.argv[0])
    command = path.parent.name if path.stem == "__main__" else path.stem
    if sys.stdout is None:
        sys.exit(_complain(command, "stdout is closed", 2))
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="ridgeline")  # its encoding may be ASCII, an argument no UTF-8
    try:
        status = main(None) or 0
        sys.stdout.flush()
        sys.exit(status)
    except BadInput as error:
        sys.exit(_complain(command, str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_complain(command, "interrupted", CUT_SHORT))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer can't be written
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
            sys.exit(0)
        sys.exit(_complain(command, f"{error.filename or 'output'}: {error.strerror}", 2))


def _complain(command: str, message: str, status: int) -> int:
    if sys.stderr is not None:
        print(f"bench.{command}: {plain(message)}", file=sys.stderr)
    return status


ASCII = str.maketrans({"±": "+-", "²": "^2", "█": "#"})
"""What stands for the characters of tables where the output can't have them."""


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Of what an output's encoding lacks: ASCII's words, escapes of the rest."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("ridgeline", _in_ascii)


def console(stderr: bool = False) -> Console:
    """A rich console: as wide as the terminal, as COLUMNS says, or 180 columns where the output is no terminal.

    Square brackets are text: names of models, files and machines may have them. Colours may be forced (FORCE_COLOR),
    but what no terminal shows is neither narrow nor drawn again and again.
    """
    stream = sys.stderr if stderr else sys.stdout
    shown = stream is not None and stream.isatty()
    made = Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, force_interactive=None if shown else False
    )
    if not shown or made.is_dumb_terminal:
        made.size = ConsoleDimensions(_columns(stream), 25)
    return made


def _columns(stream: IO[str] | None) -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and 0 < int(given) < 10_000:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80 if stream else 180
    except (OSError, ValueError):  # no terminal, no file
        return 180


def print_json(value: Any) -> None:
    """Prints one JSON document to stdout."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def shown(
    options: Any,
    complete: bool,
    document: Any,
    show: Callable[[Console], None],
    record: Path | None = None,
    pictures: Sequence[Path] = (),
) -> int:
    """Prints the document, with --json, or what show() does and the names of files. Returns the exit status."""
    if options.json:
        print_json(document)
    else:
        show(console())
        for path in pictures:
            print(f"picture: {plain(path)}")
        if record:
            print(f"record: {plain(record)}")
    return 0 if complete else CUT_SHORT
