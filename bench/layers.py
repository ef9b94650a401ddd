"""python -m bench.layers: the matrix products of BERT, GPT-2 or another model, their FLOPs and compulsory bytes."""

from collections.abc import Sequence

from rich.table import Table

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.quantities import plural
from bench.report.columns import Column
from bench.report.tables import table
from bench.workloads.model import MODELS, Model, find
from bench.workloads.shapes import PHASES, Product

PRODUCTS: Sequence[Column[Product]] = (
    Column("layer", lambda p: p.layer, left=True),
    Column("operation", lambda p: p.operation, left=True),
    Column("m", lambda p: str(p.m)),
    Column("n", lambda p: str(p.n)),
    Column("k", lambda p: str(p.k)),
    Column("count", lambda p: str(p.count)),
    Column("MFLOP each", lambda p: f"{p.flops / 1e6:,.3f}"),
    Column("MB each (f32)", lambda p: f"{p.bytes('f32') / 1e6:,.3f}"),
    Column("FLOP/byte (f32)", lambda p: f"{p.intensity('f32'):.2f}"),
)


def _table(model: Model, phase: str, products: list[Product], tokens: str) -> Table:
    flops = sum(p.count * p.flops for p in products)
    moved = sum(p.count * p.bytes("f32") for p in products)
    notes = (
        f"forward pass: {flops / 1e6:,.1f} MFLOP, {moved / 1e6:,.1f} MB, {flops / moved:.2f} FLOP/byte; "
        f"{model.parameters():,} parameters"
    )
    return table(f"{model.name}, {phase}, {tokens}", PRODUCTS, products, notes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("layers", "Print the matrix products of BERT, GPT-2 or another model.")
    parser.add_argument("--model", help="a model's name, or a TOML file with its numbers; BERT and GPT-2 if not given")
    parser.add_argument("--length", type=int, default=128, help="tokens that enter, or lie in the KV cache")
    parser.add_argument("--phase", choices=PHASES, help="one phase; all that the model has if not given")
    options = parser.parse_args(arguments)

    models = [find(options.model)] if options.model else list(MODELS)
    wanted = [(m, phase) for m in models for phase in m.phases if options.phase in (None, phase)]
    if not wanted:
        raise BadInput(f"{models[0].name} has no phase {options.phase}, only {' and '.join(models[0].phases)}")
    rows = []
    for model, phase in wanted:
        try:
            products = model.products(options.length, phase=phase)
        except ValueError as error:
            raise BadInput(str(error)) from error
        rows.append((model, phase, products))

    if options.json:
        print_json([{"model": m.name, "phase": phase, **_row(p)} for m, phase, products in rows for p in products])
        return 0
    for model, phase, products in rows:
        tokens = f"{plural(options.length, 'token')}" + (" in the KV cache" if phase == "decode" else "")
        console().print(_table(model, phase, products, tokens))
    return 0


def _row(product: Product) -> dict[str, object]:
    derived = {"flops": product.flops, "bytes_f32": product.bytes("f32"), "intensity_f32": product.intensity("f32")}
    sizes = {name: value for name, value in vars(product).items() if name != "nnz"}  # models have all their weights
    return {**sizes, **derived}


if __name__ == "__main__":
    run(main)
