"""Whole Transformers as Gholami et al. count them, operator by operator: rows of FLOPs, bytes and intensity."""

from collections.abc import Sequence
from typing import Any

from bench.workloads.counts import count, total
from bench.workloads.model import Model


def analytic(model: Model, phase: str, lengths: Sequence[int], itemsize: int) -> list[dict[str, Any]]:
    """A row per length and operator, then the whole model: FLOPs, MOPs, bytes, both intensities. Raises as count()."""
    rows = []
    for length in lengths:
        counts = count(model, length, phase)
        rows += [
            {
                "model": model.name,
                "phase": phase,
                "length": length,
                "positions": model.positions,
                "operator": name,
                "flops": c.flops,
                "mops": c.mops,
                "bytes": c.bytes(itemsize),
                "flop_per_mop": c.intensity,
                "flop_per_byte": c.flops / c.bytes(itemsize),
            }
            for name, c in [*counts.items(), ("total", total(counts))]
        ]
    return rows
