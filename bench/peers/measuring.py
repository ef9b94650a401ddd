"""What bench.peers measures: the shapes, and the kernels beside each library on them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import kernels
from bench.cli import complain
from bench.host.placement import isa_in_use
from bench.measure.groups import Group
from bench.measure.probes import peak_types
from bench.measure.run import Kept, kept, left_out, measuring, take_part
from bench.measure.session import Session
from bench.measure.suite import kernels_for, stored_kernels
from bench.workloads.model import find
from bench.workloads.shapes import Case, Shape
from bench.workloads.sweep import Sweep, layer_cases
from kernels.backends import libraries
from kernels.verify import WrongResult

LENGTHS = (1, 8, 32, 128, 512)
LINEAR_LENGTHS = (1, 8, 512)
MATRICES = ((768, 768), (768, 3072), (3072, 768))  # what BERT-Base and GPT-2 have in common
ATTENTION = (32, 128, 512)
STORED_VISITS = 2  # in each of which libraries take a minute to make their cold copies
MOST_STORED = 6  # kernels of one type: linear, linear_a8 and gemv, of C and Numba
GROWTH = (128, 256, 512, 1024, 2048)


def weight_cases(full: bool, lengths: Sequence[int] = LENGTHS) -> list[Case]:
    """The weight matrices at every length: a few of them, or all of every model."""
    sweep = Sweep(tuple(lengths), (), (), 0.0, () if full else MATRICES)
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


def stored_cases(full: bool, lengths: Sequence[int] = LINEAR_LENGTHS) -> list[Case]:
    """The weight matrices at these lengths, each once: linear has one orientation."""
    sweep = Sweep(tuple(lengths), (), (), 0.0, () if full else MATRICES)
    found: dict[Shape, Case] = {}
    for case in layer_cases(sweep):
        one = replace(case, operation="gemv" if case.m == 1 else "gemm")
        if case.weight:
            layers = found[one.shape].layers if one.shape in found else ()
            found[one.shape] = replace(one, layers=(*layers, *one.layers))
    return list(found.values())


Wrong = Callable[[Group, WrongResult], None]


def measure_stored(session: Session, options: Any, wrong: Wrong) -> None:
    """Adds the rows of every case with weights of each type, one type after the other."""
    isa, backends = isa_in_use(), left_out(("c", "numba"), session.threads)
    session.start()
    by_type = []
    for element in options.types:
        groups = []
        for threads in session.threads:
            for case in stored_cases(options.full, options.lengths or LINEAR_LENGTHS):
                others = libraries.rows_of(stored=True)
                chosen = stored_kernels(case, [element], isa, others, backends[threads])
                groups.append(Group.of(case, "f32", threads, chosen))
        session.plan(groups, options.seconds, STORED_VISITS)
        by_type.append(groups)
    for groups in by_type:
        session.run(groups, options.seconds, STORED_VISITS, wrong)
    session.finish()


def measure(session: Session, options: Any, wrong: Wrong) -> None:
    """Adds the rows of every case to the session; the same weights with longer and longer inputs are one group."""
    isa, dtype = isa_in_use(), options.dtype
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
            for case in weight_cases(options.full, options.lengths or LENGTHS) + attention_cases()
        ]
        groups.append(Group(tuple((case, prepacked) for case in growth_cases()), dtype, threads))
    session.start()
    session.run(groups, options.seconds, wrong=wrong)
    session.finish()


def measured(options: Any) -> tuple[Kept, bool]:
    """What the command's options ask for, and whether a result was wrong; its record is written.

    Shapes with a wrong result are left out, and stderr names the kernel. Raises BadInput where no library is installed.
    """
    stored = options.types is not None
    rows = [row for row in libraries.rows_of(stored) if not stored or row.types["w"] in options.types]
    present = take_part(libraries.missing(stored), {row.backend for row in rows if row.reason is None})
    failed = False

    def wrong(group: Group, error: WrongResult) -> None:
        nonlocal failed
        failed = True
        complain(f"{group.label}: {error}")

    own, peaks = MOST_STORED if stored else 0, peak_types(options.dtype, options.types or ())
    with measuring("peers", options, options.threads, peaks, others=present, stored=own) as session:
        if stored:
            measure_stored(session, options, wrong)
        else:
            measure(session, options, wrong)
    return kept(session, options, "-peers", lambda metrics: {row["backend"] for row in metrics.rows} & present), failed
