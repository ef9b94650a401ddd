"""What the command shows, from a record: a row per model, phase, length and backend, and one beside other libraries."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bench.files import csv_rows
from bench.models import BACKENDS
from bench.quantities import plural
from bench.record.intervals import median_interval
from bench.record.metrics import Metrics
from bench.record.runs.run import Run, RunFigures, good
from bench.workloads.counts import count, total
from bench.workloads.model import Model
from kernels.types import TYPES

OURS = "c"
"""The backend that other libraries are compared with."""


@cache
def paper() -> dict[tuple[str, int], float]:
    """(model, tokens) -> normalised latency on an Intel Gold 6242, as Gholami et al. (2024) plot it."""
    rows = csv_rows("bench.transformer", "paper_latency")
    return {(row["model"], int(n)): float(row[n]) for row in rows for n in row if n != "model"}


def model_of(run: Run) -> Model:
    """The model whose numbers a run has, for counting."""
    numbers, decoder = run["model"], run["phase"] != "encode"
    return Model(**numbers, positions=run["length"], decoder=decoder)


def inference(metrics: Metrics) -> list[tuple[Run, RunFigures]]:
    return [pair for pair in metrics.run_pairs if pair[0]["what"] == "inference"]


def rows_of(metrics: Metrics, whole: bool = False) -> list[dict[str, Any]]:
    """A row per run on this project's kernels, as measured; parts included. Raises ValueError where there is none, and
    where one was timed as a whole, unless `whole` allows it: beside libraries no parts are timed.

    seconds      the median with its interval
    normalised   over BERT-Base's at 128 tokens in the same rounds; None where that wasn't measured
    modelled     FLOPs and MOPs by the paper's rules: no embeddings, no LM head, everything moved once
    dtype        of the weights; linear: the operation that multiplies them, where they are only stored
    speedup, byte_ratio   beside weights in their native type: seconds, and bytes from where weights are
    executed     FLOPs of the kernels' calls; bytes that come from memory: weights and KV cache; of activations
    samples, marked   how many there are, and how many of them were disturbed
    """
    found = [_row(metrics, *pair) for pair in inference(metrics) if pair[0]["backend"] in BACKENDS]
    if not found:
        raise ValueError("no latency of a whole model was measured in it")
    if not whole and not all(part["seconds"] for row in found for part in row["parts"]):
        raise ValueError("it has a model on this project's kernels whose parts weren't timed")
    return found


def _row(metrics: Metrics, run: Run, figures: RunFigures) -> dict[str, Any]:
    model, parts = model_of(run), figures["parts"].values()
    counts = total(count(model, run["length"], run["phase"]))
    seconds = figures["seconds"]["value"]
    executed = {name: sum(part[name] for part in parts) for name in ("flops", "cold_bytes", "hot_bytes")}
    peak, read = _roofs(metrics, run)
    return {
        "model": model.name,
        "phase": run["phase"],
        "length": run["length"],
        "backend": run["backend"],
        "threads": run["threads"],
        "dtype": run["types"]["weights"],
        "linear": run.get("linear"),
        "itemsize": TYPES[run["types"]["activations"]].bytes(1),
        "seconds": figures["seconds"],
        "samples": len(run["seconds"]),
        "marked": len({i for at in run["marks"].values() for i in at}),
        "visits": len(set(run["visits"])),
        "grade": figures.get("grade"),
        "note": figures.get("note"),
        "normalised": figures.get("over_unit"),
        "normalised_bound": figures.get("bound_over_unit"),
        "paper": paper().get((model.name, run["length"])) if run["phase"] != "prefill" else None,
        "modelled": {"flops": counts.flops, "mops": counts.mops},
        "executed": executed,
        "gflops": figures["gflops"]["value"],
        "gbytes": figures["gbps"]["value"],
        "share_of_peak": executed["flops"] / seconds / peak if peak else None,
        "share_of_read": executed["cold_bytes"] / seconds / read if read else None,
        "tokens_per_second": figures["tokens_per_second"]["value"],
        "speedup": figures.get("speedup"),
        "byte_ratio": figures.get("byte_ratio"),
        "accuracy": run.get("accuracy"),
        "bound_seconds": figures.get("bound_seconds"),
        "percent_of_bound": figures.get("percent_of_roof"),
        "parts": [{"name": name, **part} for name, part in figures["parts"].items()],
    }


def weights_label(row: Mapping[str, Any]) -> str:
    """The weights' type, and the activations' where they are rounded on the way: "i4g32, x in 8 bits"."""
    return f"{row['dtype']}{', x in 8 bits' if row['linear'] == 'linear_a8' else ''}"


def place_label(row: Mapping[str, Any]) -> str:
    """ "GPT-2, decode, 128 tokens", and how weights are stored, where they only are."""
    stored = f", weights in {weights_label(row)}" if row["linear"] else ""
    return f"{row['model']}, {row['phase']}, {plural(row['length'], 'token')}{stored}"


def in_parts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """place_label(): the rows of all backends, whose parts are the same calls."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(place_label(row), []).append(row)
    return found


