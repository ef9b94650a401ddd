"""A session's answer in words: where the wall is, how near to it kernels come, and what to do about it.

Sentences for which a record has no figures are left out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from bench.quantities import plural, spanned
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.report.classes import DECODE, MANY, PRIMARY, Member, headline, members, partners, percent_of, speedup
from bench.report.text import of_threads
from kernels.types import TYPES

NAMES = {"c": "C", "numba": "Numba", "blas": "BLAS"}
PACKED = " prepacked"
ENOUGH = 0.05  # fewer threads do where they are this near to the best
FREE = 1.5  # times the time of one row, up to which more rows are worth a word


def answer(metrics: Metrics) -> list[str]:
    """About ten sentences or pairs of them; where the session can't be relied on, that is the first."""
    found = members(metrics)
    said = [*_ceilings(metrics), *_kernels(metrics, found), *(() if found else _stream(metrics))]
    return [*_caution(metrics), *said] if said else []


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _span(of: Interval) -> str:
    """ "6.71 [6.22, 7.13]"; without brackets where nothing tells how far it would differ, or three digits don't."""
    value, low, high = map(_number, (of.value, of.shown.low, of.shown.high))
    return value if low == high else spanned(of.value, of.shown.low, of.shown.high)


def _times(of: Interval) -> str:
    return _span(of).replace(" ", "x ", 1) if " " in _span(of) else f"{_span(of)}x"


def _rounded(of: Interval) -> str:
    low, high = of.shown.low, of.shown.high
    return f"{of.value:.0f} [{low:.0f}, {high:.0f}]" if low < high else f"{of.value:.0f}"


def _caution(metrics: Metrics) -> Iterator[str]:
    trust = metrics.trust
    if trust["grade"] == "C":
        yield f"Read this with care, trust is C: figures differ by {100 * (trust['effect'] or 0):.0f} %."
    elif trust["grade"] == "D":
        yield f"Don't rely on this, trust is D: {trust['reasons'][0]}."
    elif trust["grade"] is None:
        yield f"Trust has no grade: {trust['reasons'][0]}."


def _ceilings(metrics: Metrics) -> Iterator[str]:
    """Peak and bandwidth of most threads and of one, then the ridge."""
    best = headline(metrics)
    if best is None:
        return
    key, peak, read = best.type, best.peak, best.read
    does = []
    if key and peak:
        does.append(f"multiplies at {_span(peak.scaled(1e-9))} GFLOP/s ({key[0]}, {key[1]})")
    if read:
        does.append(f"reads memory at {_span(read.scaled(1e-9))} GB/s")
    alone = ""
    one = metrics.roofs.get(1)
    if one and best.threads != 1 and (not key or key in one.peaks) and (not read or "DRAM" in one.bandwidths):
        rates = [one.peaks[key].value] if key else []
        rates += [one.bandwidths["DRAM"].value] if read else []
        alone = f"; one thread at {' and '.join(_number(rate / 1e9) for rate in rates)}"
    yield f"This machine {' and '.join(does)} on {of_threads(best.threads)}{alone}."
    if key and best.ridge:
        yield (
            f"It hits the memory wall at {_span(best.ridge)} FLOP/byte, its ridge: with fewer FLOPs per byte "
            f"from memory (arithmetic intensity) memory is the limit, with more arithmetic is. A matrix of {key[0]} "
            f"weights gets there with {plural(_balance(best.ridge, key[0]), 'row')} of activations (m)."
        )


def _balance(ridge: Interval, type_: str) -> int:
    """Rows of activations with which weights of this type reach the ridge: 2 m FLOPs for each of them."""
    return math.ceil(ridge.value * TYPES[type_].bits / 16)


def _kernels(metrics: Metrics, found: Sequence[Member]) -> Iterator[str]:
    if not found:
        return
    labels = [m.key.types for m in found]
    types = PRIMARY if PRIMARY in labels else labels[0]
    mine = [m for m in found if m.key.types == types]
    threads = max(m.row["threads"] for m in mine)
    ours = next((name for name in NAMES if any(m.row["backend"] == name for m in mine)), mine[0].row["backend"])
    at = [m for m in mine if m.row["threads"] == threads]
    cold, tall = _of(at, DECODE), _of(at, MANY)
    if shares := _shares(cold):
        yield (
            f"Decoding, one token at a time (m = 1) with cold weights (in no cache), reaches on {of_threads(threads)}, "
            f"in % of its roof (of what memory allows): {shares}."
        )
    if shares := _shares(tall):
        ahead = " (prepacked: weights packed ahead)" if PACKED in shares else ""
        yield f"With 16 rows and more, as in encoders and prompts{ahead}: {shares}."
    yield from _threads(mine, threads, ours)
    yield from _rows(at, ours)
    yield from _bytes(found, cold, ours, types)
    yield from _far(at)


def _of(rows: Sequence[Member], class_: str, backend: str | None = None) -> list[Member]:
    return [m for m in rows if m.key.class_ == class_ and backend in (None, m.row["backend"])]


def _name(contestant: str) -> str:
    backend = contestant.removesuffix(PACKED)
    return NAMES.get(backend, backend) + contestant.removeprefix(backend)


