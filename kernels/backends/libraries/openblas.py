"""The OpenBLAS of its own wheel, usually newer than NumPy's."""

from pathlib import Path

import scipy_openblas32

from kernels.backends.libraries.cblas import Library

path = Path(scipy_openblas32.get_lib_dir()) / scipy_openblas32.get_library(fullname=True)
bind = Library(str(path), "scipy_", "scipy_openblas_set_num_threads", "int").bind
