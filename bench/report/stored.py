"""Kernels on stored weights beside other libraries': the same quantised matrix, multiplied by everybody in turn.

A contestant is a backend and what it does with activations: "c" keeps them in f32, "c a8" rounds them to 8 bits,
"c a16" to bf16. Ratios are between the fastest of either side: of all contestants, of those that keep activations in
floating point, and of those that round them to 8 bits.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import geometric_mean
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bench.record.format import RowFigures
from bench.record.metrics import Metrics
from bench.record.row import OURS, Row
from bench.report.columns import Column
from bench.report.tables import roofs_table, table
from bench.report.text import machine_line, of_threads, ratio, trust_text
from kernels.operations import LINEAR, OPERATIONS
from kernels.types import TYPES

Entry = dict[str, Any]
KINDS: Mapping[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "floating": lambda name: not name.endswith(" a8"),
    "a8": lambda name: name.endswith(" a8"),
}
"""Contestants whose fastest are compared, by their names."""


def element_of(row: Row) -> str | None:
    """The type of the row's weights where they are only stored."""
    weights = None if row["kind"] == "probe" else OPERATIONS[row["operation"]].weights
    return row["types"][weights] if weights and not TYPES[row["types"][weights]].native else None


def contestant(row: Row) -> str:
    """ "c", "c a8", "c gemv": a backend, and which of its operations."""
    names = {"linear": "", "linear_a8": " a8", "linear_a16": " a16"}
    return row["backend"] + names.get(row["operation"], f" {row['operation']}")


def comparisons(metrics: Metrics) -> list[Entry]:
    """One entry per type, shape and thread count in which a library took part.

    seconds: by contestant, the median. percent: of m = 1, by contestant, its share of the read roof, in the bytes of
    the type with its scales. ratios: by kind, how many times C's speed is the fastest library's, with the name of
    either; None where one of them didn't take part. numba_over_c: the fastest of each.
    """
    groups: dict[Any, list[tuple[Row, RowFigures]]] = defaultdict(list)
    for row, figures in metrics.pairs:
        if (element := element_of(row)) and row["cold"]:
            dims = row["dims"]
            groups[element, row["threads"], dims["n"], dims["k"], dims.get("m", 1)].append((row, figures))
    found = []
    for (element, threads, n, k, m), members in groups.items():
        seconds = {contestant(row): f["seconds"]["value"] for row, f in members}
        backends = {contestant(row): row["backend"] for row, _ in members}
        if set(backends.values()) <= {*OURS}:
            continue
        percent = {
            contestant(r): f["percent_of_roof"]["value"] for r, f in members if m == 1 and "percent_of_roof" in f
        }
        numba = [s for name, s in seconds.items() if backends[name] == "numba"]
        c = [s for name, s in seconds.items() if backends[name] == "c"]
        found.append(
            {
                "types": element,
                "threads": threads,
                "m": m,
                "n": n,
                "k": k,
                "layers": members[0][0]["layers"],
                "seconds": seconds,
                "percent": percent,
                "ratios": {kind: _ratio(seconds, backends, chosen) for kind, chosen in KINDS.items()},
                "numba_over_c": min(c) / min(numba) if c and numba else None,
            }
        )
    order = list(TYPES)
    return sorted(found, key=lambda e: (order.index(e["types"]), e["threads"], e["n"] * e["k"], e["n"], e["m"]))


def _ratio(
    seconds: Mapping[str, float], backends: Mapping[str, str], chosen: Callable[[str], bool]
) -> dict[str, Any] | None:
    ours = [name for name in seconds if chosen(name) and backends[name] == "c"]
    others = [name for name in seconds if chosen(name) and backends[name] not in OURS]
    if not ours or not others:
        return None
    own, best = (min(names, key=lambda name: seconds[name]) for names in (ours, others))
    return {"value": seconds[best] / seconds[own], "c": own, "library": best}


def means(entries: Iterable[Entry]) -> list[Entry]:
    """By type, thread count and m, over the matrices: of each kind of ratio the geometric mean and the worst."""
    groups: dict[Any, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry["types"], entry["threads"], entry["m"]].append(entry)
    found = []
    for (element, threads, m), members in groups.items():
        one: Entry = {"types": element, "threads": threads, "m": m}
        for kind in KINDS:
            known = [entry for entry in members if entry["ratios"][kind]]
            worst = min(known, key=lambda entry: entry["ratios"][kind]["value"], default=None)
            one[kind] = worst and {
                "mean": geometric_mean(entry["ratios"][kind]["value"] for entry in known),
                "worst": worst["ratios"][kind]["value"],
                "library": worst["ratios"][kind]["library"],
                "n": worst["n"],
                "k": worst["k"],
            }
        both = [entry["numba_over_c"] for entry in members if entry["numba_over_c"]]
        one["numba_over_c"] = geometric_mean(both) if both else None
        found.append(one)
    return found


