"""What every command shares: one line for bad input, JSON on request, Ctrl-C, outputs that are checked first."""

import argparse
import codecs
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from rich.console import Console, ConsoleDimensions

from bench.errors import BadInput, plain

CALLED = "python -m bench."  # before a command's name; the command ridgeline sets its own
MADE = "missing folders are made"
CUT_SHORT = 130  # exit status after one of ENDINGS


def output(text: str) -> Path:
    """An option's value as a file to write, whose missing folders are made when it is. Raises BadInput where it can't
    be written, so that nothing is measured in vain.
    """
    path = _named(text)
    _check_writable(path, path.absolute().parents, file=True)
    return path


def output_stem(text: str) -> Path:
    """The same for the beginning of files' names."""
    path = _named(text)
    _check_writable(path, path.absolute().parents)
    return path


def output_folder(text: str | Path) -> Path:
    """The same for a folder of files."""
    path = Path(text)
    _check_writable(path, [path.absolute(), *path.absolute().parents])
    return path


def _named(text: str) -> Path:
    """Raises BadInput for a text that ends in no file's name."""
    if not text or text.endswith((os.sep, f"{os.sep}.", f"{os.sep}..")) or text in (".", ".."):
        raise BadInput(f"can't write {text!r}: a folder, where a file's name is needed")
    return Path(text)


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
    """argparse whose errors are one line. shapes: --json and, where added, what else stdout may be; one of them."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"{CALLED}{command}",
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        self.shapes = self.add_mutually_exclusive_group()
        self.shapes.add_argument("--json", action="store_true", help="print JSON to stdout instead of tables")
        self._shown: tuple[str, ...] | None = None

    def add_record(self, *shown: str, what: str = "show this record instead of measuring") -> None:
        """RECORD, as options.record. shown: names of options that count for it, too, besides --json, --record and
        --picture; parse_args() refuses the others beside it, for what measures goes unheard there.
        """
        self.add_argument("record", nargs="?", type=Path, help=what)
        self._shown = ("help", "json", "markdown", "record", "save", "picture", *shown)

    def add_save(self) -> None:
        """--record FILE, as options.save."""
        self.add_argument("--record", dest="save", type=output, metavar="FILE", help=f"write the record here; {MADE}")

    def add_results(self, what: str = "record and picture") -> None:
        """--results FOLDER."""
        self.add_argument("--results", type=output_folder, default="results", help=f"folder for {what}; {MADE}")

    def add_picture(self, default: str | None = None) -> None:
        """--picture STEM."""
        help_ = f"without .png and .svg; {MADE}"
        self.add_argument("--picture", type=output_stem, default=default, metavar="STEM", help=help_)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; options.arguments are the arguments as they were given."""
        given = list(sys.argv[1:] if args is None else args)
        options = super().parse_args(given, namespace)
        options.arguments = given
        if self._shown is not None and options.record is not None:
            unset = super().parse_args([], argparse.Namespace())
            self.refuse_beside(f"RECORD {options.record}", options, unset, self._shown)
        return options

    def refuse_beside(self, record: str, options: Any, unset: Any, shown: Sequence[str]) -> None:
        """Raises BadInput naming the options that differ from those of no arguments, and aren't `shown`."""
        others = [one for one in self._actions if one.dest not in shown]
        unheard = [x.option_strings[0] for x in others if getattr(options, x.dest) != getattr(unset, x.dest)]
        if unheard:
            raise BadInput(f"{record} is shown and nothing measured: without {', '.join(unheard)}")

    def print_help(self, file: Any = None) -> None:
        (file or sys.stdout).write(self.format_help())  # argparse's says nothing of a disk that is full

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {plain(message)}\n")


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what Slurm, Kubernetes and time-outs of CI send; a terminal that closes."""


@contextmanager
def endings(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """A block with a handler for all of ENDINGS; those that are ignored (nohup, a shell's background) stay so."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    before = {number: known for number, known in before.items() if known not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    """Runs a command's main() as a process: exit 2 on bad input, 1 on a failed check, 130 on Ctrl-C and its like.

    Output that can't be written, to a full disk or a stdout that is closed, is one line and exit 2, too.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would take the diagnostics
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        complain("stdout is closed")
        sys.exit(2)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="ridgeline")  # its encoding may be ASCII, an argument no UTF-8
    status: Any = 0
    try:
        with endings(signal.default_int_handler):
            try:
                status = main(None) or 0
            except SystemExit as exit_:  # of --help
                status = exit_.code
            sys.stdout.flush()
    except BadInput as error:
        complain(error)
        status = 2
    except KeyboardInterrupt as error:
        complain(str(error) or "interrupted")
        status = CUT_SHORT
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer can't be written
        if not isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
            complain(error)
            status = 2
    sys.exit(status)


