"""What bench.ab measures: BERT-Base's shapes, one or a few per kernel, with inputs and expected results as files."""

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from bench.errors import BadInput
from bench.host.sysfs import available_memory_bytes
from bench.measure.last_level import last_level
from bench.workloads.model import find
from bench.workloads.shapes import Case
from kernels.operations import OPERATIONS
from kernels.types import DTYPES
from kernels.verify import error_bound, reference

TOKENS = 128
COLD = 4  # times the last-level caches in reach: a twentieth may stay in them, of both builds'
TALL = 64  # rows of activations from which arithmetic is the limit, and half as many copies are cold enough
LENGTHS = {"gemm": (8, 128, 512), "gemm_prepacked": (8, 128)}
BY_DEFAULT = (*LENGTHS, "gemv", "gemv_t", "gemm_batch", "gemm_batch_t", "softmax", "gelu")


def cases(chosen: str | None = None) -> list[Case]:
    """Those whose operation matches one of the patterns, "gemm*,softmax"; None: a minute's worth of them.

    Raises BadInput for a pattern that matches none.
    """
    known = _all()
    if chosen is None:
        return [case for case in known if case.operation in BY_DEFAULT]
    found = []
    for pattern in chosen.split(","):
        matching = [case for case in known if fnmatchcase(case.operation, pattern.strip())]
        if not matching:
            names = ", ".join(dict.fromkeys(case.operation for case in known))
            raise BadInput(f"-k {pattern}: no such operation; there are {names}")
        found += matching
    return list(dict.fromkeys(found))


def _all() -> list[Case]:
    model = find("BERT-Base")
    d, f, heads, per_head, m = model.width, model.ffn, model.heads, model.head_dim, TOKENS
    up = ("ffn_up",)
    return [
        *(Case(name, 1, f, d, True, up) for name in ("gemv", "gemv_t")),
        *(
            Case(name, length, *((f, d, True, up) if length < TALL else (d, d, True, ("o",))))
            for name, lengths in LENGTHS.items()
            for length in lengths
        ),
        Case("gemm_batch_t", m, m, per_head, False, ("scores",), batch=heads),
        Case("gemm_batch", m, per_head, m, False, ("values",), batch=heads),
        *(Case(name, m, m, 1, False, ("softmax",), batch=heads) for name in ("softmax", "softmax_causal")),
        *(Case(name, m, f, 1, False, ("gelu",)) for name in ("gelu", "gelu_tanh")),
        *(Case(name, m, d, 1, False, ("norm",)) for name in ("layer_norm", "residual_norm")),
        Case("residual", m, d, 1, False, ("residual",)),
        Case("bias", m, 3 * d, 1, False, ("bias",)),
    ]


def write(folder: Path, wanted: Sequence[Case], dtype: str, builds: int = 2) -> None:
    """Writes what bench/ab/server.py reads: cases.json, weights.npy, and by number each operand and expected result.

    builds: how many of them may keep a packed copy of the weights. Raises BadInput where there is no room for them.
    """
    random, type_ = np.random.default_rng(2403), DTYPES[dtype]
    weights = random.standard_normal(max((c.n * c.k for c in wanted if c.weight), default=0), dtype=type_)
    np.save(folder / "weights.npy", weights)
    cold = _cold_bytes(1 + builds) if weights.size else 0
    documents = []
    for number, case in enumerate(wanted):
        op, dims = OPERATIONS[case.operation], {**case.dims, "1": 1}
        inputs = []
        for name, names in op.inputs:
            shape = tuple(dims[d] for d in names)
            if name == case.weights:
                inputs.append(weights[: int(np.prod(shape))].reshape(shape))
                continue
            values = random.standard_normal(shape, dtype=type_)
            inputs.append(np.abs(values) if shape == (1,) else values)  # a scale, or a variance's least
            np.save(folder / f"{number}-{name}.npy", inputs[-1])
        np.save(folder / f"{number}-expected.npy", reference(case.operation, dtype, inputs))
        np.save(folder / f"{number}-bound.npy", error_bound(case.operation, dtype, inputs))
        documents.append(
            {
                "operation": case.operation,
                "dtype": dtype,
                "operands": [name for name, _ in op.inputs],
                "weights": case.weights,
                "weights_shape": [dims[d] for name, names in op.inputs if name == case.weights for d in names],
                "cold_bytes": 0 if not case.weight else cold if case.m < TALL else cold // 2,
                "packed": op.packed,
                "in_place": op.in_place,
            }
        )
    (folder / "cases.json").write_text(json.dumps(documents), encoding="utf-8")


def _cold_bytes(times: int) -> int:
    """Bytes of weights that no cache keeps. Raises BadInput where so many times as much doesn't fit into memory."""
    cache = last_level().bytes
    if COLD * cache * times > (available_memory_bytes() or 1 << 30):
        raise BadInput(f"cold weights need {COLD * times} times the last-level cache; there isn't that much memory")
    return COLD * cache


def label(case: Case) -> str:
    """ "gemm 8x3072x768"."""
    times = f"{case.batch}x" if case.batch > 1 else ""
    return f"{case.operation} {times}{case.m}x{case.n}" + (f"x{case.k}" if "k" in case.dims else "")


def operations(wanted: Iterable[Case]) -> list[str]:
    return list(dict.fromkeys(case.operation for case in wanted))
