"""Measuring: timing, probes, sessions. Only this needs the compiled kernels: records are read without them."""

import bench.host.placement  # noqa: F401 (ends a command in one line where nothing was compiled)
