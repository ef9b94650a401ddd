"""Files: outputs checked before anything is measured and written whole or not at all; the package's own tables."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from bench.errors import BadInput


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
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
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


def csv_rows(package: str, name: str) -> list[dict[str, str]]:
    """The rows of NAME.csv in a package's folder; its lines that begin with # are notes."""
    text = files(package).joinpath(f"{name}.csv").read_text()
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
