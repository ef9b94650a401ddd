"""Progress of long work: one live line with the time left, drawn only between samples; no thread draws meanwhile."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_SECONDS = 10.0  # between two lines where there is no terminal; what is shorter says nothing


class Bar:
    """Called with what happens now, and the share of the work that is done where it is known.

    around  makes a context in which the console may be written to
    """

    def __init__(self, out: Console, around: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        self._out, self._around = out, around
        self._began = self._said = time.perf_counter()
        self._share_began: float | None = None
        self._live: Progress | None = None

    def __call__(self, text: str, share: float | None = None) -> None:
        now = time.perf_counter()
        if share is not None and self._share_began is None:
            self._share_began = now
        left = self._left(now, share)
        with self._around(), suppress(OSError):  # a closed terminal or a full disk is no reason to stop measuring
            if self._out.is_interactive:
                self._draw(text, share or 0.0, left)
            elif now - self._said >= PLAIN_SECONDS:
                done = "" if share is None else f"{100 * share:3.0f} %, {left} left: "
                self._said = now
                self._out.print(f"{now - self._began:5.0f} s  {done}{text}", markup=False)

    def _left(self, now: float, share: float | None) -> str:
        if not share or self._share_began is None:
            return "?"
        seconds = (now - self._share_began) * (1 - share) / share
        return f"{max(0.0, seconds) // 60:.0f}:{max(0.0, seconds) % 60:02.0f}"

    def _draw(self, text: str, share: float, left: str) -> None:
        if self._live is None:
            from rich.progress import BarColumn, Progress, TextColumn  # 30 ms, and only for a terminal

            self._live = Progress(
                BarColumn(24),
                TextColumn("{task.percentage:3.0f} %"),
                TextColumn("{task.fields[left]} left"),
                TextColumn("{task.description}", markup=False),
                console=self._out,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.add_task(text, total=1.0, left=left)
            self._live.start()
        self._live.update(self._live.task_ids[0], description=text, completed=min(share, 1.0), left=left)
        self._live.refresh()

    def close(self) -> None:
        """Takes the line away."""
        if self._live is not None:
            with self._around(), suppress(OSError):
                self._live.stop()
            self._live = None
