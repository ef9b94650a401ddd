"""The page: one file with its style, its script and its data, which asks nobody for anything.

Whatever comes from a record is escaped, or packed: the data is JSON, deflated and in base64, which is a quarter of its
size and ends no element. The script shows it as text alone.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from bench.errors import plain
from bench.quantities import digits, spanned
from bench.record.folder import Refused
from bench.report.page.columns import Machine, Report
from bench.report.page.document import document
from bench.report.page.history import History, histories, moved
from bench.report.page.looks import LOOKS, Look
from bench.report.page.placed import placed
from bench.report.page.tables import (
    RIDGES,
    ROOFS,
    TRUST,
    html_table,
    kernels_ridges,
    model_columns,
    models_of,
    noise_of,
    roofs_of,
)
from bench.report.page.words import Wall, answer, follows, incomparable, walls
from bench.report.sides import FAMILIES, Difference, difference_columns, differences, pivot, pivot_columns
from bench.report.text import of_threads

DETAILED = 4  # machines against the first, whose families have a table each; of more, one table has the ratios
SCRIPTS = ("chart.js", "views.js", "rows.js", "page.js")


LIMIT = 300_000  # bytes of a page
LESS = ("pointwise", "hot", "cold m 2-15", "cold m >= 16")
"""Classes of rows in the order in which they are left out where a page would be larger."""


def html(of: Report) -> str:
    """The whole page, with as many classes of rows as it has room for."""
    present = {one.key.class_ for one in placed(of)}
    less = [name for name in LESS if name in present]
    for count in range(len(less) + 1):
        text = _html(of, less[:count])
        if len(text.encode()) <= LIMIT:
            break
    return text


def _html(of: Report, without: Sequence[str]) -> str:
    machines, lines = of.machines, histories(of)
    return _part("page.html").substitute(
        title=_text(_title(machines)),
        style=_source("page.css") + _colours(),
        summary=_summary(of),
        differences=_differences(of, without),
        answer=_answer(of),
        links=_links(bool(models_of(machines)), bool(lines)),
        tables=_tables(of),
        models=_models(machines),
        history=_history(lines),
        trust=_trust(of),
        data=packed(document(of, lines, without)),
        script="\n".join(map(_source, SCRIPTS)),
    )


def packed(value: Any) -> str:
    """JSON, deflated, in base64."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return b64encode(zlib.compress(text.encode(), 9)).decode()


def _source(name: str) -> str:
    return files("bench.report.page").joinpath("source", name).read_text(encoding="utf-8")


def _part(name: str) -> Template:
    return Template(_source(name))


def _text(value: object) -> str:
    return escape(plain(value))


def _title(machines: Sequence[Machine]) -> str:
    names = list(dict.fromkeys(machine.name for machine in machines))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _colours() -> str:
    """The machines' colours, for a light page and for a dark one."""
    light, dark = (";".join(f"--m{i}:{look[of]}" for i, look in enumerate(LOOKS)) for of in (0, 1))
    return f":root{{{light}}}:root[data-theme=dark]{{{dark}}}"


def mark(index: int) -> str:
    """A machine's shape in its colour."""
    look: Look = LOOKS[index]
    path = f'<path d="{look.shape}" fill="var(--m{index})"/>'
    return f'<svg class="mark" viewBox="-6.5 -6.5 13 13" aria-hidden="true">{path}</svg>'


# --- sections


def _summary(of: Report) -> str:
    found = {wall.machine.letter: wall for wall in walls(of.machines)}
    cards = "".join(_card(i, machine, found.get(machine.letter)) for i, machine in enumerate(of.machines))
    lead = "".join(f'<p class="lead">{_text(said)}</p>' for said in answer(of)[:1])
    return f'{lead}<div class="cards">{cards}</div>{_refused(of.refused)}'


def _answer(of: Report) -> str:
    said = follows(of)
    return f'<section id="answer"><h2>What follows</h2><ul class="answer">{_items(said)}</ul></section>' if said else ""


def _links(models: bool, history: bool) -> str:
    named = {"differences": "What differs", "rooflines": "Rooflines", "bandwidth": "Bandwidth", "kernels": "Kernels"}
    named |= {"models": "Whole models"} if models else {}
    named |= {"history": "Over time"} if history else {}
    named |= {"means": "Means", "trust": "Trust"}
    return "".join(f'<a href="#{place}">{said}</a>' for place, said in named.items())


def _items(said: Sequence[str]) -> str:
    return "".join(f"<li>{_text(line)}</li>" for line in said)


