"""Files: read only where they end, written whole or not at all; the package's own tables."""

import contextlib
import csv
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from bench.errors import BadInput

MOST_BYTES = 64 << 20  # of a file that is read; a session of an hour is 1 MB
DIGITS = 300  # a whole number of so many is a double


def read_text(path: Path) -> str:
    """The UTF-8 text of a regular file, without a byte order mark.

    Raises BadInput as read_bytes() and text_of().
    """
    return text_of(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """A regular file. Raises BadInput as check_file(), and for one above MOST_BYTES."""
    if check_file(path) > MOST_BYTES:
        raise BadInput(f"{path}: over {MOST_BYTES >> 20} MiB")
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error


def text_of(raw: bytes, path: Path) -> str:
    """A file's UTF-8 text, without a byte order mark. Raises BadInput where it is something else."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        how = next((how for start, how in _ENCODED.items() if error.object.startswith(start)), "save it as UTF-8")
        raise BadInput(f"{path}: not UTF-8 text: {how}") from error


def check_file(path: Path) -> int:
    """A regular file's bytes. Raises BadInput, naming it, for any other, an empty one, and a folder.

    A FIFO would wait for a writer, a device never end, and files of /proc say that they are empty.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the path
        raise BadInput(f"{path}: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path}: not a file, but {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}")
    if not found.st_size:
        raise BadInput(f"{path}: empty")
    return found.st_size


_ENCODED = {
    b"\xff\xfe": "it is UTF-16, save it as UTF-8",
    b"\xfe\xff": "it is UTF-16, save it as UTF-8",
    b"\x1f\x8b": "it is gzip's, unpack it",
    b"\x28\xb5\x2f\xfd": "it is zstd's, unpack it",
}
"""How a file begins that is something else -> what that is."""


def parse_json(text: str, source: object) -> Any:
    """A JSON document, whole numbers as int however they are written.

    Raises BadInput, naming `source`, for anything else, numbers that aren't finite, and a key twice in one object.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # unparsable, cut off, nested without end
        raise BadInput(f"{source}: not JSON, or cut off: {error}") from error


def parse_plain(raw: bytes) -> Any:
    """As parse_json(), seven times as quick; but 16.0 stays a float, and it is None where parse_json() has to look.

    The parser keeps one of two equal keys, with its value: the text has more colons, then, than what was kept.
    """
    try:
        found = orjson.loads(raw)
        kept = orjson.dumps(found).count(b":")
    except (ValueError, TypeError):
        return None
    return found if raw.count(b":") == kept and b"\\u00" not in raw else None  # ":" may be written as \u003a


def whole(value: Any) -> Any:
    """A document of parse_plain() with whole numbers as parse_json() has them."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return _as_int(value) if isinstance(value, float) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")


def _finite(text: str) -> float:
    """16.0 is 16: some tools write every number with a fraction, some none."""
    value = float(text)
    if math.isinf(value):
        _refuse(text[:40])
    return _as_int(value)


def _as_int(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _whole(text: str) -> int:
    if len(text) > DIGITS and math.isinf(float(text)):
        _refuse(f"{text[:40]}...")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"{twice[:40]!r} stands twice in one object")
    return found


def says(path: Path, format_: str) -> bool:
    """Whether a regular file that can be read has the name of this format in quotes; keys may stand in any order."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return f'"{format_}"'.encode() in file.read(MOST_BYTES)
    except (OSError, ValueError):
        return False


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a new file that takes the place of `path` at the end: readers see the old file or the whole new one.

    Until then it has no name, where the file system knows such files: of a process that is killed nothing is left.
    Raises BadInput where the folder can't be written, and where the path is a folder, a device or the like.
    """
    name = None
    try:
        if path.exists() and not path.is_file():
            raise BadInput(f"can't write {path}: it is no file")
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = _nameless(path)
        with open(number, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(number)
            os.fchmod(number, 0o644)
            if name is None:
                name = tempfile.mktemp(prefix=f".{path.name[:80]}.", dir=path.parent)  # link() takes none that is there
                os.link(f"/proc/self/fd/{number}", name, src_dir_fd=number)  # follows that link only with a folder
        os.replace(name, path)
    except BaseException as error:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError):
            raise BadInput(f"can't write {path}: {error.strerror}") from error
        raise


def _nameless(path: Path) -> tuple[int, str | None]:
    """A new file in the path's folder to read and write, and its name where it has to have one."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not on every file system; a full disk is told below
            return os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o644), None
    return tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)


def result_path(folder: Path, machine: str, suffix: str = "") -> Path:
    """Where a record goes that wasn't given a name: FOLDER/MACHINE/DAY-TIME SUFFIX.json; its pictures lie beside it."""
    name = re.sub(r"[^\w.-]|^\.+", "-", machine)  # from a record that may be anyone's
    return folder / name / f"{datetime.now():%Y-%m-%d-%H%M%S}{suffix}.json"


PLACES = ("results", "record", "save", "picture")
"""Options that say where files go: nothing that is measured depends on them."""
_OPTION = re.compile(r"--?[\w-]+=")
_HOME = re.compile(r"/home/[^/]+|/Users/[^/]+|/root|~[^/]*")


def without_folders(value: Any) -> Any:
    """Arguments or options with the names of files alone: where a file lies may tell whose machine it is.

    "--results=/home/me/r" -> "--results=r"; a home folder itself is "~".
    """
    if isinstance(value, Mapping):
        return {key: without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    if not isinstance(value, str):
        return value
    option = given[0] if (given := _OPTION.match(value)) else ""
    return option + "::".join(map(_last, value.removeprefix(option).split("::")))  # a test of pytest's: FILE::NAME


def without_places(arguments: Sequence[str], options: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Both without the places that files went to, whose names may be a host's or a person's: "--results a" ->
    "--results FILE", and no such option.
    """
    kept: list[str] = []
    for word in arguments:
        name, given, _ = word.partition("=")
        if kept and _is_place(kept[-1]):
            kept.append("FILE")
        else:
            kept.append(f"{name}=FILE" if given and _is_place(name) else word)
    return kept, {key: value for key, value in options.items() if key.strip("-") not in PLACES}


def _is_place(word: str) -> bool:
    """Also abbreviated, as argparse takes it."""
    return len(word) > 3 and any(f"--{name}".startswith(word) for name in PLACES)


def _last(path: str) -> str:
    bare = path.rstrip("/")
    return "~" if _HOME.fullmatch(bare) or bare == str(Path.home()) else bare.rpartition("/")[2] or path[:1]


def csv_rows(package: str, name: str) -> list[dict[str, str]]:
    """The rows of NAME.csv in a package's folder; its lines that begin with # are notes."""
    text = files(package).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
