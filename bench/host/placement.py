"""Where threads run: pinned to bench.host.cpus; how far apart those CPUs are, their clock, and the ISA in use."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from bench.errors import BadInput
from bench.host.cpus import cpus_for

try:
    from kernels import arrays, registry  # now, before threads are pinned: Numba counts the CPUs that it may use
    from kernels.backends.c import ffi, lib
    from kernels.cpus import BINDING, unset
    from kernels.teams import refusal
except ImportError as error:  # not built: every measuring command comes through here
    raise SystemExit(str(error)) from error


def isa_in_use() -> str:
    """kernels.chosen_isa() for commands: raises BadInput where RIDGELINE_ISA names an ISA that can't run."""
    try:
        return registry.chosen_isa()
    except registry.UnavailableISA as error:
        raise BadInput(str(error)) from error


def backends_in_use(wanted: Iterable[str], counts: Iterable[int]) -> tuple[dict[int, list[str]], list[str]]:
    """By thread count those backends that run with it, and why others don't, a line each.

    Raises BadInput, with those lines, where that leaves a count without any, and as isa_in_use().
    """
    isa_in_use()
    wanted, counts = list(wanted), list(counts)
    reasons = {(count, name): registry.unusable(name, count) for count in counts for name in wanted}
    found = {count: [name for name in wanted if reasons[count, name] is None] for count in counts}
    lines = list(dict.fromkeys(filter(None, reasons.values())))
    if not all(found.values()):
        raise BadInput("; ".join(lines))
    return found, lines


def pages_in_use() -> str:
    """kernels.arrays.pages() for commands: raises BadInput where RIDGELINE_PAGES is neither huge nor small."""
    try:
        return arrays.pages()
    except ValueError as error:
        raise BadInput(str(error)) from error


def team_in_use(threads: int) -> None:
    """Raises BadInput where OpenMP doesn't start as many threads as it is asked for, or binds them itself."""
    if lib.bound_places():
        found = [f"{name}={value}" for name, value in {**os.environ, **unset()}.items() if name in BINDING]
        raise BadInput(
            "threads can't be pinned: an OpenMP runtime was loaded before this project, and binds them itself: unset "
            f"{', '.join(found) or 'what it was told'}"
        )
    if reason := refusal(threads):
        raise BadInput(f"--threads {threads}: {reason}")


@contextmanager
def pinned(threads: int) -> Iterator[Sequence[int]]:
    """Runs the block with one OpenMP thread per CPU of cpus_for(), and BLAS on as many threads; yields the CPUs."""
    with pinned_to(cpus_for(threads)) as cpus:
        registry.set_threads(threads)
        yield cpus


_pinned: list[Sequence[int]] = []  # the blocks that this one is in, outermost first


@contextmanager
def pinned_to(cpus: Sequence[int]) -> Iterator[Sequence[int]]:
    """Runs the block with one OpenMP thread on each of these CPUs; then they are where they were before."""
    mask = sorted(os.sched_getaffinity(0))
    _pin(len(cpus), [[cpu] for cpu in cpus])
    _pinned.append(cpus)
    try:
        yield cpus
    finally:
        _pinned.pop()
        _pin(len(cpus), [mask] * len(cpus))
        if _pinned:
            _pin(len(_pinned[-1]), [[cpu] for cpu in _pinned[-1]])


def _pin(threads: int, masks: Sequence[Sequence[int]]) -> None:
    flat = [cpu for mask in masks for cpu in mask]
    error = lib.pin_threads(threads, len(masks[0]), ffi.new("int[]", flat))
    if error:
        raise BadInput(f"can't pin threads to CPUs {flat}: {os.strerror(error)}")


def clock_hertz() -> float:
    """The core's clock now: dependent adds take one cycle each. Best of five chains of half a millisecond or so."""
    adds, best = 1_600_000, float("inf")
    for _ in range(5):
        start = time.perf_counter()
        lib.dependent_adds(adds)
        best = min(best, time.perf_counter() - start)
    return adds / best


def ping(cpu_a: int, cpu_b: int) -> float | None:
    """Seconds per round trip of a cache line between two CPUs, best of 5 times 2000; None where that can't be had."""
    seconds = lib.ping_seconds(cpu_a, cpu_b, 2000, 5)
    return seconds if seconds > 0 else None