def complain(error: object) -> None:
    """One line on stderr; of an error of the system, about which file."""
    if isinstance(error, OSError) and error.strerror:  # a library that can't be loaded has a text alone
        error = f"{error.filename or 'output'}: {error.strerror}"
    path = Path(sys.argv[0])
    command = path.parent.name if path.stem == "__main__" else path.stem
    if sys.stderr is not None:
        with suppress(OSError):  # nobody is there to read it
            alone = command in ("bench", "pytest", "ridgeline")
            print(f"{'bench' if alone else f'bench.{command}'}: {plain(error)}", file=sys.stderr)


ASCII = str.maketrans({"±": "+-", "²": "^2", "█": "#"})
"""What stands for the characters of tables where the output can't have them."""


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Of what an output's encoding lacks: ASCII's words, escapes of the rest."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("ridgeline", _in_ascii)


class _Console(Console):
    def print(self, *objects: Any, **style: Any) -> None:
        with suppress(*[OSError] if self.stderr else []):  # nobody has to be there to read it
            super().print(*objects, **style)

    def on_broken_pipe(self) -> None:
        raise  # BrokenPipeError: rich would exit, whatever is still to be written


def console(stderr: bool = False) -> Console:
    """A rich console: as wide as the terminal, as COLUMNS says, or 180 columns where the output is no terminal.

    Square brackets are text: names of models, files and machines may have them. Colours may be forced (FORCE_COLOR),
    but what no terminal shows is neither narrow nor drawn again and again.
    """
    stream = sys.stderr if stderr else sys.stdout
    shown = stream is not None and stream.isatty()
    made = _Console(
        stderr=stderr,
        soft_wrap=stderr,  # one line is one line
        highlight=False,
        markup=False,
        emoji=False,
        force_interactive=None if shown else False,
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
    draw: Callable[[], Sequence[Path]] | None = None,
    failed: bool = False,
) -> int:
    """Prints the document, with --json, or what show() does; pictures come last. Returns the exit status.

    record  where it was written, before this
    draw    writes pictures and pages and returns their paths, which become the document's "pictures". A failure is one
            line on stderr and exit status 2
    failed  whether something was that before
    """
    lost: OSError | None = None
    if not options.json:
        try:
            show(console())
            sys.stdout.flush()
        except OSError as error:  # pictures and pages all the same
            lost = error
    files: list[Path] = []
    try:
        if draw:
            files, undrawn = drawn(draw)
            failed = failed or undrawn
        if options.json:
            pictures = {"pictures": [str(path) for path in files if path.suffix != ".md"]} if draw else {}
            print_json({**document, **pictures} if pictures else document)
    finally:
        for path in [] if lost or options.json else [*files, *([record] if record else [])]:
            print(f"{kind(path)}: {plain(path)}")
    if lost:
        raise lost
    return 2 if failed else 0 if complete else CUT_SHORT


def drawn(draw: Callable[[], Sequence[Path]]) -> tuple[list[Path], bool]:
    """The files that draw() wrote and whether it failed, which is one line on stderr."""
    try:
        return list(draw()), False
    except (BadInput, OSError) as error:
        complain(error)
    except ModuleNotFoundError as error:
        complain(f"left out: pictures and pages, {error.name} isn't installed: pip install 'ridgeline[pictures]'")
        return [], False
    except Exception as error:  # matplotlib's: settings, fonts, memory
        complain(f"the picture can't be drawn: {type(error).__name__}: {error}")
    return [], True


def kind(path: Path) -> str:
    """What a file is that a command wrote."""
    return {".json": "record", ".md": "page"}.get(path.suffix, "picture")


def sayable(text: str, encoding: str) -> str:
    """The text as an output in this encoding can have it."""
    return text.encode(encoding, "ridgeline").decode(encoding)