def _card(index: int, machine: Machine, wall: Wall | None) -> str:
    grade = machine.metrics.trust["grade"]
    value, _, inside = spanned(wall.ridge, wall.low, wall.high).partition(" ") if wall else ("", "", "")
    ridge = (
        f'<p class="ridge"><b>{value}</b> FLOP/byte <span>{inside}</span></p>'
        f"<p>{digits(wall.peak / 1e9)} GFLOP/s over {digits(wall.read / 1e9)} GB/s, {of_threads(wall.threads)}</p>"
        if wall
        else '<p class="ridge">no ridge</p><p>a peak or memory&rsquo;s bandwidth was not measured</p>'
    )
    return (
        f'<article class="card" style="--c:var(--m{index})"><h3>{mark(index)} <span class="letter">{machine.letter}'
        f"</span> {_text(machine.name)}</h3>{ridge}<p class='small'>{_text(machine.record['session']['isa'])}, "
        f"{_text(machine.session.started[:10])}, trust <b class='grade{grade or ''}'>{grade or 'none'}</b>, "
        f"{_text(machine.path.name)}</p></article>"
    )


def _refused(refused: Sequence[Refused]) -> str:
    if not refused:
        return ""
    lines = "".join(f"<li><b>{_text(one.path)}</b>: {_text(one.reason)}</li>" for one in refused)
    return f'<div class="refused" role="note"><h3>Left out: no good records</h3><ul>{lines}</ul></div>'


def _differences(of: Report, without: Sequence[str]) -> str:
    sides = [machine.side for machine in of.machines]
    facts = of.machines[0].session.facts
    found = [Difference("machine", [side.machine for side in sides]), *differences(sides)]
    if len(sides) > 1:
        found = [one for one in found if len(set(one.of)) > 1]
    else:
        found += [Difference(name, [said]) for name, said in facts.items()]
    alike = facts.keys() - {one.name for one in found}
    same = [f"{name} {said}" for name, said in facts.items() if name in alike and said != "unknown"]
    table = html_table("What differs", difference_columns(sides), found)
    if same and len(sides) > 1:
        table += f'<p class="notes">The same on all: {_text("; ".join(same))}.</p>'
    cautions = incomparable(of)
    if without:
        cautions.append(f"To stay below {LIMIT / 1000:.0f} kB the page leaves out rows: {', '.join(without)}.")
    said = f'<h3>What can&rsquo;t be compared</h3><ul class="cautions">{_items(cautions)}</ul>' if cautions else ""
    return said + f"<h3>{'What differs' if len(sides) > 1 else 'The session'}</h3>" + table


def _tables(of: Report) -> str:
    parts = []
    if len(of.pages) > 1:
        parts.append(_table("Families on every machine", pivot_columns(of.pages), pivot(of.pages)))
    for page in of.pages if len(of.pages) <= DETAILED else ():
        if page.families:
            title = f"{page.b.letter} against {page.a.letter}: geometric means by family"
            table = html_table(title, FAMILIES, page.families)
            parts.append(_folded(title, table) if len(of.pages) > 1 else _h3(title) + table)
    machines = of.machines
    parts.append(_table("Roofs", ROOFS, [roof for machine in machines for roof in roofs_of(machine)]))
    if found := kernels_ridges(machines):
        parts.append(_folded("Ridges that kernels show, in FLOP/byte", html_table("Ridges", RIDGES, found)))
    return "".join(parts)


def _folded(title: str, table: str) -> str:
    return f"<details><summary>{_text(title)}</summary>{table}</details>"


def _h3(title: str) -> str:
    return f"<h3>{_text(title)}</h3>"


def _table(title: str, columns: Any, entries: Any) -> str:
    return _h3(title) + html_table(title, columns, entries)


def _models(machines: Sequence[Machine]) -> str:
    found = models_of(machines)
    if not found:
        return ""
    table = html_table("Whole models", model_columns(machines), found)
    return f'<section id="models"><h2>Whole models</h2>{table}</section>'


def _history(lines: Sequence[History]) -> str:
    if not lines:
        return ""
    names = 'aria-label="Sessions over time" aria-describedby="timessaid"'
    chart = f'<svg id="times" class="chart" tabindex="0" role="img" {names}></svg>'
    return (
        '<section id="history"><h2>Over time</h2><div class="controls" id="lines"></div>'
        f'<figure>{chart}<figcaption id="timessaid"></figcaption></figure>'
        f'<ul class="cautions">{_items(moved(lines))}</ul></section>'
    )


def _trust(of: Report) -> str:
    return html_table("Trust", TRUST, [noise_of(machine) for machine in of.machines])
