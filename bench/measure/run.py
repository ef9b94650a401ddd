"""The frame of a measuring command: a session that may end early, and what comes of it.

parser = Parser("peak", "FMA peak per ISA")
add_threads(parser)
parser.add_save()
options = parser.parse_args(arguments)
with measuring("peak", options, options.threads) as session:
    ...
metrics = kept(session, options.save)
return shown(options, session.complete, metrics.record, lambda out: out.print(...), options.save)
"""

import signal
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bench.cli import console
from bench.errors import BadInput
from bench.measure.session import Session
from bench.progress import Bar
from bench.record.metrics import Metrics
from bench.record.store import save
from kernels.backends.libraries import PIP

Taking = TypeVar("Taking", bound=Collection[Any])


class Interruptible:
    """A block that Ctrl-C or SIGTERM ends early, but not what follows it. complete: whether it came to its end."""

    complete = False

    def __enter__(self) -> "Interruptible":
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> bool:
        signal.signal(signal.SIGTERM, self._before)
        self.complete = kind is None
        if kind is not KeyboardInterrupt:
            return False
        console(stderr=True).print("interrupted: what was measured so far follows")
        return True


@contextmanager
def measuring(
    command: str,
    options: Any,
    threads: Iterable[int],
    dtypes: Iterable[str] = (),
    first: str = "roofs",
    others: Iterable[str] = (),
) -> Iterator[Session]:
    """A session to measure in, in a block that Ctrl-C or SIGTERM may end early; others' processes end with it.

    command  as behind python -m bench.
    options  what the command's Parser returned, for the record
    first    what the line at the bottom of the terminal says until session.progress() changes it
    others   backends of kernels.backends.libraries that will take part
    """
    with ExitStack() as stack:
        say = Bar(console(stderr=True))
        stack.callback(say.close)
        say(first)
        given = {name: _plain(value) for name, value in vars(options).items() if name != "arguments"}
        name = f"python -m bench.{command}"
        session = Session(name, threads, dtypes, say, others=others, arguments=options.arguments, options=given)
        stack.callback(session.dismiss)
        block = stack.enter_context(Interruptible())
        yield session
    session.complete = block.complete


def _plain(value: Any) -> Any:
    """An option's value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def take_part(missing: Iterable[str], present: Taking) -> Taking:
    """The other libraries that are present, once stderr has told which are `missing`. Raises BadInput without any."""
    for line in missing:
        console(stderr=True).print(f"left out: {line}", style="yellow", markup=False)
    if not present:
        raise BadInput(f"none of the libraries is installed: {PIP}")
    return present


def kept(session: Session, path: Path | None) -> Metrics:
    """The session's metrics; the record is written to `path`. Raises KeyboardInterrupt where nothing was measured."""
    metrics = session.metrics()
    if not metrics.rows:
        raise KeyboardInterrupt
    if path:
        save(metrics.record, path)
    return metrics
