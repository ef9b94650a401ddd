"""What the command shows of models whose weights are only stored: speed, bytes and accuracy beside f32's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.quantities import plural
from bench.report.columns import Column
from bench.report.tables import table
from bench.report.text import interval, of_threads, times
from bench.transformer.rows import weights_label
from bench.transformer.tables import graded, percent

Row = Mapping[str, Any]


def _per_token(row: Row) -> float:
    """Bytes that come from where the weights are: for a token that is decoded, or for a pass."""
    return float(row["executed"]["cold_bytes"]) / (row["length"] if row["phase"] == "decode" else 1)


def _of_ratio(row: Row) -> str:
    return f"{100 * row['speedup']['value'] / row['byte_ratio']:.0f}" if row["speedup"] else "-"


STORED: Sequence[Column[Row]] = (
    Column(
        "model",
        lambda r: f"{r['model']} {r['phase']}",
        "Weights of linear layers and LM head are of a type, the rest is f32. decode: all tokens one by one, from an "
        "empty cache;",
        True,
        True,
    ),
    Column("tokens", lambda r: str(r["length"]), once=True),
    Column(
        "weights", weights_label, "x in 8 bits: activations are rounded per 32 before they are multiplied;", left=True
    ),
    Column("by", lambda r: r["backend"], left=True),
    Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.1f}", "medians of samples from three passes;"),
    Column(
        "MB",
        lambda r: f"{_per_token(r) / 1e6:,.1f}",
        "MB: of weights and KV cache, for a token that is decoded or for a pass;",
    ),
    Column("fewer bytes", lambda r: times(r["byte_ratio"]) if r["byte_ratio"] else "", "fewer bytes: than in f32;"),
    Column(
        "f32 / this [95 %]",
        lambda r: interval(r["speedup"]) if r["speedup"] else "",
        "f32 / this: seconds in the same rounds on the same backend, all in turn;",
    ),
    Column("% of\nratio", lambda r: _of_ratio(r) if r["byte_ratio"] else "", "of ratio: speedup over fewer bytes;"),
    Column(
        "% of\nbound",
        lambda r: percent(r["percent_of_bound"]),
        "bound: what the peak of its products and read bandwidth of the same rounds allow;",
    ),
    Column("grade", graded, "grade: by how far its visits differ; 2/9: two of nine samples were disturbed.", True),
)


def in_places(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of one model, phase and length together, f32 first."""
    places = {(row["model"], row["phase"], row["length"]): None for row in rows}
    order = {place: i for i, place in enumerate(places)}
    return sorted(rows, key=lambda row: (order[row["model"], row["phase"], row["length"]], bool(row["linear"])))


def stored_table(rows: Sequence[Row]) -> Table:
    title = f"Latency by the weights' type, {of_threads(rows[0]['threads'])}"
    return table(title, STORED, in_places(rows), group=lambda r: (r["model"], r["phase"], r["length"]))


Judged = tuple[Row, Mapping[str, Any]]
"""A row, and its accuracy."""


def judged(rows: Sequence[Row]) -> list[Judged]:
    """Every model, type and backend once: phases and lengths have the same accuracy."""
    found = {(r["model"], weights_label(r), r["backend"]): (r, r["accuracy"]) for r in rows if r["accuracy"]}
    return list(found.values())


def _number(name: str, factor: float = 1.0, digits: str = ".3g") -> Any:
    def cell(one: Judged) -> str:
        value = one[1][name]
        return "-" if value is None else format(factor * value, digits)

    return cell


ACCURACY: Sequence[Column[Judged]] = (
    Column("model", lambda j: j[0]["model"], "Beside the same model in f32.", True, True),
    Column("weights", lambda j: weights_label(j[0]), left=True),
    Column("by", lambda j: j[0]["backend"], left=True),
    Column("tokens", lambda j: f"{j[1]['positions']:,}", "tokens: positions of the text, in windows of at most 1024;"),
    Column("max error", _number("max_error"), "errors of logits, of an encoder of hidden states;"),
    Column("RMS error", _number("rms_error")),
    Column("RMS", _number("rms"), "RMS: of f32's, less their mean at a position;"),
    Column("KL", _number("kl"), "KL: divergence of the next token's distribution in nats, mean and largest;"),
    Column("most", _number("kl_most")),
    Column("same top %", _number("same_top", 100, ".1f"), "same top: positions with the same likeliest token;"),
    Column("change %", _number("top_change", 100), "change: RMS, of the probability of f32's likeliest token;"),
    Column(
        "perplexity",
        lambda j: (
            "-" if j[1]["perplexity"] is None else f"{j[1]['perplexity']:.4g} (f32 {j[1]['native_perplexity']:.4g})"
        ),
        "perplexity: of the text, where neither it nor the weights are random.",
    ),
)


def accuracy_table(rows: Sequence[Row]) -> Table:
    return table("Accuracy by the weights' type", ACCURACY, judged(rows), group=lambda j: j[0]["model"], ruled=False)


def stored_words(rows: Sequence[Row]) -> Iterator[str]:
    """A sentence on every type at a model's longest input, and what random weights and texts don't tell."""
    best: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        name = row["model"], row["phase"], weights_label(row), row["backend"]
        if row["speedup"] and (name not in best or best[name]["length"] < row["length"]):
            best[name] = row
    for (model, phase, weights, backend), row in best.items():
        yield (
            f"{model}, {phase}, {plural(row['length'], 'token')}, {backend}: weights in {weights} make it "
            f"{interval(row['speedup'])} times as fast as in f32, with {times(row['byte_ratio'])} fewer bytes."
        )
    of = [accuracy for _, accuracy in judged(rows)]
    if any(accuracy["weights"] == "random" for accuracy in of):
        yield (
            "The weights are random: errors tell of the arithmetic alone. What rounding does to a trained model's "
            "answers, --weights tells."
        )
    elif any(accuracy["text"] == "random" for accuracy in of):
        yield "The text is random tokens, which no model expects: --text or --token-ids has the model read a text."
