"""python -m bench.ab: two builds of the kernels in turn."""
