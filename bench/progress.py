"""Progress of long work: one live line with the time left, drawn only between samples; no thread draws meanwhile."""

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_SECONDS = 10.0  # between two lines where there is no terminal; what is shorter says nothing


class Forecast:
    """How much of long work is done, in time: what its parts were thought to take, corrected by what their like took.

    A part is of a kind, and of one of several times: what is done a second time takes less. What a kind takes is the
    median over its parts, for one may compile for a minute. AGAIN of all the work is done once more at the end.
    """

    def __init__(self, again: float) -> None:
        self._again = again
        self._left: dict[Hashable, tuple[str, bool, float]] = {}
        self._took: dict[tuple[str, bool], list[tuple[float, float]]] = {}
        self._began: float | None = None

    def plan(self, part: Hashable, kind: str, first: bool, seconds: float) -> None:
        """What is yet to come, and the seconds that it is thought to take; what was planned before stays so."""
        self._left.setdefault(part, (kind, first, max(seconds, 1e-6)))

    def done(self, part: Hashable, seconds: float) -> None:
        """What a part took."""
        if known := self._left.pop(part, None):
            self._took.setdefault(known[:2], []).append((seconds / known[2], known[2]))

    def drop(self, parts: Iterable[Hashable]) -> None:
        """What won't be done."""
        for part in parts:
            self._left.pop(part, None)

    def share(self) -> float:
        """Of all the time, from the first call on."""
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        spent, every = now - self._began, [one for found in self._took.values() for one in found]
        left = sum(seconds * self._ratio(kind, first, every) for kind, first, seconds in self._left.values())
        left += self._again * (spent + left)
        return spent / (spent + left) if spent + left else 0.0

    def _ratio(self, kind: str, first: bool, every: list[tuple[float, float]]) -> float:
        """Of what a part takes over what it was thought to: that of its like, else of the kind's other time."""
        found = self._took.get((kind, first)) or self._took.get((kind, not first)) or every
        half, so_far = sum(weight for _, weight in found) / 2, 0.0
        for ratio, weight in sorted(found):
            so_far += weight
            if so_far >= half:
                return ratio
        return 1.0


class Bar:
    """Called with what happens now, and the share of the work that is done where it is known.

    around  makes a context in which the console may be written to
    """

    def __init__(self, out: Console, around: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        self._out, self._around = out, around
        self._began = self._said = time.perf_counter()
        self._share_began: float | None = None
        self._share = 0.0
        self._live: Progress | None = None

    def __call__(self, text: str, share: float | None = None) -> None:
        now = time.perf_counter()
        if share is not None and self._share_began is None:
            self._share_began = now
        self._share = self._share if share is None else share
        left = self._left(now, share)
        with self._around(), suppress(OSError):  # a closed terminal or a full disk is no reason to stop measuring
            if self._out.is_interactive:
                self._draw(text, self._share, left)
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
