"""What is measured to know the ceilings: one row per probe. bench.measure.probes makes them."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

Dims = Mapping[str, int]


class ProbeKind(NamedTuple):
    """A probe.

    unit     what is counted: FLOPs, or operations on integers; bytes as STREAM counts them; clock cycles
    roof     what its best sample is a ceiling of; None: it is only reported
    operand  where it is no operation of kernels.operations, the name of the one operand that it has
    amount   and the units in one call, from its dims and threads; an operation's are its bytes
    dims     the names of those dims
    """

    unit: Literal["FLOP", "byte", "cycle"]
    roof: Literal["peak", "bandwidth", "clock"] | None = None
    operand: str | None = None
    amount: Callable[[Dims, int], int] | None = None
    dims: tuple[str, ...] = ()


def _fma_flops(dims: Dims, threads: int) -> int:
    """A multiply and an add per lane of each chain on each thread."""
    return 2 * dims["chains"] * dims["lanes"] * dims["iterations"] * threads


def _dot_operations(dims: Dims, threads: int) -> int:
    return dims["products"] * _fma_flops(dims, threads)


def _layer_flops(dims: Dims, threads: int) -> int:
    """Of a rank's share of a Transformer's layer, attention as dense products."""
    rows, width = dims["m"], dims["width"]
    weights = 2 * rows * (4 * width * width + 2 * width * dims["ffn"])
    return (weights + 4 * rows * dims["keys"] * width) // dims["ranks"]


def _summed_bytes(dims: Dims, threads: int) -> int:
    """Of a layer's two sums over ranks, floats, on each rank."""
    return 2 * 4 * dims["m"] * dims["width"]


_LAYER = ("m", "keys", "width", "heads", "ffn", "ranks")

PROBES: Mapping[str, ProbeKind] = {
    "fma": ProbeKind("FLOP", "peak", "x", _fma_flops, ("chains", "lanes", "iterations")),
    "dot": ProbeKind("FLOP", "peak", "x", _dot_operations, ("chains", "lanes", "iterations", "products")),
    "adds": ProbeKind("cycle", "clock", "x", lambda dims, threads: dims["adds"], ("adds",)),  # each waits for the last
    "copy": ProbeKind("byte"),
    "copy_nt": ProbeKind("byte"),
    "scale": ProbeKind("byte"),
    "scale_nt": ProbeKind("byte"),
    "add": ProbeKind("byte"),
    "add_nt": ProbeKind("byte"),
    "triad": ProbeKind("byte"),
    "triad_nt": ProbeKind("byte"),
    "update": ProbeKind("byte"),
    "read": ProbeKind("byte", "bandwidth"),
    "read_2": ProbeKind("byte", "bandwidth"),
    "read_4": ProbeKind("byte", "bandwidth"),
    "read_8": ProbeKind("byte", "bandwidth"),
    "ping_pong": ProbeKind("byte", None, "x", lambda dims, threads: dims["bytes"], ("bytes",)),  # one way
    "window": ProbeKind(
        "byte", None, "x", lambda dims, threads: dims["bytes"] * dims["messages"], ("bytes", "messages")
    ),
    "allreduce": ProbeKind("byte", None, "x", lambda dims, threads: dims["bytes"], ("bytes", "ranks")),
    "allreduce_in_place": ProbeKind("byte", None, "x", lambda dims, threads: dims["bytes"], ("bytes", "ranks")),
    "layer_share": ProbeKind("FLOP", None, "x", _layer_flops, _LAYER),
    "layer_shares": ProbeKind("FLOP", None, "x", _layer_flops, _LAYER),
    "layer_sums": ProbeKind("byte", None, "x", _summed_bytes, _LAYER),
    "layer_split": ProbeKind("FLOP", None, "x", _layer_flops, _LAYER),
}
"""By operation, in the order of a report. read_N: N streams at once."""

LOOPS = {name: kind for name, kind in PROBES.items() if kind.operand}
"""Those that are no operation of kernels.operations."""

LINK = ("ping_pong", "window", "allreduce", "allreduce_in_place")
"""Those of the interconnect between ranks, on level "link"."""

LAYERS = ("layer_share", "layer_shares", "layer_sums", "layer_split")
"""Those of a layer that is split over ranks: one share of it alone (of one rank, the layer), all at once, the sums over
ranks between them, and the whole, shares and sums."""

READS = tuple(name for name, kind in PROBES.items() if kind.roof == "bandwidth")
