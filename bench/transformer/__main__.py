"""python -m bench.transformer: whole Transformers, measured beside what Gholami et al. count: FLOPs, bytes, intensity.

Both sides of "AI and Memory Wall" (2024), figure 3: bench.workloads.counts has its rules, bench.models runs the models.
"""

from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output
from bench.host.placement import thread_counts
from bench.measure.session import Session
from bench.models.inference import BACKENDS
from bench.models.weights import refuse
from bench.report.tables import table
from bench.report.text import compiled_text, interval, machine_line, seconds, trust_text
from bench.transformer.comparison import beside
from bench.transformer.latency import Latency, Task, tasks
from bench.transformer.plot import draw
from bench.workloads.counts import count, total
from bench.workloads.model import MODELS, Model, find
from bench.workloads.shapes import PHASES
from kernels.types import DTYPES

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
MEASURED = (128, 512)


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


def _table(model: Model, phase: str, rows: Sequence[dict[str, Any]], dtype: str) -> Table:
    work = "generating all tokens one by one, with a KV cache" if phase == "decode" else "one pass over all tokens"
    made = table(
        f"{model.name}, {phase}: {work}",
        ("tokens", "<operator", "GFLOP", "GMOP", "FLOP/MOP", f"GB in {dtype}", f"FLOP/byte in {dtype}"),
    )
    last = rows[0]["length"]
    for row in rows:
        if row["length"] != last:
            made.add_section()
        made.add_row(
            str(row["length"]) if row["operator"] == "projections" else "",
            row["operator"],
            f"{row['flops'] / 1e9:,.2f}",
            f"{row['mops'] / 1e9:,.3f}",
            f"{row['flop_per_mop']:.2f}",
            f"{row['bytes'] / 1e9:,.3f}",
            f"{row['flop_per_byte']:.2f}",
            style="bold" if row["operator"] == "total" else None,
        )
        last = row["length"]
    return made


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
    if options.json:
        print_json([row for _, _, rows in found for row in rows])
        return 0
    for model, phase, rows in found:
        console().print(_table(model, phase, rows, options.dtype))
    console().print(
        "Every operator reads its operands once and writes its result once; batch 1; no embeddings, no LM head."
    )
    return 0


def _latency_table(rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "Latency",
        (
            *("<model", "<phase", "tokens", "<kernels", "ms [95 %]"),
            *("BERT-Base, 128 = 1", "paper", "GFLOP", "GB from memory"),
            *("GFLOP/s", "% of peak", "GB/s", "% of read", "tokens/s"),
        ),
        caption="decode: all tokens one by one, from an empty cache; 1 is BERT-Base on the same kernels; "
        "paper: Intel Gold 6242, framework not stated. "
        "Peak and read bandwidth are this session's.",
    )
    for row in rows:
        ms = {key: value * 1e3 for key, value in row["seconds"].items()}
        made.add_row(
            row["model"],
            row["phase"],
            str(row["length"]),
            row["backend"],
            interval(ms, 1),
            "" if row["normalised"] is None else f"{row['normalised']:.2f}",
            "" if row["paper"] is None else f"{row['paper']:g}",
            f"{row['executed']['flops'] / 1e9:,.1f}",
            f"{row['executed']['cold_bytes'] / 1e9:,.2f}",
            f"{row['gflops']:.1f}",
            f"{100 * row['share_of_peak']:.1f}",
            f"{row['gbytes']:.1f}",
            f"{100 * row['share_of_read']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
        )
    return made


def _parts_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The parts of one model, phase and length: what they do, and how long each backend takes for it."""
    first = rows[0]
    took = " and ".join(f"{seconds(row['seconds']['value'])} in {row['backend']}" for row in rows)
    mine = [(f"{row['backend']}: time", "% of all", "% of bound") for row in rows]
    made = table(
        f"{first['model']}, {first['phase']}, {first['length']} tokens: {took}, part by part",
        (*("<part", "calls", "GFLOP", "MB from memory", "MB in caches", "bound"), *chain.from_iterable(mine)),
    )
    for i in sorted(range(len(first["parts"])), key=lambda i: -first["parts"][i]["seconds"]):
        part = first["parts"][i]
        made.add_row(
            part["name"],
            str(part["calls"]),
            f"{part['flops'] / 1e9:.3f}",
            f"{part['cold_bytes'] / 1e6:,.1f}",
            f"{part['hot_bytes'] / 1e6:,.1f}",
            seconds(part["bound_seconds"]),
            *chain.from_iterable(_part_cells(row, row["parts"][i]) for row in rows),
        )
    return made


def _part_cells(row: dict[str, Any], part: dict[str, Any]) -> tuple[str, str, str]:
    spent = part["seconds"]
    share = 100 * spent / sum(other["seconds"] for other in row["parts"])
    return seconds(spent), f"{share:.1f}", f"{100 * part['bound_seconds'] / spent:.0f}"


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
    counts = thread_counts(options.threads)
    if len(counts) != 1:
        raise BadInput(f"--threads {options.threads}: one count")
    if not 0 < options.seconds <= 600:
        raise BadInput(f"--seconds {options.seconds:g}: more than 0, at most 600")
    todo, out = _todo(options, lengths), console(stderr=True)
    if options.peers:
        return beside(todo, options, counts[0])
    with out.status("roofs") as now:
        session = Session("python -m bench.transformer", counts, [options.dtype], now.update)
        latency = Latency(session, todo, counts[0], options.weights)
        announce = f"{len(todo)} runs to measure: about {{:.0f}} s from here".format
        status = latency.run(options.seconds, announce, now.update)
        metrics = session.metrics()
        record, rows = metrics.record, latency.rows()
    if not rows:
        return status
    pictures = draw(rows, options.picture, machine_line(record["machine"], record["session"]))
    if options.json:
        print_json({"latency": rows, "roofs": record, "pictures": list(map(str, pictures))})
        return status
    plain = console()
    plain.print(machine_line(record["machine"], record["session"]))
    plain.print(_latency_table(rows))
    for _, alike in groupby(rows, key=lambda row: (row["model"], row["phase"], row["length"])):
        plain.print(_parts_table(list(alike)))
    plain.print(
        "bound: the longer of FLOPs over the peak and bytes over the read bandwidth of where they are, call by call; "
        "activations are read once from the nearest cache that holds a call's."
    )
    if record["session"]["jit_seconds"]:
        plain.print(compiled_text(record["session"]))
    plain.print(trust_text(metrics))
    for path in pictures:
        plain.print(f"picture: {path}")
    return status


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
    parser.add_argument("--dtype", choices=list(DTYPES), default="f32", help="of weights and activations")
    parser.add_argument("--full", action="store_true", help=f"measure at {_listed(LENGTHS)} tokens")
    parser.add_argument("--threads", default="all", help="one number; all: one per physical core")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="measuring time per model, phase and length, 3 runs at least"
    )
    parser.add_argument("--weights", type=Path, help="safetensors with Hugging Face's names; random if not given")
    parser.add_argument("--peers", action="store_true", help="beside PyTorch, transformers, ONNX Runtime and OpenVINO")
    parser.add_argument("--picture", type=output, default=Path("results/transformer"), help="without .png and .svg")
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
