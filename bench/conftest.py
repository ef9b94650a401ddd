"""pytest bench/ as a measuring session: options, the one Session behind all benchmarks, the report, the files.

A group of benchmarks (one shape, dtype and thread count) is measured together, interleaved, when its first test runs;
every test then hands its samples to pytest-benchmark through a timer that replays them. So pytest-benchmark's own JSON,
storage and comparison work on the same samples, and bench.measure.timing stays the only timing loop.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.cli import CUT_SHORT, MADE, console, drawn, endings, kind, output_folder, sayable
from bench.errors import BadInput, plain
from bench.files import replacing, result_path
from bench.host.cpus import thread_counts
from bench.host.placement import backends_in_use, isa_in_use
from bench.measure.groups import Group
from bench.measure.run import NothingMeasured, out_of_memory, written
from bench.measure.session import Session
from bench.measure.suite import Entry, entries, nothing_of
from bench.options import dtypes
from bench.progress import Bar
from bench.quantities import plural
from bench.record.metrics import Metrics
from bench.record.row import Row, call_seconds
from bench.report.screen import page, summary
from bench.workloads.shapes import Case, Shape
from bench.workloads.sweep import SWEEPS, Sweep
from kernels import BACKENDS, Kernel
from kernels.backends import libraries
from kernels.verify import WrongResult


class Replay:
    """A timer and a function that share recorded times: each call of play() moves the timer on by the next of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.left: list[float] = []

    def __call__(self) -> float:
        return self.now

    def load(self, seconds: Sequence[float]) -> int:
        self.left = list(reversed(seconds))
        return len(seconds)

    def play(self) -> None:
        if self.left:
            self.now += self.left.pop()


REPLAY = Replay()


OPTIONS = ("--sweep", "--threads", "--dtype", "--peers", "--results")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ridgeline")
    group.addoption("--sweep", choices=list(SWEEPS), default="default", help="how much to measure")
    group.addoption("--threads", default="1,all", help="thread counts, as in 1,2,all; all: one per physical core")
    group.addoption("--dtype", default=None, help="f32, f64 or f32,f64 (default: f32; both with --sweep full)")
    group.addoption("--peers", action="store_true", help="PyTorch, ONNX Runtime, OpenVINO, BLIS and OpenBLAS take part")
    group.addoption("--rows", action="store_true", help="print all rows of kernels, too; the page has them")
    group.addoption("--results", type=Path, default=Path("results"), help=f"folder for records and pictures; {MADE}")


