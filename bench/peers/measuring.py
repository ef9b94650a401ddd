"""What bench.peers measures: the shapes, and the kernels beside each library on them."""

from typing import Any

import kernels
from bench.host.placement import isa_in_use
from bench.measure.groups import Group
from bench.measure.run import Kept, kept, left_out, measuring, take_part
from bench.measure.session import Session
from bench.measure.suite import kernels_for
from bench.workloads.model import find
from bench.workloads.shapes import Case
from bench.workloads.sweep import Sweep, layer_cases
from kernels.backends import libraries

LENGTHS = (1, 8, 32, 128, 512)
MATRICES = ((768, 768), (768, 3072), (3072, 768))  # what BERT-Base and GPT-2 have in common
ATTENTION = (32, 128, 512)
GROWTH = (128, 256, 512, 1024, 2048)


def weight_cases(full: bool) -> list[Case]:
    """The weight matrices at every length: a few of them, or all of every model."""
    sweep = Sweep(LENGTHS, (), (), 0.0, () if full else MATRICES)
    return [case for case in layer_cases(sweep) if case.weight]


def attention_cases() -> list[Case]:
    """All heads of one layer of BERT-Base in one call: Q K^T, then P V."""
    model = find("BERT-Base")
    d, heads = model.head_dim, model.heads
    return [
        case
        for s in ATTENTION
        for case in (
            Case("gemm_batch_t", s, s, d, False, (f"{model.name} scores",), batch=heads),
            Case("gemm_batch", s, d, s, False, (f"{model.name} values",), batch=heads),
        )
    ]


def growth_cases() -> list[Case]:
    """BERT-Base's first FFN product, longer and longer."""
    model = find("BERT-Base")
    return [Case("gemm", s, model.ffn, model.width, True, (f"{model.name} ffn_up",)) for s in GROWTH]


def measure(session: Session, dtype: str, seconds: float, full: bool) -> None:
    """Adds the rows of every case to the session; the same weights with longer and longer inputs are one group."""
    isa = isa_in_use()
    prepacked = kernels.find("gemm_prepacked", dtype, "c", isa)
    groups, backends = [], left_out(kernels.BACKENDS, session.threads)
    for threads in session.threads:
        groups += [
            Group.of(
                case,
                dtype,
                threads,
                kernels_for(case, dtype, isa, (), libraries.rows_of(stored=False), backends[threads]),
            )
            for case in weight_cases(full) + attention_cases()
        ]
        groups.append(Group(tuple((case, prepacked) for case in growth_cases()), dtype, threads))
    session.start()
    session.run(groups, seconds)
    session.finish()


def measured(options: Any) -> Kept:
    """What the command's options ask for; its record is written. Raises BadInput where no library is installed."""
    present = take_part(
        libraries.missing(), {row.backend for row in libraries.rows_of(stored=False) if row.reason is None}
    )
    with measuring("peers", options, options.threads, [options.dtype], others=present) as session:
        measure(session, options.dtype, options.seconds, options.full)
    return kept(session, options, "-peers")
