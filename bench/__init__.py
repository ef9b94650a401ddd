"""What is measured; python -m bench lists the commands.

Waiting threads of two pools, OpenMP's and the BLAS's, would keep each other's CPUs busy: by default they spin for some
5 and 30 ms after their last work. Both libraries read their limits when they are loaded, so they are set here, before
anything else is imported: long enough to stay awake between two calls in a row, over before the other pool's turn
(bench.measure.timing.SETTLE_SECONDS).
"""

import os
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).resolve().parents[1]


def _one_tree() -> None:
    """Exits where kernels, or the folder that Python searches first, belongs to another checkout than this package.

    An editable install goes before every folder: in a second checkout it would bring the first one's kernels.
    """
    if find_spec("kernels") is None:
        raise SystemExit(f"{OWN} has bench, but not the kernels beside it")
    specs = [find_spec("kernels._native"), find_spec("kernels"), PathFinder.find_spec("bench")]
    for spec in specs:
        if spec and spec.origin and (other := Path(spec.origin).resolve().parents[1]) != OWN:
            raise SystemExit(f"two checkouts, {OWN} and {other}: run `pip install -e .` in the one that is meant")


_one_tree()

from kernels.cpus import leave_unbound  # noqa: E402 - only now it is known to be this tree's

leave_unbound()  # the session pins its threads itself, and in turn to one core and to all
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # turns of a pause loop: under 1 ms
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles: under 1 ms
