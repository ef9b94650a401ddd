"""python -m bench.escape [RECORD]: the ways through the memory wall, measured: fewer bytes, fewer weights, on chip.

How much of the byte ratio becomes speed on this machine, at what error, and what stops the rest. The ways are those of
Gholami et al., "AI and Memory Wall" (2024).
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli import Parser, console, run, shown
from bench.errors import BadInput
from bench.escape.names import ACTIVATIONS, BACKENDS, TYPES
from bench.options import add_seconds, add_threads, words
from bench.record.metrics import Metrics
from bench.record.store import derived_from, shown_again
from bench.report.text import machine_line, trust_text
from bench.workloads.model import find
from kernels import types
from kernels.verify import WrongResult

SECTIONS: Mapping[str, str] = {
    "layers": "one token's products of BERT-Base and GPT-2, weights from memory",
    "chip": "the same product over working sets from L1 to four last-level caches",
    "sparsity": "weights without their zeros, from one in twenty to all of them, and fewer neurons",
    "decode": "a whole model that generates tokens one by one",
}
"""Each is a folder beside this, with the modules measuring, figures, tables and plot."""
STORED = [name for name, element in types.TYPES.items() if not element.native]


def _part(section: str, module: str) -> Any:
    return import_module(f"bench.escape.{section}.{module}")


def _parser() -> Parser:
    parser = Parser("escape", "The ways through the memory wall, measured: fewer bytes, fewer weights, on chip.")
    parser.add_record()
    choices = "; ".join(f"{name}: {what}" for name, what in SECTIONS.items())
    parser.add_argument("--sections", type=words("--sections", SECTIONS), default=",".join(SECTIONS), help=choices)
    parser.add_argument(
        "--types", type=words("--types", STORED), default=",".join(TYPES), help=f"of {', '.join(STORED)}"
    )
    parser.add_argument(
        "--activations",
        type=words("--activations", ACTIVATIONS.values()),
        default=",".join(ACTIVATIONS.values()),
        help="rounded to 8 bits inside the call, kept in f32, or both",
    )
    parser.add_argument(
        "--backends", type=words("--backends", BACKENDS), default=",".join(BACKENDS), help="of c, numba"
    )
    parser.add_argument("--layer", default="", help="of section layers only those whose names have this, as in ffn_up")
    parser.add_argument("--model", default="GPT-2", help="that generates tokens; or a TOML file with its numbers")
    parser.add_argument("--length", type=int, default=128, help="tokens that it generates")
    add_threads(parser)
    add_seconds(parser, 0.1, "measuring time per kernel and shape")
    parser.add_results()
    parser.add_save()
    parser.add_picture()
    parser.shapes.add_argument("--markdown", action="store_true", help="print the tables for a page")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.record:
        with shown_again(options.record, options.save) as metrics:
            return _shown(options, metrics, options.save, options.record.with_suffix(""))
    _check(options)
    from bench.escape.measuring import measured  # records are drawn where nothing was compiled

    try:
        done = measured(options)
    except WrongResult as error:
        console(stderr=True).print(f"bench.escape: {error}")
        return 1
    return _shown(options, done.metrics, done.saved, done.stem, done.failed)


def _check(options: Any) -> None:
    """Raises BadInput for a model that doesn't generate tokens, or not so many."""
    model = find(options.model)
    if "decode" not in model.phases:
        raise BadInput(f"--model {options.model}: it doesn't generate tokens")
    if not 1 <= options.length <= model.positions:
        raise BadInput(f"--length {options.length}: {model.name} takes 1 to {model.positions} tokens")


def _shown(options: Any, metrics: Metrics, saved: Path | None, stem: Path, failed: bool = False) -> int:
    """stem: of the pictures, unless --picture has another. Raises BadInput for a record without any way."""
    found = {name: _part(name, "figures").entries(metrics) for name in SECTIONS}
    found = {name: entries for name, entries in found.items() if entries}
    if options.record and not found:
        raise BadInput(f"{options.record}: no way through the wall was measured in it")

    def show(out: Console) -> None:
        if options.markdown:
            print("\n".join(page(metrics, found)))
            return
        out.print(machine_line(metrics.record["machine"], metrics.record["session"]))
        for name, entries in found.items():
            for one in _part(name, "tables").show(metrics, entries):
                out.print(one)
        out.print(trust_text(metrics))

    def drawn() -> Sequence[Path]:
        with derived_from(*filter(None, [options.record])):
            return [
                path
                for name, entries in found.items()
                for path in _part(name, "plot").draw(metrics, entries, options.picture or stem)
            ]

    each = {name: [one.as_dict() for one in entries] for name, entries in found.items()}
    rows = each.pop("layers", []) + each.pop("decode", [])
    document = {"record": metrics.record, "rows": rows, **each}
    return shown(options, metrics.record["complete"], document, show, saved, drawn, failed)


def page(metrics: Metrics, found: Mapping[str, Sequence[Any]]) -> list[str]:
    """The sections for a page, under a line on machine and trust."""
    machine = machine_line(metrics.record["machine"], metrics.record["session"])
    lines = [f"{machine}; {metrics.record['ended'][:10]}, trust {metrics.trust['grade'] or 'without a grade'}."]
    for name, entries in found.items():
        lines += ["", *_part(name, "tables").page(metrics, entries)]
    return lines


if __name__ == "__main__":
    run(main)