def as_dict(metrics: Metrics) -> Entry:
    """Everything that summary() shows."""
    entries = comparisons(metrics)
    return {"stored": entries, "stored_means": means(entries)}


def _columns(names: Sequence[str]) -> Sequence[Column[Entry]]:
    def micros(name: str) -> Column[Entry]:
        return Column(name, lambda e: f"{1e6 * e['seconds'][name]:.1f}" if name in e["seconds"] else "-")

    return (
        Column("n x k", lambda e: f"{e['n']}x{e['k']}", once=True),
        Column("m", lambda e: str(e["m"])),
        *map(micros, names),
        Column(
            "% of roof",
            lambda e: f"{max(p for n, p in e['percent'].items() if n.split()[0] == 'c'):.0f}" if _of_c(e) else "-",
            "% of roof: of the fastest of C's, at m = 1, in bytes of weights with their scales: of the read roof.",
        ),
        Column("C / best", lambda e: _cell(e, "all"), "C / best: speed of C's fastest over the fastest library's."),
        Column("best library", lambda e: (e["ratios"]["all"] or {"library": "-"})["library"], left=True),
    )


def _of_c(entry: Entry) -> bool:
    return any(name.split()[0] == "c" for name in entry["percent"])


def _cell(entry: Entry, kind: str) -> Text:
    found = entry["ratios"][kind]
    return ratio(found and found["value"])


MEANS: Sequence[Column[Entry]] = (
    Column("types", lambda e: e["types"], left=True),
    Column("threads", lambda e: str(e["threads"])),
    Column("m", lambda e: str(e["m"])),
    *(
        column
        for kind, what in (("all", "all"), ("floating", "activations\nin floats"), ("a8", "activations\nin 8 bits"))
        for column in (
            Column[Entry](what, lambda e, kind=kind: ratio(e[kind] and e[kind]["mean"])),  # type: ignore[misc]
            Column[Entry]("worst", lambda e, kind=kind: ratio(e[kind] and e[kind]["worst"])),  # type: ignore[misc]
        )
    ),
    Column(
        "beside", lambda e: f"{e['all']['library']}, {e['all']['n']}x{e['all']['k']}" if e["all"] else "-", left=True
    ),
    Column("Numba / C", lambda e: ratio(e["numba_over_c"])),
)


def summary(metrics: Metrics) -> RenderableType:
    """A table per type and thread count, then the means and the worst, and the roofs."""
    entries = comparisons(metrics)
    rows = [row for row in metrics.rows if element_of(row)]
    versions = {row["backend"]: row["isa"] for row in rows if row["backend"] not in OURS}
    head = machine_line(metrics.record["machine"], metrics.record["session"])
    who = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts: list[RenderableType] = [Text(head), Text(f"beside {who}"), Text()]
    for element, threads in dict.fromkeys((e["types"], e["threads"]) for e in entries):
        chosen = [e for e in entries if (e["types"], e["threads"]) == (element, threads)]
        names = sorted({name for e in chosen for name in e["seconds"]}, key=_order(versions))
        title = f"Microseconds per product, {element}, {of_threads(threads)}"
        notes = (
            "medians, of samples taken in turn; weights are cold. a8: activations are rounded to 8 bits in the call; "
            "a16: to bf16."
        )
        parts += [table(title, _columns(names), chosen, notes, group=lambda e: (e["n"], e["k"])), Text()]
    notes = "geometric means over the matrices of the speed of C's fastest over the fastest library's, and the worst"
    parts += [table("C beside the fastest library", MEANS, means(entries), notes, group=lambda e: e["types"]), Text()]
    return Group(*parts, roofs_table(metrics), Text(), trust_text(metrics))


def _order(versions: Iterable[str]) -> Callable[[str], Any]:
    backends = [*OURS, *versions]
    return lambda name: (backends.index(name.split()[0]), name)


def took_part(metrics: Metrics) -> bool:
    """Whether the record has kernels on stored weights beside other libraries'."""
    return any(row["operation"] in LINEAR and row["backend"] not in OURS for row in metrics.rows)