def _shares(rows: Sequence[Member]) -> str:
    known = [m for m in rows if "percent_of_roof" in m.figures]
    names = sorted({m.contestant for m in known}, key=lambda name: (*_rank(name), name))
    return ", ".join(f"{_name(n)} {_rounded(percent_of([m for m in known if m.contestant == n]))}" for n in names)


def _rank(contestant: str) -> tuple[int, bool]:
    backend = contestant.removesuffix(PACKED)
    order = list(NAMES)
    return (order.index(backend) if backend in NAMES else len(order)), backend != contestant


def _threads(rows: Sequence[Member], most: int, backend: str) -> Iterator[str]:
    """What all threads give over one, and how many are enough."""
    gains: list[str] = []
    enough: dict[str, str | None] = {}
    for class_, phase in ((DECODE, "decoding"), (MANY, "from 16 rows on")):
        mine = _of(rows, class_, backend)
        by_threads = {t: [m for m in mine if m.row["threads"] == t] for t in sorted({m.row["threads"] for m in mine})}
        over_one = {t: speedup([*partners(by_threads.get(1, []), of)]) for t, of in by_threads.items() if t > 1}
        if gain := over_one.get(most):
            gains.append(f"{_times(gain)} {phase}")
            known = {1: 1.0} | {t: gain.value for t, gain in over_one.items() if gain}
            least = min(t for t, value in known.items() if value >= (1 - ENOUGH) * max(known.values()))
            unknown = any(gain.low < 1 + ENOUGH < gain.high for gain in over_one.values() if gain)
            enough[phase] = None if unknown else of_threads(least)
    if gains:
        use = ", ".join(f"{phase} {f'use {n}' if n else 'that may help or not'}" for phase, n in enough.items())
        if len(same := set(enough.values())) == 1 and None not in same:
            use = f"use {same.pop()}"
        yield f"{of_threads(most)} are, over one, {' and '.join(gains)} ({_name(backend)}): {use}."


def _rows(rows: Sequence[Member], backend: str) -> Iterator[str]:
    """How much longer more rows of activations take than one."""
    best: dict[tuple[int, tuple[int, int]], Member] = {}
    for member in rows:
        if member.row["backend"] == backend and member.row["cold"]:
            place = member.row["dims"].get("m", 1), member.matrix
            if place not in best or member.figures["seconds"]["value"] < best[place].figures["seconds"]["value"]:
                best[place] = member
    costs = {}
    for m in sorted({m for m, _ in best} - {1}):
        if cost := speedup([(best[m, of], best[1, of]) for n, of in best if n == m and (1, of) in best]):
            costs[m] = cost
    if not costs:
        return
    m = max((m for m, cost in costs.items() if cost.value <= FREE), default=min(costs))
    why = "for weights are read once for all"
    yield f"Batch: {plural(m, 'row')} take {_times(costs[m])} the time of one ({_name(backend)}), {why}."


def _bytes(found: Sequence[Member], decode: Sequence[Member], backend: str, types: str) -> Iterator[str]:
    """Whether fewer bytes would help decoding."""
    mine = [m for m in decode if m.row["backend"] == backend]
    if not mine:
        return
    threads = mine[0].row["threads"]
    bound = sum(m.figures["verdict"] == "memory-bound" for m in mine)
    measured = []
    for other in dict.fromkeys(m.key.types for m in found if m.key.types != types):
        theirs = [m for m in found if m.key.types == other and m.row["threads"] == threads]
        if gain := speedup([(b, a) for a, b in partners(mine, theirs)]):
            measured.append(f"{other} takes {_times(gain)} the time of {types}")
    hot = [1 / m.figures["cold_over_hot"] for m in mine if "cold_over_hot" in m.figures]
    if hot:
        measured.append(f"with hot weights (from a cache) it takes {fmean(hot):.2g}x the time")
    would = "would help" if 2 * bound > len(mine) else "would help little in"
    also = f"; {', '.join(measured)}" if measured else ""
    yield (
        f"Fewer bytes per weight {would} decoding: it is memory-bound, so that time goes with bytes, "
        f"in {bound} of {plural(len(mine), 'row')} ({_name(backend)}){also}."
    )


def _far(rows: Sequence[Member]) -> Iterator[str]:
    """What comes near no roof, and why."""
    far = [m.figures for m in rows if m.figures.get("verdict") == "neither"]
    if far:
        notes = Counter(f["note"] for f in far if "note" in f)
        why = f"; {notes.most_common(1)[0][1]} are {notes.most_common(1)[0][0]}" if notes else ""
        all_ = plural(len(rows), "row")
        yield f"{len(far)} of {all_} come near neither limit (wholly below half of their roof){why}."


def _stream(metrics: Metrics) -> Iterator[str]:
    """STREAM's four loops on arrays in memory."""
    best: dict[str, float] = {}
    for row, figures in metrics.pairs:
        if row["operation"].partition("_")[0] in STREAM and row["level"] == "DRAM" and "best_gbps" in figures:
            best[row["operation"]] = max(figures["best_gbps"], best.get(row["operation"], 0.0))
    if best:
        yield f"STREAM counts, at best, {', '.join(f'{name} {_number(rate)}' for name, rate in best.items())} GB/s."


STREAM = ("copy", "scale", "add", "triad")
