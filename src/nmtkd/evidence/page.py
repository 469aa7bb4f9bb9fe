"""The page of a report: one file with its figures and style inside, for a desk or a phone, by day or night."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nmtkd.evidence.cards import adapted, data, wide
from nmtkd.evidence.figures import Drawing
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.results import TEACHER, Result, adapted_rows
from nmtkd.evidence.tables import TEXT_COLUMNS, Summary, Table, signature_notes
from nmtkd.params import Grid

STYLE = (Path(__file__).with_name("page.css")).read_text(encoding="utf-8")
FILES = {  # beside the page: what each one holds
    "table.md": "the table above",
    "results.csv": "every score with its signature, one a row",
    "bleu.csv": "the headline scores, for plots",
    "curves.csv": "validation by update",
    "adapted.csv": "what students with gates chose: a weight between levels, a number of units",
    "speed.csv": "sizes and speeds, numbers of the machine",
}

FAMILIES = {  # family of methods: how it learns
    "plain": "learns from the corpus alone: what the others are measured against, at the same size, noise condition, seed and updates.",
    "word": "also learns the teacher's distribution over the next token along the reference.",
    "seq": "learns from the teacher's translations in place of the references.",
    "both": "learns from the teacher's translations and from its distributions along them.",
    "hybrid": "learns from references with distributions and from translations, in a ratio that a gate sets sentence by sentence.",
    "online": "asks the teacher for its distribution along the reference, or along what the student itself says.",
}
CAUTION = (
    "<b>One seed a cell.</b> The intervals cover the choice of test sentences, not how far a second training would land. "
    "Name several seeds in <code>grid.seeds</code> before telling methods apart by a small difference."
)
OVER_SEEDS = (
    "The interval of a difference is Student's t-interval of its mean over seeds, runs paired by seed: "
    "where it leaves 0 out, training again with other seeds would most likely show the same sign."
)
OVER_SEGMENTS = (
    "The interval of a difference comes from a paired bootstrap over test segments: "
    "where it leaves 0 out, these two models would most likely differ with the same sign on other text of the kind."
)
COMPARING = (
    "Compare BLEU within one column, one test set and one signature only. Kim and Rush (2016) found that learning from the teacher's "
    "translations helps greedy search more than beam search: look at both panels of a figure."
)
EXAMPLE = 20  # comparisons: few enough to picture, and one in twenty is what the usual confidence lets pass


def build(
    results: Sequence[Result],
    summaries: Sequence[Summary],
    table: Table,
    drawings: Sequence[Drawing],
    *,
    card: Mapping[str, Any],
    grid: Grid,
    level: str,
    headline: str,
) -> str:
    """The page as HTML. `card` is the data card of the prepared corpus, `level` the confidence as text ("95%")."""
    source, _, target = results[0].pair.partition("-")
    students = sum(one.role == "student" for one in results)
    parts = [
        _plural(range(students), "student"),
        _plural({one.method for one in results if one.role == "student"}, "method"),
        _plural(grid.capacities, "size"),
        _plural(grid.seeds, "seed"),
    ]
    parts += [_plural(grid.noises, "noise condition")] * (len(grid.noises) > 1) + [_plural(grid.decodings, "decoding")] * (
        len(grid.decodings) > 1
    )
    title = f"Distillation on {results[0].corpus}, {source} to {target}"
    sections = [
        ("findings", "What this shows", _findings(Findings(summaries, level, headline), len(grid.seeds))),
        ("table", "Scores", _table(table)),
        ("figures", "Figures", "".join(_figure(one) for one in drawings)),
        *([("adapted", "What students chose", adapted(results))] if any(adapted_rows([one]) for one in results) else []),
        ("data", "Data", data(card)),
        ("reading", "How to read this", _reading(grid, level)),
        ("files", "Signatures and files", _files(results)),
    ]
    nav = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{heading}</h2>{content}</section>\n' for name, heading, content in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<p class="eyebrow">Knowledge distillation in machine translation</p>
<h1>{escape(title)}</h1>
<p class="sub">{", ".join(parts)}</p>
<nav>{nav}</nav>
</header>
<main>
{body}</main>
</body>
</html>
"""


