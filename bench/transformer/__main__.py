"""python -m bench.transformer [RECORD]: whole Transformers, measured beside what Gholami et al. count.

Both sides of "AI and Memory Wall" (2024), figure 3: bench.workloads.counts has its rules, bench.models runs the models.
A record is drawn and printed again without measuring anything.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.files import replacing
from bench.models import BACKENDS, libraries
from bench.models.checkpoint import model_of
from bench.models.schemes import ACTIVATIONS, NAMES, TYPES_STORED, scheme_of
from bench.models.text import AT_MOST
from bench.options import add_dtype, add_seconds, add_thread_count
from bench.record.metrics import Metrics
from bench.record.store import derived_from, shown_again
from bench.report.text import compiled_text, machine_line, trust_text
from bench.transformer.analytic import analytic
from bench.transformer.rows import beside_libraries, in_parts, rows_of
from bench.transformer.stored import accuracy_table, stored_table
from bench.transformer.tables import beside_table, counts_table, latency_table, parts_table
from bench.transformer.words import library_words, page, words
from bench.workloads.model import MODELS, Model, find
from bench.workloads.shapes import PHASES
from kernels.types import DTYPES
from kernels.verify import WrongResult

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
    if options.weights:
        found = [model_of(options.weights, found[0] if options.model else None)]
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


def _shown(options: Any, metrics: Metrics, saved: Path | None, stem: Path, failed: bool = False) -> int:
    record, machine = metrics.record, machine_line(metrics.record["machine"], metrics.record["session"])
    beside = beside_libraries(metrics)
    try:
        rows = rows_of(metrics, whole=bool(beside))
    except ValueError as error:
        raise BadInput(f"{options.record or saved or 'the session'}: {error}") from error
    stem = options.picture or stem

    def drawn() -> Sequence[Path]:
        from bench.transformer.plot import draw

        with derived_from(*filter(None, [options.record])):
            text = stem.with_name(f"{stem.name}.md")
            with replacing(text) as handle:
                handle.write(page(metrics, rows, beside))
            native = [row for row in rows if not row["linear"]]
            return [text, *([] if beside else draw(native, stem, [machine, *_circumstances(metrics)]))]

    def show(out: Console) -> None:
        out.print(machine)
        if any(row["linear"] for row in rows):
            out.print(stored_table(rows))
            out.print(accuracy_table(rows))
        else:
            out.print(beside_table(beside) if beside else latency_table(rows))
        for alike in in_parts(rows).values() if options.parts and not beside else ():
            out.print(parts_table(alike))
        for name, version in beside[0]["versions"].items() if beside else ():
            how = next((f": {library.path}" for library in libraries.LIBRARIES if library.name == name), "")
            out.print(f"{name} {version}{how}", markup=False)
        if record["session"]["jit_seconds"]:
            out.print(compiled_text(record["session"]))
        for sentence in library_words(beside) if beside else words(rows):
            out.print(sentence, markup=False)
        out.print(trust_text(metrics))

    document = {"record": record, "latency": rows, "libraries": beside}
    return shown(options, record["complete"], document, show, saved, drawn, failed)


def _circumstances(metrics: Metrics) -> list[str]:
    """Of the picture: the day, the grade and its first reason."""
    trust = metrics.trust
    why = f": {trust['reasons'][0]}" if trust["reasons"] else ""
    return [f"{metrics.record['ended'][:10]}, trust {trust['grade'] or 'without a grade'}{why}"]


def _parser() -> Parser:
    parser = Parser(
        "transformer", "Whole Transformers: latency on these kernels, beside their FLOPs, bytes, intensity."
    )
    parser.add_record("parts", "counts")
    parser.add_argument("--counts", action="store_true", help="count only, operator by operator; measure nothing")
    parser.add_argument(
        "--model",
        help="a model's name, or a TOML file with its numbers; BERT and GPT-2, or what --weights is of, if not given",
    )
    parser.add_argument(
        "--length", help=f"tokens, separated by commas; {_listed(MEASURED)}, or with --counts {_listed(LENGTHS)}"
    )
    parser.add_argument("--phase", choices=PHASES, help="one phase; if not given all, or with --counts the paper's")
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all", help="whose kernels; all take turns")
    add_dtype(parser, "of weights and activations")
    parser.add_argument("--full", action="store_true", help=f"measure at {_listed(LENGTHS)} tokens")
    add_thread_count(parser)
    add_seconds(parser, 1.0, "measuring time per model, phase and length, 3 runs at least", most=600)
    parser.add_argument(
        "--weights", type=Path, help="a checkpoint of BERT or GPT-2 in safetensors, a file or its folder"
    )
    named = f"{', '.join(NAMES)} (groups of 32: i8g32, i4g32) or {', '.join(TYPES_STORED)}"
    help_ = f"beside f32, linear layers and LM head with weights in these types, as in bf16,int8,int4: {named}"
    parser.add_argument("--weights-as", type=_names, default=(), metavar="TYPES", help=help_)
    help_ = "what integer weights are multiplied by: 8 bits, rounded per 32 on the way (i8), or f32"
    parser.add_argument("--activations", choices=list(ACTIVATIONS), default="i8", help=help_)
    help_ = f"judge --weights-as by this text, its first {AT_MOST} tokens; needs --weights with a tokenizer beside them"
    parser.add_argument("--text", type=Path, help=help_)
    help_ = "the same by ids of tokens, with white space between them; needs nothing"
    parser.add_argument("--token-ids", type=Path, metavar="FILE", help=help_)
    parser.add_argument("--peers", action="store_true", help="beside PyTorch, transformers, ONNX Runtime and OpenVINO")
    parser.add_argument("--parts", action="store_true", help="print every model part by part, too; the page has it")
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    return parser


def _listed(lengths: Sequence[int]) -> str:
    return ",".join(map(str, lengths))


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        scheme_of(name)
    return names


def _check(options: Any) -> None:
    """Raises BadInput for what doesn't go together."""
    if options.full and (options.length is not None or options.counts):
        raise BadInput("--full goes with neither --length nor --counts")
    if options.peers and (options.counts or options.dtype != "f32"):
        raise BadInput("--peers: latency in f32, without --counts and --dtype f64")
    if options.weights and options.dtype != "f32":
        raise BadInput("--weights: in f32, without --dtype f64")
    files = {"RECORD": options.record, "--record": options.save, "--picture": options.picture, "--parts": options.parts}
    if options.counts and any(files.values()):
        raise BadInput(f"--counts measures nothing: without {next(name for name, given in files.items() if given)}")
    if options.weights_as and (options.peers or options.counts or options.dtype != "f32"):
        raise BadInput("--weights-as: beside f32, without --peers, --counts and --dtype f64")
    given = [name for name in ("text", "token_ids") if getattr(options, name)]
    if given and not options.weights_as:
        raise BadInput(f"--{given[0].replace('_', '-')} judges --weights-as")
    if len(given) > 1:
        raise BadInput("--text or --token-ids, not both")
    if options.text and not options.weights:
        raise BadInput("--text needs --weights with a tokenizer beside them; --token-ids needs none")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    _check(options)
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save, options.record.with_suffix(""))
    default = LENGTHS if options.counts or options.full else MEASURED
    lengths = _lengths(_listed(default) if options.length is None else options.length)
    if options.counts:
        return _counted(options, lengths)
    from bench.transformer.measuring import measured  # records are drawn where nothing was compiled

    try:
        done = measured(options, _models(options), lengths)
    except WrongResult as error:
        console(stderr=True).print(str(error), style="red", markup=False)
        return 1
    return _shown(options, done.metrics, done.saved, done.stem, done.failed)


if __name__ == "__main__":
    run(main)
