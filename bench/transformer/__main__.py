"""python -m bench.transformer: whole Transformers, measured beside what Gholami et al. count: FLOPs, bytes, intensity.

Both sides of "AI and Memory Wall" (2024), figure 3: bench.workloads.counts has its rules, bench.models runs the models.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import CUT_SHORT, Parser, run, shown
from bench.errors import BadInput
from bench.measure.run import measuring
from bench.models.steps import BACKENDS
from bench.models.weights import refuse
from bench.options import add_dtype, add_seconds, add_thread_count
from bench.report.text import compiled_text, machine_line, trust_text
from bench.transformer.analytic import analytic
from bench.transformer.comparison import beside
from bench.transformer.latency import Latency
from bench.transformer.plot import draw
from bench.transformer.tables import counts_table, latency_table, parts_table
from bench.transformer.tasks import Task, tasks
from bench.workloads.model import MODELS, Model, find
from bench.workloads.shapes import PHASES
from kernels.types import DTYPES

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
MEASURED = (128, 512)


def _lengths(text: str) -> list[int]:
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--length {text}: give numbers of tokens, separated by commas") from error
    if not all(1 <= length <= 1 << 20 for length in lengths):
        raise BadInput(f"--length {text}: 1 to {1 << 20} tokens")
    return lengths


def _models(options: Any) -> list[tuple[Model, list[str]]]:
    """The models asked for, with those of their phases that are."""
    found = [find(options.model)] if options.model else list(MODELS)
    wanted = [(m, [p for p in m.phases if options.phase in (None, p)]) for m in found]
    if not any(phases for _, phases in wanted):
        model = found[0]
        raise BadInput(f"{model.name} has no phase {options.phase}, only {' and '.join(model.phases)}")
    return [(model, phases) for model, phases in wanted if phases]


def _counted(options: Any, lengths: Sequence[int]) -> int:
    found = [
        (model, phases[-1], analytic(model, phases[-1], lengths, DTYPES[options.dtype].itemsize))
        for model, phases in _models(options)
    ]

    def show(out: Console) -> None:
        for model, phase, rows in found:
            out.print(counts_table(model, phase, rows, options.dtype))
        out.print(
            "Every operator reads its operands once and writes its result once; batch 1; no embeddings, no LM head."
        )

    return shown(options, True, [row for _, _, rows in found for row in rows], show)


def _todo(options: Any, lengths: Sequence[int]) -> list[Task]:
    """What is to be measured. Raises BadInput for models that can't be run, and lengths beyond a checkpoint's."""
    wanted = _models(options)
    for model, _ in wanted:
        refuse(model)
        if options.weights and max(lengths) > model.positions:
            raise BadInput(f"--length {max(lengths)}: {model.name}'s weights are for 1 to {model.positions} tokens")
    if options.weights and (len(wanted) != 1 or options.dtype != "f32"):
        raise BadInput("--weights: the weights of one model, in f32; name it with --model")
    if options.weights and not options.weights.exists():
        raise BadInput(f"--weights {options.weights}: no such file or folder")
    backends = BACKENDS if options.backend == "all" else (options.backend,)
    return [task for model, phases in wanted for task in tasks([model], lengths, backends) if task.phase in phases]


def _measured(options: Any, lengths: Sequence[int]) -> int:
    todo = _todo(options, lengths)
    if options.peers:
        return beside(todo, options)
    latency = None
    with measuring("transformer", options, [options.threads], [options.dtype], first="roofs") as session:
        latency = Latency(session, todo, options.threads, options.weights)
        latency.run(options.seconds, f"{len(todo)} runs to measure: about {{:.0f}} s from here".format)
    rows = latency.rows() if latency else []
    if not rows:
        return CUT_SHORT
    metrics = session.metrics()
    record, of_session = metrics.record, metrics.record["session"]
    pictures = draw(rows, options.picture, machine_line(record["machine"], of_session))

    def show(out: Console) -> None:
        out.print(machine_line(record["machine"], of_session))
        out.print(latency_table(rows))
        for _, alike in groupby(rows, key=lambda row: (row["model"], row["phase"], row["length"])):
            out.print(parts_table(list(alike)))
        out.print(
            "bound: the longer of FLOPs over the peak and bytes over the read bandwidth of where they are, call by "
            "call; activations are read once from the nearest cache that holds a call's."
        )
        if of_session["jit_seconds"]:
            out.print(compiled_text(of_session))
        out.print(trust_text(metrics))

    document = {"latency": rows, "roofs": record, "pictures": list(map(str, pictures))}
    return shown(options, session.complete, document, show, pictures=pictures)


def _parser() -> Parser:
    parser = Parser(
        "transformer", "Whole Transformers: latency on these kernels, beside their FLOPs, bytes, intensity."
    )
    parser.add_argument("--counts", action="store_true", help="count only, operator by operator; measure nothing")
    parser.add_argument("--model", help="a model's name, or a TOML file with its numbers; BERT and GPT-2 if not given")
    parser.add_argument(
        "--length", help=f"tokens, separated by commas; {_listed(MEASURED)}, or with --counts {_listed(LENGTHS)}"
    )
    parser.add_argument("--phase", choices=PHASES, help="one phase; if not given all, or with --counts the paper's")
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all", help="whose kernels; all take turns")
    add_dtype(parser, "of weights and activations")
    parser.add_argument("--full", action="store_true", help=f"measure at {_listed(LENGTHS)} tokens")
    add_thread_count(parser)
    add_seconds(parser, 1.0, "measuring time per model, phase and length, 3 runs at least", most=600)
    parser.add_argument("--weights", type=Path, help="safetensors with Hugging Face's names; random if not given")
    parser.add_argument("--peers", action="store_true", help="beside PyTorch, transformers, ONNX Runtime and OpenVINO")
    parser.add_picture("results/transformer")
    return parser


def _listed(lengths: Sequence[int]) -> str:
    return ",".join(map(str, lengths))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.full and (options.length is not None or options.counts):
        raise BadInput("--full goes with neither --length nor --counts")
    if options.peers and (options.counts or options.dtype != "f32"):
        raise BadInput("--peers: latency in f32, without --counts and --dtype f64")
    default = LENGTHS if options.counts or options.full else MEASURED
    lengths = _lengths(_listed(default) if options.length is None else options.length)
    return _counted(options, lengths) if options.counts else _measured(options, lengths)


if __name__ == "__main__":
    run(main)
