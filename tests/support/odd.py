"""Records that are well-formed and make no sense: the extremes of every number, rows that don't belong together."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.record.metrics import Metrics
from support import records, runs
from support.battery import Document, signed


def odd() -> Iterator[tuple[str, Document]]:
    """Records that keep every rule of the schema, with figures and digest that hold, of what nobody measured."""
    gemm, fma, read = records.product(8, 60), records.fma(), records.read()
    prepacked = [records.product(m, 60) | {"operation": "gemm_prepacked"} for m in (2, 4, 8, 16, 32, 64, 128)]
    rung = gemm | {"operation": "gemm_naive"}
    torch = gemm | {"backend": "torch", "isa": "2.9"}
    softmax = gemm | {"operation": "softmax", "types": dict.fromkeys(("s", "scale"), "f32"), "cold": [], "level": "L1"}
    batch = gemm | {"operation": "gemm_batch", "dims": {"batch": 2, "m": 3, "n": 4, "k": 5}, "cold": [], "level": "L1"}
    many = [row for t in (1, 2, 3, 64, 65536) for row in (records.fma(t), records.read(t), records.product(8, 60, t))]
    lists: dict[str, list[Any]] = {
        "nothing": [],
        "a peak alone": [fma],
        "a bandwidth alone": [read],
        "a kernel alone": [gemm],
        "no DRAM": [fma, read | {"level": "L2"}, gemm],
        "a kernel in no level": [fma, read, gemm | {"level": "core"}],
        "a read in no level": [fma, read | {"level": "core"}, gemm],
        "a peak in memory": [fma | {"level": "DRAM"}, read, gemm],
        "another ISA's peak": [fma | {"isa": "[/b]"}, read, gemm],
        "another type's peak": [fma | {"types": {"x": "f64"}}, read, gemm],
        "an unknown backend": [fma, read, gemm | {"backend": "zz"}],
        "a library alone": [fma, read, torch],
        "a library beside": [fma, read, gemm, torch],
        "a library without roofs": [gemm, torch],
        "a rung alone": [fma, read, rung],
        "a rung without a peak": [read, rung],
        "a rung of another ISA": [fma, read, rung | {"isa": "zz"}],
        "a climb": [fma, read, rung, gemm, gemm | {"backend": "numba"}],
        "no layer's name": [fma, read, gemm | {"layers": []}],
        "hostile names": [fma, read, gemm | {"layers": ["[/red]", "$\\frac{$", "<b>|=1+1"], "isa": "[/i] $x$"}],
        "pointwise": [fma, read, softmax | {"dims": {"batch": 2, "m": 3, "n": 4}}],
        "attention": [fma, read, batch, batch | {"operation": "gemm_batch_t"}],
        "the same row ten times": [fma, read, *[gemm] * 10],
        "many threads": many,
        "growth": [fma, read, *prepacked],
        "no growth": [fma, read, *(row | {"seconds": [1.0] * 9} for row in prepacked)],
    }
    samples: dict[str, dict[str, Any]] = {
        "the shortest times": {"seconds": [1e-9] * 9},
        "the longest times": {"seconds": [1e6] * 9},
        "times from end to end": {"seconds": [1e-9, 1e6] * 4 + [1.0]},
        "the most calls": {"calls": 10**12},
        "the shortest time of the most calls": {"calls": 10**12, "seconds": [1e-9] * 9},
        "the largest shape": {"dims": {"m": 10**12, "n": 10**12, "k": 10**12}},
        "the largest shape at once": {"dims": {"m": 10**12, "n": 10**12, "k": 10**12}, "seconds": [1e-9] * 9},
        "the smallest shape": {"dims": {"m": 1, "n": 1, "k": 1}, "seconds": [1e6] * 9},
        "all samples marked": {"marks": {"preempted": list(range(9))}},
        "an unknown mark": {"marks": {"q": [0]}},
        "the last round": {"rounds": [10**9] * 9},
        "the last visit": {"visits": [10**6] * 9},
        "every sample a visit": {"visits": list(range(9))},
        "rounds of nobody else": {"rounds": list(range(1000, 1009))},
        "one sample": {"seconds": [1e-3], "rounds": [0], "visits": [0], "starts": [0.0]},
    }
    for name, change in samples.items():
        lists[f"{name}, of a kernel"] = [fma, read, gemm | change]
        if "dims" not in change:
            lists[f"{name}, of the peak"] = [fma | change, read, gemm]
            lists[f"{name}, of the bandwidth"] = [fma, read | change, gemm]
    yield from ((f"odd: {name}", _forged(rows)) for name, rows in lists.items())
    strange: dict[str, dict[str, Any]] = {
        "no facts": {"cpu": {"model": None}, "memory_bytes": None},
        "no memory": {"memory_bytes": 0},
        "hostile facts": {"id": "[/b]$_$", "cpu": {"model": "$\\frac{$ [/red] <b> =1+1 | `x`"}},
    }
    for name, facts in strange.items():
        yield f"odd: {name}", _forged([fma, read, gemm], machine=records.MACHINE | facts)
    most = {"layers": 10**5, "width": 10**6, "ffn": 10**7, "heads": 10**6, "vocabulary": 10**8}
    huge = {"model": {"name": "$[/b]", **most}}
    for name, change in {"a huge model": huge, "another name": {"model": runs.BERT | {"name": "[/b] $x$"}}}.items():
        run = runs.inference(phase="decode", length=65536, parts=False) | change
        yield f"odd: {name}", _forged([fma, read], runs=[run])


def _forged(rows: Sequence[Any], **other: Any) -> Document:
    """A record of rows, or of other parts, that no session would write; with the figures that follow, if any do."""
    made: Any = json.loads(json.dumps(records.of([records.fma(), records.read()]).record))
    made |= {"rows": records.in_turn(rows), **other}
    with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):
        made["figures"] = Metrics(made).as_dict()
    return signed(made)