def _roofs(metrics: Metrics, run: Run) -> tuple[float | None, float | None]:
    """FMA peak in FLOP/s, and read bandwidth of memory in bytes/s, of the run's session."""
    roofs = metrics.roofs.get(run["threads"])
    peak = roofs.peak(TYPES[run["types"]["activations"]].accumulator, run["isa"]) if roofs else None
    read = roofs.bandwidths.get("DRAM") if roofs else None
    return peak[1].value if peak else None, read.value if read else None


def beside_libraries(metrics: Metrics) -> list[dict[str, Any]]:
    """A row per model, phase and length that this project and a library ran; figures are by name, the project's first.

    seconds         medians with their intervals
    share_of_peak, share_of_read   the FLOPs and bytes from memory that this project executes, over the seconds
    over            how many times a library's speed this project's is, of the samples of a round: medians, intervals
    """
    groups: dict[tuple[str, str, int], list[tuple[Run, RunFigures]]] = {}
    for run, figures in inference(metrics):
        groups.setdefault((run["model"]["name"], run["phase"], run["length"]), []).append((run, figures))
    return [row for group in groups.values() if (row := _beside(metrics, group))]


def _beside(metrics: Metrics, group: Sequence[tuple[Run, RunFigures]]) -> dict[str, Any] | None:
    ours = next((pair for pair in group if pair[0]["backend"] == OURS), None)
    others = [pair for pair in group if pair[0]["backend"] not in BACKENDS]
    if ours is None or not others:
        return None
    run, named = ours[0], {one["backend"]: figures for one, figures in (ours, *others)}
    seconds = {name: figures["seconds"]["value"] for name, figures in named.items()}
    executed = {name: sum(part[name] for part in ours[1]["parts"].values()) for name in ("flops", "cold_bytes")}
    peak, read = _roofs(metrics, run)
    best = min((one["backend"] for one, _ in others), key=lambda name: seconds[name])
    over = {other["backend"]: ratio for other, _ in others if (ratio := _over(other, run))}
    return {
        "model": run["model"]["name"],
        "phase": run["phase"],
        "length": run["length"],
        "threads": run["threads"],
        "dtype": run["types"]["weights"],
        "versions": {other["backend"]: other["isa"] for other, _ in others},
        "seconds": {name: figures["seconds"] for name, figures in named.items()},
        "tokens_per_second": {name: figures["tokens_per_second"]["value"] for name, figures in named.items()},
        "share_of_peak": {n: executed["flops"] / s / peak for n, s in seconds.items()} if peak else {},
        "share_of_read": {n: executed["cold_bytes"] / s / read for n, s in seconds.items()} if read else {},
        "best_library": best,
        "over": over,
        "over_best": over.get(best),
    }


def _over(other: Run, ours: Run) -> dict[str, float] | None:
    """The library's seconds over this project's, round by round; None where they share no round."""
    pairs = list(_common(other, ours))
    if not pairs:
        return None
    ratios, visits = zip(*pairs, strict=True)
    return median_interval(ratios, visits).as_dict()


def _common(other: Run, ours: Run) -> Iterator[tuple[float, int]]:
    mine = {ours["rounds"][i]: ours["seconds"][i] for i in good(ours)}
    for i in good(other):
        if other["rounds"][i] in mine:
            yield other["seconds"][i] / mine[other["rounds"][i]], other["visits"][i]
