"""python -m bench.peers [RECORD]: the project's kernels beside the libraries that people would use instead.

Everything is measured in one run, sample by sample in turn, each library in a process of its own: plain
products against plain ones, weights packed ahead against weights packed ahead, attention's heads in one call.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import kernels
from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output_folder
from bench.host.placement import isa_in_use, thread_counts
from bench.measure.session import Session
from bench.measure.suite import kernels_for
from bench.record.metrics import Metrics
from bench.record.store import load, save
from bench.report.libraries import as_dict, summary
from bench.workloads.model import find
from bench.workloads.shapes import Case
from bench.workloads.sweep import Sweep, layer_cases
from kernels.backends import libraries
from kernels.types import DTYPES

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
    """Adds the rows of every case to the session, one thread count after the other."""
    isa = isa_in_use()
    cases = weight_cases(full) + attention_cases()
    plan = [(case, kernels_for(case, dtype, isa, others=libraries.rows())) for case in cases]
    session.start()
    for i, threads in enumerate(session.threads):
        for j, (case, chosen) in enumerate(plan, 1):
            session.progress(
                f"[{i * len(plan) + j}/{len(session.threads) * len(plan)}] {case.label}, {threads} threads"
            )
            session.measure(case, dtype, threads, chosen, seconds)
        session.progress(f"the same weights, longer and longer inputs, {threads} threads")
        prepacked = kernels.find("gemm_prepacked", dtype, "c", isa)
        session.measure_together(growth_cases(), dtype, threads, prepacked, 5 * seconds)
        session.dismiss()
    session.finish()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("peers", "Measure the kernels beside PyTorch, ONNX Runtime, OpenVINO, BLIS and OpenBLAS.")
    parser.add_argument("record", nargs="?", type=Path, help="show this record instead of measuring")
    parser.add_argument("--threads", default="1,all", help="thread counts, as in 1,2,all; all: one per physical core")
    parser.add_argument("--dtype", choices=list(DTYPES), default="f32", help="of all operands")
    parser.add_argument("--full", action="store_true", help="every weight matrix of BERT and GPT-2, not just three")
    parser.add_argument("--seconds", type=float, default=0.05, help="measuring time per kernel and shape")
    parser.add_argument("--results", type=output_folder, default=Path("results"), help="folder for records")
    options = parser.parse_args(arguments)
    if options.record:
        metrics = load(options.record)
        if not any(row["backend"] in libraries.BACKENDS for row in metrics.rows):
            raise BadInput(f"{options.record}: no other library took part in it")
        return _show(metrics, options.json)
    if not 0 < options.seconds < 60:
        raise BadInput(f"--seconds {options.seconds}: more than 0, less than 60")
    out = console(stderr=True)
    for line in libraries.missing():
        out.print(f"left out: {line}", style="yellow", markup=False)
    present = {row.backend for row in libraries.rows() if row.reason is None}
    if not present:
        raise BadInput(f"none of the libraries is installed: {libraries.PIP}")
    session = Session(
        "python -m bench.peers", thread_counts(options.threads), [options.dtype], out.print, others=present
    )
    status = 0
    try:
        measure(session, options.dtype, options.seconds, options.full)
    except KeyboardInterrupt:
        status = 130
        session.dismiss()
        out.print("interrupted: the record holds what was measured until then")
    metrics = session.metrics()
    record = metrics.record
    if not any(row["kind"] == "kernel" for row in record["rows"]):
        return status
    path = options.results / record["machine"]["id"] / f"{datetime.now():%Y-%m-%d-%H%M%S}-peers.json"
    save(record, path)
    _show(metrics, options.json)
    out.print(f"record: {path}")
    return status


def _show(metrics: Metrics, as_json: bool) -> int:
    if as_json:
        print_json(as_dict(metrics))
    else:
        console().print(summary(metrics))
    return 0


if __name__ == "__main__":
    run(main)
