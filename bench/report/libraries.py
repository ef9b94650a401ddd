"""Kernels beside other libraries': comparisons in a record, ratios to the best library, geometric means."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import geometric_mean
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bench.record.format import RowFigures
from bench.record.metrics import Metrics
from bench.record.row import OURS, Row, types_label
from bench.report.columns import comparison_columns, cost_columns, mean_columns
from bench.report.tables import roofs_table, table
from bench.report.text import machine_line, of_threads, trust_text

CLASSES = {  # what is compared with what; a mean takes all shapes of a class
    "gemv": "plain",
    "gemv_t": "plain",
    "gemm": "plain",
    "gemm_prepacked": "packed ahead",
    "gemm_batch": "attention",
    "gemm_batch_t": "attention",
}
Entry = dict[str, Any]


def comparisons(metrics: Metrics) -> list[Entry]:
    """One entry per operation, shape and thread count in which a library took part, in the order of the record.

    bound: the shape's roof in GFLOP/s. percent: by backend, the median over rounds of its rate over the roof of the
    same round. seconds: by backend, the median. over_best: how many times C's speed is that of the
    fastest library, medians of samples taken in turn. numba_over_c likewise. Either is None where one of the two didn't
    take part.
    """
    groups: dict[Any, list[tuple[Row, RowFigures]]] = defaultdict(list)
    for row, f in metrics.pairs:
        if row["kind"] == "kernel" and row["operation"] in CLASSES and (row["cold"] or "batch" in row["dims"]):
            dims = tuple(sorted(row["dims"].items()))
            groups[row["threads"], types_label(row), row["operation"], dims, row["rounds"][0]].append((row, f))
    found = [_comparison(members) for members in groups.values()]
    return [entry for entry in found if entry is not None]


def _comparison(members: Sequence[tuple[Row, RowFigures]]) -> Entry | None:
    row, first = members[0]
    seconds = {r["backend"]: f["seconds"]["value"] for r, f in members}
    libraries = {backend: s for backend, s in seconds.items() if backend not in OURS}
    if not libraries:
        return None
    c, numba = seconds.get("c"), seconds.get("numba")
    best = min(libraries, key=lambda backend: libraries[backend])
    return {
        "operation": row["operation"],
        "types": types_label(row),
        "threads": row["threads"],
        "dims": row["dims"],
        "layers": row["layers"],
        "class": CLASSES[row["operation"]],
        "bound_gflops": first.get("roof_gflops"),
        "percent": {r["backend"]: f["percent_of_roof"]["value"] for r, f in members if "percent_of_roof" in f},
        "seconds": seconds,
        "best_library": best,
        "over_best": libraries[best] / c if c else None,
        "numba_over_c": c / numba if c and numba else None,
    }


def length(entry: Mapping[str, Any]) -> int:
    """m, the tokens that enter: of attention's products, the sequence."""
    return int(entry["dims"].get("m", 1))


def means(entries: Iterable[Entry]) -> list[Entry]:
    """Geometric means of over_best and numba_over_c over the shapes of a thread count and class: by m, and of all."""
    groups: dict[Any, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry["threads"], entry["types"], entry["class"]].append(entry)
    found = []
    for (threads, types, name), members in groups.items():
        for ratio in ("over_best", "numba_over_c"):
            by_m = {
                m: [e[ratio] for e in members if length(e) == m and e[ratio]] for m in sorted(set(map(length, members)))
            }
            if any(by_m.values()):
                found.append(
                    {
                        "threads": threads,
                        "types": types,
                        "class": name,
                        "ratio": ratio,
                        "by_m": {str(m): geometric_mean(values) for m, values in by_m.items() if values},
                        "all": geometric_mean(x for values in by_m.values() for x in values),
                    }
                )
    return found


def growth(metrics: Metrics) -> list[Entry]:
    """Of C's packed GEMM, one weight matrix at several m in the same rounds: seconds per FLOP over the smallest m's."""
    together: dict[tuple[int, int], list[tuple[Row, RowFigures]]] = defaultdict(list)
    for row, f in metrics.pairs:
        if row["kind"] == "kernel":
            together[row["threads"], row["rounds"][0]].append((row, f))
    found = []
    for (threads, _), members in together.items():
        kinds = {(row["backend"], row["operation"], row["dims"]["n"], row["dims"].get("k")) for row, _ in members}
        if len(members) == 1 or len(kinds) > 1:
            continue
        ((_, operation, n, k),) = kinds
        if operation == "gemm_prepacked":
            costs = {row["dims"]["m"]: 1e-9 / f["gflops"]["value"] for row, f in members}
            found.append(
                {
                    "threads": threads,
                    "types": types_label(members[0][0]),
                    "n": n,
                    "k": k,
                    "seconds_per_flop": {str(m): s for m, s in costs.items()},
                    "relative": {str(m): s / costs[min(costs)] for m, s in costs.items()},
                }
            )
    return found


def as_dict(metrics: Metrics) -> Entry:
    """Everything that summary() shows."""
    entries = comparisons(metrics)
    return {
        "machine": metrics.record["machine"]["id"],
        "ended": metrics.record["ended"],
        "complete": metrics.record["complete"],
        "libraries": _versions(metrics),
        "comparisons": entries,
        "means": means(entries),
        "growth": growth(metrics),
        "trust": metrics.trust,
    }


def _versions(metrics: Metrics) -> dict[str, str]:
    return {r["backend"]: r["isa"] for r in metrics.rows if r["kind"] == "kernel" and r["backend"] not in OURS}


def summary(metrics: Metrics) -> RenderableType:
    """The tables: every comparison, the means, the cost as work grows, the roofs."""
    entries = comparisons(metrics)
    versions = _versions(metrics)
    head = machine_line(metrics.record["machine"], metrics.record["session"])
    who = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts: list[RenderableType] = [Text(head), Text(f"beside {who}"), Text()]
    columns = comparison_columns([*OURS, *versions])
    for threads, types in dict.fromkeys((e["threads"], e["types"]) for e in entries):
        chosen = [e for e in entries if (e["threads"], e["types"]) == (threads, types)]
        title = f"Per cent of the bound, {of_threads(threads)}, {types}"
        parts += [table(title, columns, chosen, group=_matrix), Text()]
    parts += [_means_table(means(entries)), Text()]
    found = growth(metrics)
    if found:
        parts += [_costs_table(found), Text()]
    return Group(*parts, roofs_table(metrics), Text(), trust_text(metrics))


def _matrix(entry: Mapping[str, Any]) -> Any:
    dims = entry["dims"]
    return length(entry) if "batch" in dims else (dims["n"], dims["k"])


def _means_table(found: Sequence[Entry]) -> RenderableType:
    lengths = sorted({int(m) for entry in found for m in entry["by_m"]})
    notes = "over all shapes of a class; attention's m is the length of the sequence"
    return table("Geometric means of speed", mean_columns(lengths), found, notes)


def _costs_table(found: Sequence[Entry]) -> RenderableType:
    lengths = sorted({int(m) for entry in found for m in entry["relative"]})
    title = "Cost as work grows: seconds per FLOP over the smallest m's, C, packed ahead"
    notes = "medians; 1 all along means that time grows as the work does"
    return table(title, cost_columns(lengths), found, notes)