class Plan:
    """The options, understood, and the session, started when the first benchmark needs it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sweep: Sweep = SWEEPS[config.getoption("--sweep")]
        try:
            self.threads = thread_counts(config.getoption("--threads"))
            self.isa = isa_in_use()
            self.backends, self.left_out = backends_in_use(BACKENDS, self.threads)
            output_folder(config.getoption("--results"))
            full = self.sweep is SWEEPS["full"]
            self.dtypes = dtypes(config.getoption("--dtype") or ("f32,f64" if full else "f32"))
        except BadInput as error:
            raise pytest.UsageError(str(error)) from error
        self.others = (
            [row for row in libraries.rows_of(stored=False) if row.reason is None]
            if config.getoption("--peers")
            else []
        )
        if config.getoption("--peers") and not self.others:
            raise pytest.UsageError(f"--peers: none of the libraries is installed: {libraries.PIP}")
        self.bar = Bar(console(stderr=True), self.uncaptured)
        self.session: Session | None = None
        # by shape, not by case: the same shape under another list of layers is the same group
        self.chosen: dict[tuple[Shape, str, int], tuple[Case, list[Kernel]]] = {}
        self.groups: dict[tuple[Shape, str, int], Group] = {}
        self.wrong: dict[Group, WrongResult] = {}
        self.shown: list[tuple[dict[str, Any], Row]] = []

    @contextmanager
    def uncaptured(self) -> Iterator[None]:
        """Past pytest's capture."""
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            yield

    def started(self) -> Session:
        """The session, its roofs and groups measured."""
        if self.session is None:
            self.groups = {key: Group.of(case, *key[1:], kernels) for key, (case, kernels) in self.chosen.items()}
            self.bar(f"ISA {self.isa}, threads {self.threads}, {len(self.groups)} groups of kernels")
            if self.others:
                for line in libraries.missing():
                    self.bar(f"left out: {line}")
            self.session = Session(
                "pytest bench/ --benchmark-only",
                self.threads,
                self.dtypes,
                self.bar,
                self.sweep is SWEEPS["quick"],
                {row.backend for row in self.others},
                arguments=list(map(str, self.config.invocation_params.args)),
                options={name: str(self.config.getoption(name)) for name in OPTIONS},
            )
            try:
                self.session.start()
                self.session.run(list(self.groups.values()), self.sweep.seconds, wrong=self.wrong.__setitem__)
                self.session.finish()
            except MemoryError as error:
                pytest.exit(f"{out_of_memory(error)}: what was measured so far is kept", CUT_SHORT)
            finally:
                self.bar.close()
        return self.session

    def verify(self, case: Case, dtype: str, threads: int, kernel: Kernel) -> None:
        """--benchmark-disable: the kernel's result, without a roof or a time."""
        if self.unmeasured is None:
            self.unmeasured = Session("pytest bench/ --benchmark-disable", self.threads, self.dtypes)
        self.unmeasured.verify(case, dtype, threads, [kernel])

    def row(self, case: Case, dtype: str, threads: int, kernel: Kernel) -> Row:
        """The row of a kernel. Raises WrongResult where one of its group's results was wrong."""
        session = self.started()
        group = self.groups[case.shape, dtype, threads]
        if group in self.wrong:
            raise self.wrong[group]
        return session.rows_of(group)[kernel]

    def finish(self) -> None:
        """The record to disk, while signals wait; then figures into pytest-benchmark's extra_info."""
        if self.session is None or not self.session.measured():
            return
        with endings(lambda number, frame: None):
            metrics = self.session.metrics()
            if not any(roofs.ridges for roofs in metrics.roofs.values()):
                self.nothing = True
                return
            path = result_path(self.config.getoption("--results"), metrics.record["machine"]["id"])
            self.saved = written(metrics, path)
        self.path, self.failed = self.saved or path, self.saved != path
        by_row = {id(row): f for row, f in metrics.pairs}
        for info, row in self.shown:
            info.update(by_row.get(id(row), {}))
            info["trust"] = metrics.trust["grade"]
        self.metrics = metrics

    def draw(self) -> list[Path]:
        """Picture and page, beside the record."""
        from bench.report.roofline_plot import roofline

        assert self.metrics
        found = []
        found += roofline([self.metrics], self.path.with_suffix(""))
        text = page(self.metrics, found)
        with replacing(self.path.with_suffix(".md")) as handle:
            handle.write(text)
        return [*found, self.path.with_suffix(".md")]

    metrics: Metrics | None = None
    path = Path()
    saved: Path | None = None
    of: pytest.Session
    failed = False
    nothing = False  # neither kernels nor whole roofs: no record is written
    unmeasured: Session | None = None
    offered = False  # whether there were kernels to choose from


