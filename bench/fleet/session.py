"""The session that a rank has its host run, as a child process: MPI, which spins, doesn't meet what is measured."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import plain
from bench.files import MOST_BYTES

LAUNCHERS = ("OMPI_", "PRTE_", "PMIX_", "PMI_", "MPI_", "MPICH_", "HYDRA_", "I_MPI_", "SLURM_", "FLUX_")
"""How the names of variables begin that MPI and what launches it set for a rank, not for its child."""
RESULTS = "--results"  # the one option of a session that isn't the user's here
GRACE = 60.0  # seconds in which a session that is to end may write its record
MOST_TEXT = 300  # characters of a reason
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
PROGRESS = re.compile(r" *\d+ s  (?:(?P<share> *\d+ %), (?:(?P<minutes>\d+):(?P<seconds>\d\d)|\?) left: )?(?P<text>.+)")
"""A line of bench.progress.Bar where there is no terminal."""


class Outcome(NamedTuple):
    """How a session ended.

    reason  what went wrong, in one line; None: nothing
    place   on its own host: the record, or where there is none the folder with what the session said
    record  the file's bytes; None: there is none, or it is too large
    """

    reason: str | None
    place: str
    record: bytes | None


class Said(NamedTuple):
    """Of a session's last line of progress: what it does, its share of the work, and the seconds left."""

    text: str
    share: float | None
    left: float | None


def command(folder: Path, options: Sequence[str]) -> list[str]:
    """The session's, with its record in this folder."""
    return [sys.executable, "-m", "ridgeline", "bench", RESULTS, str(folder), *options]


def environment() -> dict[str, str]:
    """A rank's without what says that it is one."""
    return {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}


def refused(results: Path, options: Sequence[str]) -> str | None:
    """Why a session with these options wouldn't start here: it is made to choose its kernels, and to measure none."""
    every, nothing = command(results, ["--collect-only", "--quiet", *options]), subprocess.DEVNULL
    how: dict[str, Any] = {"stdin": nothing, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    tried = subprocess.run(every, env=environment(), **how)
    return _why(tried.returncode, tried.stderr, tried.stdout) if tried.returncode else None


class Session:
    """One session, in a folder of its own below `results`; it ends with the rank. Raises OSError where it can't start.

    limit  seconds after which it is ended
    """

    def __init__(self, results: Path, rank: int, options: Sequence[str], limit: float) -> None:
        self.folder = results / "fleet" / f"{datetime.now():%Y-%m-%d-%H%M%S}-rank{rank}"
        self.folder.mkdir(parents=True)
        self._limit, self._began, self._ended_by = limit, time.monotonic(), ""
        self._asked: float | None = None  # when it was asked to end
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command(self.folder, options),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,  # launchers kill the groups of their ranks, and give them a second
                preexec_fn=_ends_with(os.getpid()),
            )

    @property
    def _output(self) -> Path:
        return self.folder / "output.txt"

    @property
    def _errors(self) -> Path:
        return self.folder / "errors.txt"

    def running(self) -> bool:
        """Whether it still runs. What takes longer than its limit, or than GRACE to end, is ended."""
        if self._process.poll() is not None:
            return False
        now = time.monotonic()
        if self._asked is not None and now > self._asked + GRACE:
            os.killpg(self._process.pid, signal.SIGKILL)
        elif now > self._began + self._limit:
            self.stop(f"it took more than {self._limit / 60:.3g} minutes")
        return True

    def stop(self, why: str) -> None:
        """Has it end with what it measured so far; once."""
        if self._asked is None:
            self._asked, self._ended_by = time.monotonic(), why
            self._process.terminate()

    def said(self) -> Said:
        """The last that it said of its progress."""
        for line in reversed(_tail(self._errors).splitlines()):
            if found := PROGRESS.fullmatch(line):
                share = found["share"]
                left = 60.0 * int(found["minutes"]) + int(found["seconds"]) if found["minutes"] else None
                return Said(plain(found["text"])[:MOST_TEXT], float(share[:-1]) / 100 if share else None, left)
        return Said("", None, None)

    def outcome(self) -> Outcome:
        """Once it no longer runs."""
        status = self._process.returncode
        reason = self._ended_by or _why(status, _tail(self._errors), _tail(self._output)) if status else None
        try:
            records = sorted(self.folder.rglob("*.json"), key=lambda path: path.stat().st_mtime)
            if not records:
                return Outcome(reason or "its session wrote no record", str(self.folder), None)
            path, size = records[-1], records[-1].stat().st_size
            if size > MOST_BYTES:
                return Outcome(f"its record has over {MOST_BYTES >> 20} MiB", str(path), None)
            return Outcome(reason, str(path), path.read_bytes())
        except OSError as error:
            return Outcome(reason or f"its record can't be read: {error.strerror}", str(self.folder), None)


def _ends_with(parent: int) -> Callable[[], None]:
    """What a child does first: Linux is to send it SIGTERM when its parent dies, however that happens."""

    def begin() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return begin


def _tail(path: Path) -> str:
    """The last 16 KiB of a text that may still grow."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (16 << 10)))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _why(status: int, errors: str, output: str) -> str:
    """How a process ended, and the last line that names an error, else its last line on stderr, else on stdout."""
    how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    said = [line for line in errors.splitlines() if line.strip() and not PROGRESS.fullmatch(line)]
    named = [line for line in said if "error" in line.lower()]
    last = [*output.strip().splitlines()[-1:], *said[-1:], *named[-1:]][-1:]
    return plain(f"{how}: {last[0].strip()}" if last else how)[:MOST_TEXT]
