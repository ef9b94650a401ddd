"""Bandwidth as an independent C program, stream_reference.c, finds it, beside this project's probes.

    PYTHONPATH=tests python -m support.stream_reference [--threads 1,2] [--size MIB] [--pairs N] [--pages huge|small]

In turn: the program and the probes each in a process and on arrays of its own, of the same size, on the same pages and
CPUs; the ratio of a pair is that of their median rates, which is as good as the machine is steady. Own arrays: the
program's loops and the probes in the same rounds, each on its arrays. Same arrays: both on the probes', so that what is
left is the loops. Both use regular stores; reads go in four streams.
"""

import argparse
import ctypes
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from bench.host.cpus import cpus_for, thread_counts
from bench.host.placement import pinned
from bench.measure.arrays import stream_arrays
from bench.measure.probes import Probe, stream_probe
from bench.measure.timing import Samples, interleave
from bench.options import use_pages
from bench.record.intervals import median_interval
from kernels.arrays import PAGES, aligned_empty, pages
from kernels.backends.c import ffi, lib

SOURCE = Path(__file__).with_suffix(".c")
KERNELS = {"copy": "copy", "scale": "scale", "add": "add", "triad": "triad", "read": "read_4"}
"""The program's, and the probe of each."""
ROUNDS = 12


def build(folder: Path) -> tuple[Path, Path]:
    """The program and the library. Raises FileNotFoundError without gcc."""
    compiler = ["gcc", "-O3", "-march=native", "-fopenmp", str(SOURCE), "-lm", "-o"]
    program, library = folder / "stream_reference", folder / "stream_reference.so"
    subprocess.run([*compiler, program], check=True)
    subprocess.run([*compiler, library, "-shared", "-fPIC"], check=True)
    return program, library


def run_program(program: Path, n: int, threads: int, rounds: int) -> tuple[dict[str, int], dict[str, list[float]]]:
    """By kernel, the bytes of a call and the seconds of each."""
    places = ",".join(f"{{{cpu}}}" for cpu in cpus_for(threads))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true", "OMP_PLACES": places}
    command = [str(program), str(n), str(rounds), pages()]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    moved, seconds = {}, defaultdict(list)
    for name, size, one in map(str.split, ran.stdout.splitlines()):
        moved[name] = int(size)
        seconds[name].append(float(one))
    return moved, seconds


def _probes(arrays: Sequence[np.ndarray], threads: int) -> list[Probe]:
    return [stream_probe(operation, "c", arrays, threads) for operation in KERNELS.values()]


def run_probes(n: int, threads: int, rounds: int) -> dict[str, list[float]]:
    """By kernel, the seconds of each call, on fresh arrays."""
    with pinned(threads):
        probes = _probes(stream_arrays(3, n, threads), threads)
        samples = interleave([p.variant for p in probes], 60, least=rounds, most=rounds)
    calls = [p.row["calls"] * s.calls for p, s in zip(probes, samples, strict=True)]
    return {name: [t / c for t in s.seconds] for name, s, c in zip(KERNELS, samples, calls, strict=True)}


def _as_the_program(n: int, threads: int) -> list[np.ndarray]:
    """Three arrays that all begin with a page, as aligned_alloc() gives them."""
    arrays = [aligned_empty(n, np.float64) for _ in range(3)]
    for array in arrays:
        lib.stream_fill(threads, n, ffi.cast("double *", array.ctypes.data), 1.0)
    return arrays


def run_together(library: Path, n: int, threads: int, rounds: int, own: bool = False) -> dict[str, list[float]]:
    """By kernel, the rate of the probe over that of the program's loop, round by round.

    own: the loop runs on arrays of its own, not on the probe's.
    """
    loops, size, team = ctypes.CDLL(str(library)), ctypes.c_int64(n), ctypes.c_int(threads)
    ratios = {}
    with pinned(threads):
        arrays = stream_arrays(3, n, threads)
        theirs = _as_the_program(n, threads) if own else arrays
        at = [ctypes.c_void_p(x.ctypes.data) for x in theirs]
        for name, probe in zip(KERNELS, _probes(arrays, threads), strict=True):
            loop = getattr(loops, f"reference_{name}")
            variants = [[lambda loop=loop: loop(team, size, *at)], probe.variant]
            loops_seconds, ours = (_by_turn(s) for s in interleave(variants, 60, least=rounds, most=rounds))
            passes = probe.row["calls"]
            ratios[name] = [passes * loops_seconds[turn] / ours[turn] for turn in loops_seconds.keys() & ours.keys()]
    return ratios


def _by_turn(samples: Samples) -> dict[int, float]:
    """Seconds per call in each round; a sample that lost its CPU is taken again, in another."""
    return {turn: seconds / samples.calls for turn, seconds in zip(samples.turns, samples.seconds, strict=True)}


def _figure(ratios: Sequence[float]) -> str:
    found = median_interval(ratios)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _measured(programs: tuple[Path, Path], n: int, threads: int, pairs: int) -> tuple[Mapping[str, list[float]], ...]:
    turns, own, same = defaultdict(list), defaultdict(list), defaultdict(list)
    for pair in range(pairs):
        if pair % 2:  # who goes first takes turns, too
            ours = run_probes(n, threads, ROUNDS)
        _, theirs = run_program(programs[0], n, threads, ROUNDS)
        if not pair % 2:
            ours = run_probes(n, threads, ROUNDS)
        for found, its_own in ((own, True), (same, False)):
            for name, ratios in run_together(programs[1], n, threads, ROUNDS, its_own).items():
                found[name].append(median(ratios))
        for name in KERNELS:
            turns[name].append(median(theirs[name]) / median(ours[name]))
    return turns, own, same


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=thread_counts, default="1,all")
    parser.add_argument("--size", type=float, default=128, metavar="MIB", help="MiB per array (%(default)s)")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--pages", type=use_pages, default=PAGES[0])
    options = parser.parse_args()
    print(f"the probe's rate over the program's, {options.size:g} MiB per array on {pages()} pages,")
    print(f"medians of {options.pairs} pairs of {ROUNDS} rounds [95 %]")
    print(f"{'kernel':8}{'threads':>7}  {'in turn':22}  {'same rounds, own arrays':24}same rounds, same arrays")
    with tempfile.TemporaryDirectory() as folder:
        programs = build(Path(folder))
        for threads in options.threads:
            turns, own, same = _measured(programs, int(options.size * 2**17), threads, options.pairs)
            for name in KERNELS:
                figures = (_figure(found[name]) for found in (turns, own, same))
                print(f"{name:8}{threads:7}  " + "  ".join(f"{figure:22}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
