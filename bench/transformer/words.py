"""The answer in words, and the page that is saved beside a record, to be pasted."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bench.quantities import plural
from bench.record.metrics import Metrics
from bench.record.runs.figures import UNIT
from bench.report.columns import Column
from bench.report.tables import caption_of, markdown
from bench.report.text import interval, machine_line, of_threads, seconds, times
from bench.transformer.rows import OURS, in_parts
from bench.transformer.stored import ACCURACY, STORED, in_places, judged, stored_words
from bench.transformer.tables import BESIDE, WIDE, part_columns

Row = Mapping[str, Any]
TWICE = 2.0  # a part that takes so many times its bound is named


def words(rows: Sequence[Row]) -> list[str]:
    """A sentence or two on every model and phase, at its longest input, on the kernels in C if they were measured."""
    said = []
    native = [row for row in rows if not row["linear"]]
    backend = OURS if any(row["backend"] == OURS for row in native) else native[0]["backend"]
    mine = [row for row in native if row["backend"] == backend]
    for _, alike in groupby(mine, key=lambda row: (row["model"], row["phase"])):
        row = max(alike, key=lambda row: row["length"])
        said.append(" ".join(_sentences(row)))
    return [*said, *stored_words(rows)]


def _sentences(row: Row) -> Iterator[str]:
    on = of_threads(row["threads"])
    bound = row["percent_of_bound"]
    of_bound = f", {bound['value']:.0f} % of what peak and bandwidth allow" if bound else ""
    if row["phase"] == "decode":
        rate, each = row["tokens_per_second"], row["executed"]["cold_bytes"] / row["length"] / 1e9
        yield f"{row['model']} generates {plural(row['length'], 'token')} at {rate:.3g} tokens/s on {on}{of_bound}:"
        yield f"every token reads {each:.2f} GB, at {row['gbytes']:.3g} GB/s; fewer bytes per weight would help."
    else:
        took, verb = seconds(row["seconds"]["value"]), "encodes" if row["phase"] == "encode" else "takes in a prompt of"
        whole = f"{verb} {plural(row['length'], 'token')} in {took} on {on}{of_bound}"
        yield f"{row['model']} {whole}: {row['gflops']:.3g} GFLOP/s."
    if row["normalised"] and (row["model"], row["phase"], row["length"]) != UNIT:
        beside = f"; in the paper, on an Intel Gold 6242, {row['paper']:g}" if row["paper"] else ""
        yield f"That is {times(row['normalised']['value'])} the latency of BERT-Base at 128 tokens{beside}."
    if row["note"]:
        yield f"It is {row['note']}."
    parts = [(p["name"], p["seconds"]["value"], p["percent_of_roof"]["value"]) for p in row["parts"] if _known(p)]
    if far := [part for part in parts if part[2] <= 100 / TWICE]:
        name, took, percent = max(far, key=lambda part: part[1] * (1 - part[2] / 100))
        share = 100 * took / row["seconds"]["value"]
        yield f"Most is to be had in {name}: {share:.0f} % of the time, {times(100 / percent)} its bound."


def _known(part: Row) -> bool:
    return part["seconds"] is not None and part["percent_of_roof"] is not None


def library_words(rows: Sequence[Row]) -> list[str]:
    """How this project fares beside the fastest library, model by model."""
    return [
        f"{row['model']}, {row['phase']}, {plural(row['length'], 'token')}: C is {interval(row['over_best'])} times as "
        f"fast as {row['best_library']}, the fastest library."
        for row in rows
        if row["over_best"]
    ]


def page(metrics: Metrics, rows: Sequence[Row], beside: Sequence[Row]) -> str:
    """Markdown: the words, the tables, part by part, what it was measured on and how far it can be relied on."""
    record, trust = metrics.record, metrics.trust
    said = [_escaped(sentence) for sentence in (library_words(beside) if beside else words(rows))]
    lines = ["# Whole Transformers", "", machine_line(record["machine"], record["session"]) + "."]
    lines += [
        f"{record['ended'][:10]}, trust {trust['grade'] or 'without a grade'}.",
        "",
        *(f"- {sentence}" for sentence in said),
        "",
    ]
    if beside:
        lines += _table(BESIDE, [(row, name) for row in beside for name in row["seconds"]])
    else:
        lines += _table(WIDE, [row for row in rows if not row["linear"]])
        if any(row["linear"] for row in rows):
            lines += [*_table(STORED, in_places(rows)), *_table(ACCURACY, judged(rows))]
        for place, alike in in_parts(rows).items():
            parts: list[Any] = list(zip(*(row["parts"] for row in alike), strict=True))
            parts.sort(key=lambda part: -part[0]["seconds"]["value"])
            lines += [f"## {_escaped(place)}", "", *_table(part_columns(alike), parts)]
    lines += [f"- {reason}" for reason in trust["reasons"]]
    return "\n".join(lines).rstrip() + "\n"


def _escaped(text: str) -> str:
    """Without HTML, code or links: a model's name is whatever a record says."""
    return re.sub(r"([`<\[])", r"\\\1", text)


def _table(columns: Sequence[Column[Any]], entries: Sequence[Any]) -> list[str]:
    return [*markdown(columns, entries), "", caption_of(columns), ""]
