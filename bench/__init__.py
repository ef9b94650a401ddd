"""What is measured; python -m bench lists the commands.

Waiting threads of two pools, OpenMP's and the BLAS's, would keep each other's CPUs busy: by default they spin for
some 5 and 30 ms
after their last work. Both libraries read their limits when they are loaded, so they are set here, before anything
else is imported:
long enough to stay awake between two calls in a row, over before the other pool's turn
(bench.measure.timing.SETTLE_SECONDS).
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # turns of a pause loop: under 1 ms
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles: under 1 ms
