"""The frame of a measuring command: a session that may end early, and what comes of it.

parser = Parser("peak", "FMA peak per ISA")
add_threads(parser)
parser.add_save()
options = parser.parse_args(arguments)
with measuring("peak", options, options.threads) as session:
    ...
done = kept(session, options)
return shown(options, session.complete, done.metrics.record, lambda out: out.print(...), done.saved, failed=done.failed)
"""

import random
import signal
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from bench.cli import complain, console, endings
from bench.errors import BadInput
from bench.files import result_path
from bench.host.placement import backends_in_use, pinned
from bench.host.sysfs import scarcest_memory
from bench.measure.groups import VISITS
from bench.measure.probes import Probe
from bench.measure.session import Session
from bench.progress import Bar
from bench.quantities import plural
from bench.record.metrics import Metrics
from bench.record.store import save
from kernels.backends.libraries import PIP

Taking = TypeVar("Taking", bound=Collection[Any])


class NothingMeasured(KeyboardInterrupt):
    """A session ended before there was anything to show."""

    def __str__(self) -> str:
        return "nothing to show was measured yet: no record is written"


class Interruptible:
    """A block that Ctrl-C and the others of ENDINGS, and memory that runs out, end early, but not what follows it.

    complete: whether it came to its end
    """

    complete = False

    def __enter__(self) -> "Interruptible":
        self._listening = endings(signal.default_int_handler)
        self._listening.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._listening.__exit__(None, None, None)
        self.complete = kind is None
        if not isinstance(error, KeyboardInterrupt | MemoryError):
            return False
        why = out_of_memory(error) if isinstance(error, MemoryError) else "interrupted"
        console(stderr=True).print(f"{why}: what was measured so far follows")
        return True


def out_of_memory(error: MemoryError) -> str:
    """In words, with the limit that leaves least."""
    left, limit = scarcest_memory()
    leaves = "" if left is None else f"; {limit} leaves {left >> 20} MiB"
    return f"memory ran out{f', {error}' if str(error) else ''}{leaves}"


@contextmanager
def measuring(
    command: str,
    options: Any,
    threads: Iterable[int],
    dtypes: Iterable[str] = (),
    first: str = "roofs",
    others: Iterable[str] = (),
    stored: int = 0,
) -> Iterator[Session]:
    """A session to measure in, in a block that Ctrl-C and its like may end early; others' processes end with it.

    command  as behind python -m bench.
    options  what the command's Parser returned, for the record
    first    what the line at the bottom of the terminal says until session.progress() changes it
    others   backends of kernels.backends.libraries that will take part
    stored   how many kernels at a time have cold weights of their own
    """
    with ExitStack() as stack:
        say = Bar(console(stderr=True))
        stack.callback(say.close)
        say(first)
        given = {name: _plain(value) for name, value in vars(options).items() if name != "arguments"}
        name = f"python -m bench.{command}"
        session = Session(
            name, threads, dtypes, say, others=others, arguments=options.arguments, options=given, stored=stored
        )
        stack.callback(session.dismiss)
        block = stack.enter_context(Interruptible())
        yield session
    session.complete = block.complete


def _plain(value: Any) -> Any:
    """An option's value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def say_left_out(lines: Iterable[str]) -> None:
    """Who takes no part, and why, a line each."""
    for line in lines:
        console(stderr=True).print(f"left out: {line}", style="yellow")


def left_out(backends: Iterable[str], counts: Iterable[int]) -> dict[int, list[str]]:
    """By thread count the backends that can run, once stderr has told which can't. Raises as backends_in_use()."""
    found, lines = backends_in_use(backends, counts)
    say_left_out(lines)
    return found


def take_part(missing: Iterable[str], present: Taking) -> Taking:
    """The other libraries that are present, once stderr has told which are `missing`. Raises BadInput without any."""
    say_left_out(missing)
    if not present:
        raise BadInput(f"none of the libraries is installed: {PIP}")
    return present


class Kept(NamedTuple):
    """What a session leaves. path: where its record was to be; saved: where it is, if anywhere."""

    metrics: Metrics
    path: Path | None
    saved: Path | None

    @property
    def failed(self) -> bool:
        return self.saved != self.path

    @property
    def stem(self) -> Path:
        """Beside the record: what pictures and pages are called, without .png and the like."""
        path = self.saved or self.path
        assert path
        return path.with_suffix("")


def kept(
    session: Session, options: Any, suffix: str = "", shows: Callable[[Metrics], object] = lambda metrics: True
) -> Kept:
    """The session's metrics and record, which is written before anything else is; signals wait until it is.

    It is written to the file of --record or, where there is a suffix, to one in the folder of --results that ends in
    it. Raises NothingMeasured where the command has nothing to show of it: what it `shows` is false, or a ValueError.
    """
    with endings(lambda number, frame: None):
        metrics = session.metrics()
        try:
            if not metrics.rows or not shows(metrics):
                raise NothingMeasured
        except ValueError as error:
            raise NothingMeasured from error
        path = getattr(options, "save", None)
        if path is None and suffix:
            path = result_path(options.results, metrics.record["machine"]["id"], suffix)
        return Kept(metrics, path, written(metrics, path) if path else None)


def written(metrics: Metrics, path: Path) -> Path | None:
    """Where the record was written: a full disk mustn't take it along. stderr tells where it isn't the path."""
    try:
        save(metrics.record, path)
        return path
    except BadInput as error:
        try:
            with ExitStack() as failed:
                folder = Path(tempfile.mkdtemp(prefix="ridgeline-"))
                failed.callback(folder.rmdir)
                save(metrics.record, folder / path.name)
                failed.pop_all()
        except (BadInput, OSError):
            complain(error)
            return None
        complain(f"{error}; the record is {folder / path.name}")
        return folder / path.name


def measure_probes(
    session: Session, groups: Mapping[int, Sequence[Probe]], seconds: float, what: str, least: int = 5
) -> None:
    """Passes over probes, without kernels, of each thread count VISITS times; adds the rows of those that were reached.

    In each visit thread counts and probes come in another order. seconds: per probe, of all visits together; least:
    samples of a probe in a visit; what: the word for them in the progress.
    """
    session.rows += [probe.row for probes in groups.values() for probe in probes]
    done, todo = 0, VISITS * sum(map(len, groups.values()))
    for session.visit in range(VISITS):
        order = random.Random(session.visit)
        for threads in order.sample(list(groups), len(groups)):
            probes = order.sample(groups[threads], len(groups[threads]))
            session.progress(f"{what}, {plural(threads, 'thread')}", done / todo)
            with pinned(threads), session.watched():
                session.sample(probes, seconds / VISITS, least)
            done += len(probes)
