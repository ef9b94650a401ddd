"""Folders as a store of records: machines, days, commits. What can't be read is named, and the rest is kept."""

import gc
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from bench.errors import BadInput
from bench.files import says
from bench.record.format import FORMAT
from bench.record.store import derived_from

T = TypeVar("T")
LARGE = 4 << 20  # bytes of files, from which on several processes read them: starting one takes as long as 2 MiB


class Refused(NamedTuple):
    """A file that is no good record, and why, in one line that doesn't name it."""

    path: Path
    reason: str


def in_short(copies: Sequence[Refused]) -> str:
    """Of files with records that others have: the first, and how many more there are."""
    more = f"; {len(copies) - 1} more are copies of others" if len(copies) > 1 else ""
    return f"{copies[0].path}: {copies[0].reason}{more}"


@dataclass(frozen=True)
class Found(Generic[T]):
    """What was made of records, in the order in which they were given; and what isn't one."""

    kept: Sequence[T]
    refused: Sequence[Refused]


def records_in(path: Path) -> list[Path]:
    """The file itself, or every record in a folder and the folders below it, by name; an empty file may have been one.

    Raises BadInput where a folder has none.
    """
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.rglob("*.json")) if says(file, FORMAT) or _is_empty(file)]
    if not found:
        raise BadInput(f"{path}: no record in this folder")
    return found


def _is_empty(path: Path) -> bool:
    try:
        found = path.stat()
    except (OSError, ValueError):  # a link to nothing
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


def files_of(given: Sequence[Path]) -> list[Path]:
    """The records of files and folders, each once. Raises BadInput as records_in()."""
    files: dict[str, Path] = {}
    for file in (file for one in given for file in records_in(one)):
        files.setdefault(os.path.abspath(file), file)
    return list(files.values())


@contextmanager
def readers(files: Sequence[Path]) -> Iterator[Executor | None]:
    """Several processes that read these files, where that is quicker than one; for gathered()."""
    if len(files) < 2 or sum(map(_size, files)) < LARGE:
        yield None
    else:
        count = min(len(os.sched_getaffinity(0)), 8)
        # records hold no circles: what looks for some takes a tenth of the time
        with ProcessPoolExecutor(count, get_context("spawn"), initializer=gc.disable) as pool:
            yield pool


def gathered(files: Sequence[Path], read: Callable[[Path], T], pool: Executor | None = None) -> Found[T]:
    """What read() makes of every file; it may raise BadInput."""
    tried = partial(_tried, read)
    results = list(pool.map(tried, files) if pool and len(files) > 1 else map(tried, files))
    return Found(
        [one for one in results if not isinstance(one, Refused)],
        [one for one in results if isinstance(one, Refused)],
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # whoever reads it says why
        return 0


def named(given: Sequence[Path], read: Callable[[Path], T]) -> Found[tuple[Path, T]]:
    """What read() makes of files and folders. Of a folder what can't be read is left out; a file that was named itself
    raises BadInput, and so does a folder with nothing good in it.
    """
    kept: list[tuple[Path, T]] = []
    refused: list[Refused] = []
    for one in given:
        if not one.is_dir():
            kept.append((one, read(one)))
            continue
        found = {path: _tried(read, path) for path in records_in(one)}
        bad = [made for made in found.values() if isinstance(made, Refused)]
        if len(bad) == len(found):
            raise BadInput(f"{bad[0].path}: {bad[0].reason}")
        refused += bad
        kept += [(path, made) for path, made in found.items() if not isinstance(made, Refused)]
    return Found(kept, refused)


def _tried(read: Callable[[Path], T], path: Path) -> T | Refused:
    try:
        with derived_from(path):
            return read(path)
    except BadInput as error:
        return Refused(path, str(error).removeprefix(f"{path}: "))
