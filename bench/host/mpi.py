"""MPI as this process finds it: mpi4py, the C functions behind it, and who was started how."""

import ctypes
import importlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from bench.errors import BadInput

RANKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
"""What Open MPI, PMIx, MPICH's Hydra and Slurm tell a process of its rank, before it asks MPI."""
HOW = "mpirun -n 2 python -m bench."  # before a command's name
SIZES = {4: ctypes.c_int, 8: ctypes.c_ssize_t}


def launched() -> bool:
    """Whether a launcher gave this process a rank."""
    return any(os.environ.get(name, "").isdecimal() for name in RANKS)


def launched_rank() -> int:
    """The rank that a launcher gave this process in its environment; 0 where none did."""
    found = (os.environ.get(name, "") for name in RANKS)
    return next((int(text) for text in found if text.isdecimal()), 0)


def one_voice(main: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None) -> int:
    """A command's main(); of the ranks that a launcher started, only the first one says something."""
    if not launched_rank():
        return main(arguments)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            return main(arguments)
        except BadInput:
            return 2


def load(command: str) -> Any:
    """mpi4py.MPI, started for one thread, as OSU's programs are, for a command, as behind python -m bench.

    Raises BadInput where something is missing.
    """
    try:
        mpi4py = importlib.import_module("mpi4py")
        mpi4py.rc.thread_level = "single"
        return importlib.import_module("mpi4py.MPI")
    except ModuleNotFoundError as error:
        raise BadInput(f"mpi4py isn't installed: pip install 'ridgeline[mpi]', then {HOW}{command}") from error
    except (ImportError, RuntimeError) as error:
        raise BadInput(
            f"mpi4py finds no MPI library ({str(error).splitlines()[0]}): install Open MPI or MPICH, as by "
            "apt-get install openmpi-bin or pip install mpich"
        ) from error


def ranks_in_use(mpi: Any, command: str) -> Any:
    """A communicator of all ranks, apart from COMM_WORLD. Raises BadInput for a single one."""
    if mpi.COMM_WORLD.size < 2:
        found = any(map(shutil.which, ("mpirun", "mpiexec", "srun")))
        lacking = "" if found else "; no mpirun, mpiexec or srun is in PATH: apt-get install openmpi-bin"
        raise BadInput(f"one rank has nobody to send to: {HOW}{command}{lacking}")
    return mpi.COMM_WORLD.Dup()


def name(mpi: Any) -> str:
    """ "Open MPI 4.1.4", "MPICH 4.2.3"."""
    vendor, version = mpi.get_vendor()
    return f"{vendor} {'.'.join(map(str, version))}"


def handle(mpi: Any, owner: Any) -> int:
    """An MPI object as C's functions take it."""
    return int(owner.handle)


def function(mpi: Any, name: str, arguments: Sequence[Any]) -> Any:
    """One of MPI's C functions, for Numba: arguments are ctypes' types, or mpi4py's for a handle."""
    types = [SIZES[mpi._sizeof(one)] if one in (mpi.Comm, mpi.Datatype, mpi.Op) else one for one in arguments]
    found = getattr(ctypes.CDLL(mpi.__file__), name)  # what mpi4py's module was linked with
    found.argtypes, found.restype = types, ctypes.c_int
    return found
