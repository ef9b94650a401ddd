"""The folder of gathered records: what arrives is written whole, checked where that disturbs nobody, then named.

FOLDER/HOST/TIME-rankN.json is a good record, .json.refused one that breaks the rules, .json.unchecked one that nobody
has looked at yet.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.errors import BadInput
from bench.files import replacing, result_path
from bench.quantities import plural
from bench.record.folder import gathered
from bench.record.metrics import Metrics
from bench.record.store import derived_from, load, problems

ROOM = 2 << 20  # bytes for a record: a long session's has 1 MB
UNCHECKED, REFUSED = ".unchecked", ".refused"


class Judged(NamedTuple):
    """A record that was looked at, where it is now, and why it is no good one; None: it is."""

    path: Path
    metrics: Metrics | None
    reason: str | None


class Folder:
    """Raises BadInput where there is no room for the records of so many ranks."""

    def __init__(self, path: Path, ranks: int) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryFile(dir=path) as file:
                os.posix_fallocate(file.fileno(), 0, ranks * ROOM)
        except OSError as error:
            raise BadInput(f"can't write {plural(ranks, 'record')} to {path}: {error.strerror}") from error

    def write(self, host: str, rank: int, record: bytes) -> Path:
        """Writes what a host sent, whole or not at all. Raises BadInput where it can't."""
        path = result_path(self.path, host, f"-rank{rank}")
        path = path.with_name(path.name + UNCHECKED)
        with replacing(path, "wb") as file:
            file.write(record)
        return path

    def settle(self) -> Iterator[tuple[Path, Judged]]:
        """Looks at every record that nobody has looked at yet: as it was called, and what was found."""
        for path in sorted(self.path.rglob(f"*.json{UNCHECKED}")):
            judged = _judged(path)
            named = path.with_suffix(REFUSED if judged.reason else "")
            try:
                os.replace(path, named)
            except OSError as error:
                raise BadInput(f"can't write {named}: {error.strerror}") from error
            yield path, judged._replace(path=named)

    def present(self) -> dict[str, list[Judged]]:
        """By a host's folder: its good records that came to their end."""
        files = sorted(self.path.glob("*/*.json"))
        found: dict[str, list[Judged]] = {}
        for one in gathered(files, _judged).kept:
            if not one.reason and one.metrics and one.metrics.record["complete"]:
                found.setdefault(one.path.parent.name, []).append(one)
        return found

    def of(self, host: str) -> str:
        """What a host's folder is called."""
        return result_path(self.path, host).parent.name


def _judged(path: Path) -> Judged:
    """As bench.check does."""
    try:
        metrics = load(path)
        with derived_from(path):
            found = problems(metrics)
    except BadInput as error:
        return Judged(path, None, str(error).removeprefix(f"{path}: "))
    more = f", and {plural(len(found) - 1, 'problem')} more" if found[1:] else ""
    return Judged(path, metrics, f"{found[0]}{more}" if found else None)
