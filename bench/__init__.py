"""What is measured; python -m bench lists the commands.

Waiting threads of two pools, OpenMP's and the BLAS's, would keep each other's CPUs busy: by default they spin for some
5 and 30 ms after their last work. Both libraries read their limits when they are loaded, so they are set here, before
anything else is imported: long enough to stay awake between two calls in a row, over before the other pool's turn
(bench.measure.timing.SETTLE_SECONDS).
"""

import os
from pathlib import Path

from ridgeline import one_tree

PROJECT = "ridgeline"
one_tree(Path(__file__).resolve().parents[1])

from kernels.cpus import leave_unbound  # noqa: E402 - only now it is known to be this tree's

leave_unbound()  # the session pins its threads itself, and in turn to one core and to all
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # turns of a pause loop: under 1 ms
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles: under 1 ms
os.environ["MPLBACKEND"] = "agg"  # pictures are files: a Jupyter kernel's, which its children inherit, may not be here
