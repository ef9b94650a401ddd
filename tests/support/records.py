"""A record of made-up seconds whose figures can be worked out by hand.

Peak 100 GFLOP/s in f32, memory 20 GB/s: the ridge lies at 5 FLOP/byte. Everything is sampled in the same nine rounds,
three in each of three visits, one region after the other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from bench.record import store
from bench.record.format import Circumstances, Machine
from bench.record.metrics import Metrics
from bench.record.row import Kind, Row, make_row
from bench.record.runs.faults import mark
from bench.record.runs.run import Run

PEAK, READ = 100e9, 20e9
ROUNDS = list(range(9))
VISITS = [r // 3 for r in ROUNDS]
STARTS = [0.5 * r for r in ROUNDS]
TICK = 2.0**-34  # seconds: what tells two times apart, as doubles, on a machine that has been up for days
STARTED = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MACHINE: Machine = {
    "id": "made-up-00000000",
    "cpu": {"model": "Made Up"},
    "topology": {},
    "caches": [],
    "memory_bytes": 1 << 30,
    "libraries": {},
    "build": {},
}


def fma(threads: int = 1, rates: Sequence[float] = (PEAK,) * 9) -> Row:
    """10 chains of 8 lanes, 1000 times: 160 kFLOP a call and thread, a thousand calls a sample."""
    dims = {"chains": 10, "lanes": 8, "iterations": 1000}
    seconds = [1.6e8 * threads / rate for rate in rates]
    return sampled("probe", "fma", "f32", threads, dims, seconds, STARTS, level="core", calls=1000)


def dot(element: str, rate: float) -> Row:
    """6 chains of 8 lanes, 1000 times 32 products: 3.072 million operations a call, a hundred calls a sample."""
    dims = {"chains": 6, "lanes": 8, "iterations": 1000, "products": 32}
    starts = [s + 0.05 for s in STARTS]
    return sampled("probe", "dot", element, 1, dims, [3.072e8 / rate] * 9, starts, level="core", calls=100)


def read(threads: int = 1, rates: Sequence[float] = (READ,) * 9, **other: Any) -> Row:
    """A million doubles, 8 MB, a call."""
    starts = [s + 0.1 for s in STARTS]
    return sampled("probe", "read", "f64", threads, {"n": 10**6}, [8e6 / rate for rate in rates], starts, **other)


def product(m: int, gflops: float, threads: int = 1, spread: float = 0.001, **other: Any) -> Row:
    """x W with cold weights of 1000 x 1000 floats, 4 MB: m / 2 FLOP/byte."""
    dims = {"n": 1000, "k": 1000} | ({"m": m} if m > 1 else {})
    seconds = [2e6 * m / (gflops * 1e9) * (1 + spread * (i % 3 - 1)) for i in ROUNDS]
    operation, types = "gemm" if m > 1 else "gemv_t", other.pop("types", "f32")
    fields = {"cold": ["b" if m > 1 else "w"]} | other
    starts = [s + 0.2 for s in STARTS]
    return sampled("kernel", operation, types, threads, dims, seconds, starts, **fields)


def sampled(
    kind: Kind,
    operation: str,
    types: Any,
    threads: int,
    dims: dict[str, int],
    seconds: list[float],
    starts: list[float],
    **other: Any,
) -> Row:
    """A row of one sample in each of ROUNDS, of fewer where there are fewer seconds."""
    count = len(seconds)
    samples = {"seconds": seconds, "rounds": ROUNDS[:count], "starts": starts[:count]}
    row = make_row(kind, operation, types, "c", "avx2", threads, **({"dims": dims} | samples | other))
    return {**row, "visits": VISITS[: len(row["seconds"])]}


def session(**other: Any) -> Circumstances:
    lists = {name: [] for name in ("placements", "conditions", "untrusted", "remarks")}
    objects = {name: {} for name in ("cpus", "jit_seconds", "vector_code")}
    known = {"isa": "avx2", "forced": None, "timer_resolution": 1e-8}
    return cast(Circumstances, {**known, **lists, **objects, **other})


def make(kernels: Sequence[Row], threads: int = 1, **of_session: Any) -> Metrics:
    rows = [fma(threads), read(threads), *kernels]
    return of(rows, **of_session)


def of(
    rows: Sequence[Row], machine: Machine = MACHINE, runs: Sequence[Run] = (), complete: bool = True, **of_session: Any
) -> Metrics:
    """The same without any probe but those among the rows; with runs of whole models, whose slow parts are marked."""
    mark(runs)
    counts = sorted({one["threads"] for one in (*rows, *runs)})
    of_session = {"cpus": {str(t): list(range(t)) for t in counts}} | of_session
    every = in_turn([*rows, *runs])
    rows, runs = every[: len(rows)], every[len(rows) :]
    given: dict[str, Any] = {
        "started": STARTED,
        "arguments": ["--threads", "1"],
        "options": {"threads": [1]},
        "runs": runs,
    }
    return store.make("python -m bench.made_up", complete, machine, session(**of_session), list(rows), **given)


def in_turn(rows: Sequence[Any]) -> list[Any]:
    """Rows or runs whose samples start one after the other, round by round, and last whole ticks."""
    found = [
        row | {"seconds": ticks(row["seconds"]), "starts": list(row["starts"] or [0.0] * len(row["seconds"]))}
        for row in rows
    ]
    order = sorted((n, i, at) for i, row in enumerate(found) for at, n in enumerate(row["rounds"]))
    now = 0.0
    for n, i, at in order:
        now = max(now, 0.5 * n)
        found[i]["starts"][at] = now
        now += found[i]["seconds"][at] + 1e-3
    return found


def ticks(seconds: Sequence[float]) -> list[float]:
    """Whole nanoseconds as they are, others as whole ticks."""
    whole = all(abs(s - round(s, 9)) < 1e-15 for s in seconds)
    return list(seconds) if whole else [round(s / TICK) * TICK for s in seconds]