def _plural(items: Any, noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def _text(text: str) -> str:
    """Escaped, with a true minus before numbers, and names in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", re.sub(r"(?<![\w.])-(?=\d)", "\u2212", escape(text)))


def _findings(findings: Findings, seeds: int) -> str:
    numbers = "".join(
        f'<div class="number"><dt>{_text(name)}</dt><dd>{_text(value)}</dd><dd class="more">{_text(more)}</dd></div>'
        for name, value, more in findings.numbers()
    )
    items = "".join(f"<li><b>{_text(place)}</b> {_text(told)}</li>" for place, told in findings.places())
    caution = f'<p class="caution">{CAUTION}</p>'
    told = f'<p class="lead">{_text(findings.lead())}</p><dl class="numbers">{numbers}</dl>'
    return told + f'<ul class="findings">{items}</ul>' * bool(items) + caution * (seeds == 1)


def _table(table: Table) -> str:
    """The table with its sizes (and noise conditions) as headings of groups, so that they stay in sight where it is scrolled."""
    groups = [i for i, name in enumerate(table.header) if name in ("capacity", "noise")]
    columns = [i for i in range(len(table.header)) if i not in groups]
    gain = table.header.index("vs plain")
    head = "".join(f'<th scope="col"{_left(table.header[i])}>{escape(table.header[i])}</th>' for i in columns)
    rows, before = [], ""
    teachers = sum(row[0] == TEACHER for row in table.rows)
    for row in table.rows:
        heading, name = ", ".join(row[i] for i in groups), row[columns[0]]
        if name == TEACHER:  # one teacher needs no heading; several are told apart by their noise condition, the last of the groups
            heading, name = ("teachers", row[groups[-1]]) if teachers > 1 else ("", name)
        if heading != before:
            rows.append(f'<tr class=group><th scope="rowgroup" colspan="{len(columns)}"><span>{escape(heading)}</span></th></tr>\n')
        before = heading
        cells = [f"<td{_left(table.header[i])}{_told(row, gain, i)}>{_text(row[i])}</td>" for i in columns[1:]]
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>\n')
    notes = "".join(f"<li>{_text(note)}</li>" for note in table.notes)
    return wide(head, "".join(rows)) + f'<ul class="notes">{notes}</ul>'


def _left(name: str) -> str:
    return " class=left" if name in TEXT_COLUMNS else ""


def _told(row: Sequence[str], gain: int, column: int) -> str:
    """Colours a difference whose interval leaves 0 out; the sign says the same without colour."""
    if column not in (gain, gain + 1) or not row[gain]:
        return ""
    low, high = (float(end) for end in row[gain + 1].strip("[]").split(", "))
    return " class=gain" if low > 0 else " class=loss" if high < 0 else " class=untold"


def _figure(drawing: Drawing) -> str:
    """The SVG without its prologue, its ids prefixed so that figures do not share any, scaled by the page."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{drawing.name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"', r"\1\2", svg, count=1)
    svg = svg.replace("*{stroke-linejoin", "svg *{stroke-linejoin").replace(
        "<svg", f'<svg role="img" aria-label="{escape(drawing.title)}"', 1
    )
    return (
        f'<figure id="{drawing.name}"><h3>{escape(drawing.title)}</h3><div class="plot" tabindex="0">{svg.strip()}</div>'
        f"<figcaption>{_text(drawing.caption)}</figcaption></figure>\n"
    )


def _reading(grid: Grid, level: str) -> str:
    named = [(getattr(grid.methods, family), told) for family, told in FAMILIES.items()]
    methods = "".join(f"<li><b>{escape(', '.join(names))}</b> {told}</li>" for names, told in named if names)
    interval = OVER_SEEDS if len(grid.seeds) > 1 else OVER_SEGMENTS
    share = 1.0 - float(level.rstrip("%")) / 100.0
    chance = f"Of {EXAMPLE} comparisons without any true difference, about {EXAMPLE * share:.0f} would seem to show one."
    return f"<ul>{methods}</ul><p>{interval} {chance}</p><p>{COMPARING}</p>"


def _files(results: Sequence[Result]) -> str:
    signatures = "".join(f"<li><code>{escape(line)}</code></li>" for line in signature_notes(results))
    links = "".join(f'<li><a href="{name}">{name}</a>: {told}</li>' for name, told in FILES.items())
    return f'<ul class="notes">{signatures}</ul><ul class="notes">{links}</ul>'
