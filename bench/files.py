"""Files: written whole or not at all; the package's own tables."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from bench.errors import BadInput


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