PLAN = pytest.StashKey[Plan]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PLAN] = Plan(config)
    listening = ExitStack()
    listening.enter_context(endings(signal.default_int_handler))  # whatever ends it, what was measured is kept
    config.add_cleanup(listening.close)
    if not config.getoption("benchmark_compare", None):
        config.option.benchmark_quiet = True  # its table has neither GB/s nor GFLOP/s columns; ours takes its place


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"left out: {line}" for line in config.stash[PLAN].left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    plan = metafunc.config.stash[PLAN]
    if "ceiling" in metafunc.fixturenames:
        ceilings = [*(f"peak_{dtype}" for dtype in plan.dtypes), "read"]
        metafunc.parametrize(("ceiling", "threads"), [(c, t) for t in plan.threads for c in ceilings])
    if "entry" not in metafunc.fixturenames:
        return
    which = metafunc.function.__name__.removeprefix("test_")
    found = list(entries(which, plan.sweep, plan.dtypes, plan.backends, plan.isa, plan.others))
    plan.offered = True
    metafunc.parametrize("entry", [entry for _, entry in found], ids=[name for name, _ in found])


def pytest_collection_finish(session: pytest.Session) -> None:
    """After -k and the like: the groups are what is left."""
    plan = session.config.stash[PLAN]
    if not session.items and plan.offered and (keyword := session.config.option.keyword):
        raise pytest.UsageError(f"-k {plain(keyword)}: {nothing_of(keyword, session.config.getoption('--sweep'))}")
    for item in session.items:
        call = getattr(item, "callspec", None)
        if call is not None and "entry" in call.params:
            case, dtype, threads, kernel = call.params["entry"]
            _, chosen = plan.chosen.setdefault((case.shape, dtype, threads), (case, []))
            if kernel not in chosen:
                chosen.append(kernel)


@pytest.fixture(scope="session")
def plan(request: pytest.FixtureRequest) -> Plan:
    return request.config.stash[PLAN]


@pytest.fixture
def replay(benchmark: Any, plan: Plan) -> Any:
    """replay(row): hands a row's samples, in seconds per call, to pytest-benchmark."""

    def show(row: Row | None) -> None:
        if row is None:  # --benchmark-disable: checked, not timed
            benchmark.pedantic(lambda: None)
            return
        rounds = REPLAY.load(call_seconds(row))
        benchmark.extra_info.update(
            {name: row[name] for name in ("operation", "types", "backend", "isa", "threads", "dims", "level", "cold")}
        )
        plan.shown.append((benchmark.extra_info, row))
        benchmark.pedantic(REPLAY.play, rounds=rounds, iterations=1)

    return show


@pytest.fixture
def measured(plan: Plan, benchmark: Any, entry: Entry) -> Row | None:
    """The row of one entry."""
    case, dtype, threads, kernel = entry
    if benchmark.disabled:
        plan.verify(case, dtype, threads, kernel)
        return None
    benchmark.group = f"{case.label}, {dtype}, {plural(threads, 'thread')}"
    return plan.row(case, dtype, threads, kernel)


@pytest.fixture
def roof(plan: Plan, benchmark: Any, ceiling: str, threads: int) -> Row | None:
    """The row of one ceiling."""
    return None if benchmark.disabled else plan.started().ceiling(ceiling, threads)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    if report.when == "call" and report.passed:
        return "passed", "", "PASSED"  # the lines of progress say more than dots
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Before pytest-benchmark writes its JSON: the final figures belong into it."""
    plan = session.config.stash[PLAN]
    plan.of = session
    plan.finish()
    return (yield)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    plan = config.stash[PLAN]
    if plan.nothing:
        terminalreporter.write_line(f"interrupted: {NothingMeasured()}")
    if plan.metrics is None:
        return
    out = console()
    with out.capture() as captured:
        out.print(summary(plan.metrics, config.getoption("--rows")))
    terminalreporter.section("ridgeline")
    terminalreporter.write_line(sayable(captured.get(), out.encoding))
    if not plan.metrics.record["complete"]:
        terminalreporter.write_line("interrupted: the record holds what was measured until then")
    files, failed = drawn(plan.draw)
    for path in [*files, *filter(None, [plan.saved])]:
        terminalreporter.write_line(sayable(f"{kind(path)}: {plain(os.path.relpath(path))}", out.encoding))
    if plan.failed or failed:
        plan.of.exitstatus = pytest.ExitCode.TESTS_FAILED
