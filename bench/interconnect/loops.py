"""The timed loops, compiled by Numba: calls of MPI's C functions without Python between, as in a C program.

Through mpi4py each call would take some 0.3 us more, as long as a message through shared memory takes. Times are read
from the clock of time.perf_counter().
"""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from bench.host.mpi import function, handle
from bench.interconnect.plan import ACKNOWLEDGEMENT, WINDOW

MONOTONIC = 1  # clock_gettime()'s
STATUS_BYTES = 64  # more than any MPI's status
POINTER, INT = ctypes.c_ssize_t, ctypes.c_int


class Place(NamedTuple):
    """Where messages lie: at send + position and receive + position.

    stride    bytes from one message to the next
    slots     messages, until the first one's place is used again; 1: all have the same
    position  of the first one, in slots
    """

    send: int
    receive: int
    stride: int
    slots: int
    position: int


class Loops(NamedTuple):
    """Functions of a Place's five numbers and

    ping_pong(leads, peer, size, skip, blocks, each, ended, spent)
    window(leads, peer, size, skip, blocks, each, ended, spent)
    allreduce(count, in_place, skip, blocks, each, ended, spent)

    leads  whether this rank is the one that sends first
    ended, spent  arrays of `blocks` int64: when a block of calls ended, and the time that its calls took, in ns
    """

    ping_pong: Callable[..., None]
    window: Callable[..., None]
    allreduce: Callable[..., None]


def compiled(mpi: Any, communicator: Any) -> Loops:
    """The loops on a communicator. Takes seconds: two thirds of them are Numba's."""
    comm, byte, f32, total = (handle(mpi, one) for one in (communicator, mpi.BYTE, mpi.FLOAT, mpi.SUM))
    here = int(mpi.IN_PLACE)
    message = [POINTER, INT, mpi.Datatype, INT, INT, mpi.Comm, POINTER]
    send, isend, irecv = (
        function(mpi, "MPI_Send", message[:-1]),
        *(function(mpi, name, message) for name in ("MPI_Isend", "MPI_Irecv")),
    )
    receive = function(mpi, "MPI_Recv", message)
    wait = function(mpi, "MPI_Waitall", [INT, POINTER, POINTER])
    reduce = function(mpi, "MPI_Allreduce", [POINTER, POINTER, INT, mpi.Datatype, mpi.Op, mpi.Comm])
    barrier = function(mpi, "MPI_Barrier", [mpi.Comm])
    clock = ctypes.CDLL(None).clock_gettime
    clock.argtypes, clock.restype = [INT, POINTER], INT
    request = mpi._sizeof(mpi.Request)

    @numba.njit(nogil=True)
    def now(moment: Any) -> Any:
        clock(MONOTONIC, moment.ctypes.data)
        return moment[0] * 1_000_000_000 + moment[1]

    @numba.njit(nogil=True)
    def block(n, begun, moment, ended, spent):  # type: ignore[no-untyped-def]
        """Notes the end of block n - 1, which began at `begun`; returns when block n begins."""
        time = now(moment)
        if n > 0:
            ended[n - 1], spent[n - 1] = time, time - begun
        return time

    @numba.njit(nogil=True)
    def ping_pong(sends, receives, stride, slots, position, leads, peer, size, skip, blocks, each, ended, spent):  # type: ignore[no-untyped-def]
        begun, moment, status = np.int64(0), np.zeros(2, np.int64), np.zeros(STATUS_BYTES, np.uint8)
        at_status = status.ctypes.data
        for i in range(-skip, blocks * each + 1):
            if i >= 0 and i % each == 0:
                begun = block(i // each, begun, moment, ended, spent)
                if i == blocks * each:
                    break
            at = position * stride
            if leads:
                send(sends + at, size, byte, peer, 1, comm)
                receive(receives + at, size, byte, peer, 1, comm, at_status)
            else:
                receive(receives + at, size, byte, peer, 1, comm, at_status)
                send(sends + at, size, byte, peer, 1, comm)
            position = position + 1 if position + 1 < slots else 0

    @numba.njit(nogil=True)
    def window(sends, receives, stride, slots, position, leads, peer, size, skip, blocks, each, ended, spent):  # type: ignore[no-untyped-def]
        begun, moment, statuses = np.int64(0), np.zeros(2, np.int64), np.zeros(WINDOW * STATUS_BYTES, np.uint8)
        requests, acknowledgement = np.zeros(WINDOW * request, np.uint8), np.zeros(ACKNOWLEDGEMENT, np.uint8)
        first, at_status, at_last = requests.ctypes.data, statuses.ctypes.data, acknowledgement.ctypes.data
        for i in range(-skip, blocks * each + 1):
            if i >= 0 and i % each == 0:
                begun = block(i // each, begun, moment, ended, spent)
                if i == blocks * each:
                    break
            for j in range(WINDOW):
                at = position * stride
                if leads:
                    isend(sends + at, size, byte, peer, 100, comm, first + j * request)
                else:
                    irecv(receives + at, size, byte, peer, 100, comm, first + j * request)
                position = position + 1 if position + 1 < slots else 0
            wait(WINDOW, first, at_status)
            if leads:
                receive(at_last, ACKNOWLEDGEMENT, byte, peer, 101, comm, at_status)
            else:
                send(at_last, ACKNOWLEDGEMENT, byte, peer, 101, comm)

    @numba.njit(nogil=True)
    def allreduce(sends, receives, stride, slots, position, count, in_place, skip, blocks, each, ended, spent):  # type: ignore[no-untyped-def]
        moment = np.zeros(2, np.int64)
        for i in range(-skip, blocks * each):
            at = position * stride
            before = now(moment)
            reduce(here if in_place else sends + at, receives + at, count, f32, total, comm)
            after = now(moment)
            if i >= 0:
                ended[i // each] = after
                spent[i // each] += after - before
            position = position + 1 if position + 1 < slots else 0
            barrier(comm)

    return Loops(ping_pong, window, allreduce)
