"""A record of made-up seconds whose figures can be worked out by hand.

Peak 100 GFLOP/s in f32, memory 20 GB/s at best and 19.5 in most rounds: the ridge lies at 5, in [5, 5.13] FLOP/byte.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from bench.record import store
from bench.record.format import Circumstances, Machine
from bench.record.metrics import Metrics
from bench.record.row import Row, make_row

PEAK, READ, OFTEN = 100e9, 20e9, 19.5e9
ROUNDS = list(range(10))
STARTS = [0.5 * r for r in ROUNDS]
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


def fma(threads: int = 1) -> Row:
    """10 chains of 8 lanes, 1000 times: 160 kFLOP a call and thread, ten calls a sample."""
    dims = {"chains": 10, "lanes": 8, "iterations": 1000}
    seconds = [1.6e6 * threads / PEAK] * len(ROUNDS)
    return make_row(
        "probe",
        "fma",
        "f32",
        "c",
        "avx2",
        threads,
        dims=dims,
        level="core",
        calls=10,
        seconds=seconds,
        rounds=ROUNDS,
        starts=STARTS,
    )


def read(threads: int = 1) -> Row:
    """A million doubles, 8 MB, a call; as fast as READ in the first and the last round."""
    seconds = [8e6 / (READ if r in (ROUNDS[0], ROUNDS[-1]) else OFTEN) for r in ROUNDS]
    samples: dict[str, Any] = {"seconds": seconds, "rounds": ROUNDS, "starts": STARTS}
    return make_row("probe", "read", "f64", "c", "avx2", threads, dims={"n": 10**6}, **samples)


def product(m: int, gflops: float, threads: int = 1, spread: float = 0.001, **other: Any) -> Row:
    """x W with cold weights of 1000 x 1000 floats, 4 MB: m / 2 FLOP/byte."""
    dims = {"n": 1000, "k": 1000} | ({"m": m} if m > 1 else {})
    seconds = [2e6 * m / (gflops * 1e9) * (1 + spread * (i % 3 - 1)) for i in range(9)]
    samples = {"seconds": seconds, "rounds": [3] * 9, "starts": [1.6 + 0.01 * i for i in range(9)]}
    fields = {"dims": dims, "cold": ["b" if m > 1 else "w"]} | samples
    operation = "gemm" if m > 1 else "gemv_t"
    return make_row("kernel", operation, other.pop("types", "f32"), "c", "avx2", threads, **(fields | other))


def session(**other: Any) -> Circumstances:
    lists = {name: [] for name in ("pings", "conditions", "untrusted", "remarks")}
    objects = {name: {} for name in ("cpus", "jit_seconds", "vector_code")}
    known = {"isa": "avx2", "forced": None, "timer_resolution": 1e-8, "pages": None}
    return cast(Circumstances, {**known, **lists, **objects, **other})


def make(kernels: Sequence[Row], threads: int = 1, **of_session: Any) -> Metrics:
    rows = [fma(threads), read(threads), *kernels]
    return of(rows, **of_session)


def of(rows: Sequence[Row], **of_session: Any) -> Metrics:
    """The same without any probe but those among the rows."""
    given: dict[str, Any] = {"started": STARTED, "arguments": ["--threads", "1"], "options": {"threads": [1]}}
    return store.make("python -m bench.made_up", True, MACHINE, session(**of_session), list(rows), **given)
