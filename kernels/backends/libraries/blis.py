"""BLIS as the system has it, threads by OpenMP."""

from ctypes.util import find_library

from kernels.backends.libraries.cblas import Library

bind = Library(find_library("blis") or "libblis.so", "", "bli_thread_set_num_threads", "int64_t").bind
