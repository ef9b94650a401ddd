"""Measuring: timing, probes, sessions. Only this needs the compiled kernels: records are read without them."""

from importlib.util import find_spec
from pathlib import Path

_kernels = find_spec("kernels")
if _kernels is None or not any(list(Path(p).glob("_native*")) for p in _kernels.submodule_search_locations or ()):
    raise SystemExit("kernels/_native, the compiled part, isn't built: run `make build` or `pip install -e .`")
