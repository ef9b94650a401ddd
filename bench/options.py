"""Options that several commands have, each checked where it is read."""

import os
from collections.abc import Callable, Iterable

from bench.cli import Parser
from bench.errors import BadInput
from bench.host.cpus import thread_counts
from kernels.arrays import PAGES, PAGES_VARIABLE, pages
from kernels.types import DTYPES, TYPES

STORED = tuple(name for name, element in TYPES.items() if not element.native)


def add_threads(parser: Parser, default: str = "1,all") -> None:
    """--threads, one count or several: options.threads is their ascending list."""
    help_ = "thread counts, as in 1,2,all; all: one per physical core"
    parser.add_argument("--threads", type=thread_counts, default=default, help=help_)


def add_thread_count(parser: Parser, default: str = "all", what: str = "one thread count") -> None:
    """--threads, of which there has to be one: options.threads is that number."""

    def one(text: str) -> int:
        counts = thread_counts(text)
        if len(counts) != 1:
            raise BadInput(f"--threads {text}: one thread count")
        return counts[0]

    parser.add_argument("--threads", type=one, default=default, help=f"{what}; all: one per physical core")


def add_seconds(parser: Parser, default: float, what: str, most: int = 60) -> None:
    """--seconds, more than 0 and at most `most`."""

    def checked(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise BadInput(f"--seconds {text}: more than 0, at most {most}")
        return value

    parser.add_argument("--seconds", type=checked, default=str(default), help=what)


def add_dtype(parser: Parser, what: str = "of all operands") -> None:
    """--dtype, one of them."""
    parser.add_argument("--dtype", choices=list(DTYPES), default="f32", help=what)


def dtypes(text: str) -> list[str]:
    """ "f32,f64" as a list. Raises BadInput for other names."""
    found = text.split(",")
    if set(found) - set(DTYPES):
        raise BadInput(f"--dtype {text}: {', '.join(DTYPES)} or {','.join(DTYPES)}")
    return found


def add_stored(parser: Parser, what: str, default: str | None = None) -> None:
    """--types, one or several of those that are only stored: options.types is their list, None without a default."""
    parser.add_argument("--types", type=stored_types, default=default, help=f"{what}; several of {', '.join(STORED)}")


def stored_types(text: str) -> list[str]:
    """ "i4g32,i8" as a list. Raises BadInput for other names."""
    found = list(dict.fromkeys(text.split(",")))
    if set(found) - set(STORED):
        raise BadInput(f"--types {text}: one or several of {', '.join(STORED)}")
    return found


def add_pages(parser: Parser) -> None:
    """--pages, one of PAGES, which arrays of this process and of those it starts are made of from then on."""
    help_ = "of large arrays: 2 MiB pages, where Linux gives them, or 4 KiB"
    parser.add_argument("--pages", type=use_pages, default=os.environ.get(PAGES_VARIABLE) or PAGES[0], help=help_)


def use_pages(text: str) -> str:
    """Sets RIDGELINE_PAGES. Raises BadInput for what is none of PAGES."""
    os.environ[PAGES_VARIABLE] = text
    try:
        return pages()
    except ValueError as error:
        raise BadInput(str(error)) from error


def words(option: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option, --types: some of these words, separated by commas, as a list in their own order."""
    every = list(known)

    def chosen(text: str) -> list[str]:
        given = text.split(",")
        if set(given) - set(every):
            raise BadInput(f"{option} {text}: one or several of {', '.join(every)}")
        return [word for word in every if word in given]

    return chosen
