"""Bandwidth as an independent C program, stream_reference.c, finds it, beside this project's probes.

    python -m tests.support.stream_reference [--threads T] [--size MIB] [--rounds N]

Both run in turn on arrays of the same size, with threads on the same CPUs; the best of each counts. gcc makes a call of
memcpy of the copy loop, which uses non-temporal stores on large arrays, so the probes' figures with such stores stand
beside those with regular ones.
"""

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import kernels
from bench.host.cpus import cpus_for
from bench.host.placement import pinned
from bench.measure.arrays import stream_arrays
from bench.measure.probes import stream_probe
from bench.measure.timing import interleave
from kernels.operations import OPERATIONS

SOURCE = Path(__file__).with_suffix(".c")
KERNELS = {name: (name, f"{name}_nt") for name in ("copy", "scale", "add", "triad")}
KERNELS["read"] = ("read", "read_2", "read_4", "read_8")
REPETITIONS = 20


@dataclass
class Result:
    """Best bytes/s of one kernel: of the reference, and of each probe of ours; and the bytes the reference counts."""

    bytes: int = 0
    reference: float = 0.0
    probes: dict[str, float] = field(default_factory=dict)


def build(folder: Path) -> Path:
    """The compiled program. Raises FileNotFoundError without gcc."""
    program = folder / "stream_reference"
    subprocess.run(["gcc", "-O3", "-march=native", "-fopenmp", SOURCE, "-o", program], check=True)
    return program


def _run_reference(program: Path, n: int, threads: int, results: dict[str, Result]) -> None:
    places = ",".join(f"{{{cpu}}}" for cpu in cpus_for(threads))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true", "OMP_PLACES": places}
    command = [str(program), str(n), str(REPETITIONS)]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    for name, moved, seconds in map(str.split, ran.stdout.splitlines()):
        results[name].bytes = int(moved)
        results[name].reference = max(results[name].reference, int(moved) / float(seconds))


def _run_probes(n: int, threads: int, results: dict[str, Result]) -> None:
    usable = {k.operation for k in kernels.available() if k.backend == "c"}
    with pinned(threads):
        arrays = stream_arrays(3, n, threads)
        for name, result in results.items():
            probes = [stream_probe(op, "c", arrays, threads) for op in KERNELS[name] if op in usable]
            samples = interleave([p.variant for p in probes], 0.1, least=REPETITIONS, warm_up=0.02)
            for probe, sample in zip(probes, samples, strict=True):
                operation = probe.row["operation"]
                moved = OPERATIONS[operation].bytes({"n": n}, "f64") * probe.row["calls"] * sample.calls
                result.probes[operation] = max(result.probes.get(operation, 0), moved / min(sample.seconds))


def compare(program: Path, size: int, threads: int, rounds: int) -> dict[str, Result]:
    """Runs both, `rounds` times in turn, on arrays of `size` bytes."""
    results = {name: Result() for name in KERNELS}
    for _ in range(rounds):
        _run_reference(program, size // 8, threads, results)
        _run_probes(size // 8, threads, results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=float, default=256, metavar="MIB", help="MiB per array (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = int(options.size * 2**20)
        results = compare(build(Path(folder)), size, options.threads, options.rounds)
    print(f"{options.threads} threads, {options.size:g} MiB per array, best of {options.rounds} rounds")
    print("GB/s, and in brackets the probe's over the reference's")
    for name, result in results.items():
        ours = "".join(
            f"  {probe} {rate / 1e9:.2f} ({rate / result.reference:.3f})" for probe, rate in result.probes.items()
        )
        print(f"{name:6} reference {result.reference / 1e9:6.2f} {ours}")


if __name__ == "__main__":
    main()
