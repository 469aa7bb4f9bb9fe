"""The page of a report: one file with its figures, style and script, for desk and phone, day and night.

It is the same on every machine. Times and rates are in reports/machine/, from where page.js shows them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nmtkd.evidence import cards, speed_figure
from nmtkd.evidence.canvas import FigureData
from nmtkd.evidence.figures import Drawing
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.notes import AT_1_COLUMN, GAIN_COLUMN
from nmtkd.evidence.results import BEAM, BEAM_AT_1, STUDENT, TEACHER, Result
from nmtkd.evidence.rows import adapted_rows
from nmtkd.evidence.summaries import Summary
from nmtkd.evidence.tables import INTERVAL, TEXT_COLUMNS, Table, in_order, signature_notes
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.schema import Grid

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
FILES = {  # beside the page: what each one holds
    "table.md": "the table above",
    "results.csv": "every score with its signature, one a row",
    "runs.csv": "what each model was trained on, its length penalty and its climb",
    "bleu.csv": "validation {label}, for plots",
    "curves.csv": "validation by update",
    "adapted.csv": "what students with gates chose: a weight between levels, a number of units",
}
ONE_SEED = "<b>One seed a cell.</b> "
COVERED = "The intervals cover the choice of test text, not where a second training would land. "
SEVERAL = "Name several seeds in <code>grid.seeds</code> before telling methods apart."
LIMITS = (
    "The interval of a difference comes from a paired bootstrap (Koehn 2004) that draws {resampled} anew, "
    "the same for both systems: it covers other test text of the kind{seeds}. Fixed are the split of the "
    "corpus, the teacher, the noise drawn and the teacher's translations{training}: how a difference would "
    "come out with others, nothing here says. What is called best or first was chosen by validation {label}."
)
OVER_SEEDS = (
    ", and other seeds of the students' trainings, by Student's t: the luck of a training is taken to be the "
    "same for all students here, or larger where two of them differ by more"
)
ONE_TRAINING = ", and with one seed the one training of each student"
VERDICTS = (
    "An interval and p are of one comparison by itself. A gain or a loss, and its colour, is one whose p is "
    "below {share} after Holm's correction for all comparisons of one search: where no method differed from "
    "plain, the table would show any with about that chance at most. The comparisons of the first by "
    "validation with the others of its size are corrected among themselves."
)
COMPARING = (
    "Compare BLEU within one column, one test set and one signature only. "
    "Kim and Rush (2016) found that learning from the teacher's translations helps greedy search more "
    "than beam search: look at both panels of a figure."
)
COLOURED: dict[int | None, str] = {1: "gain", -1: "loss"}  # by the verdict; of others it is unclear


def build(
    results: Sequence[Result],
    figure_data: FigureData,
    table: Table,
    drawings: Sequence[Drawing],
    card: Mapping[str, Any],
) -> str:
    """The page as HTML. `card` is the data card of the prepared corpus."""
    grid, level = figure_data.grid, figure_data.level
    findings = Findings(figure_data.summaries, level, figure_data.headline)
    source, _, target = results[0].pair.partition("-")
    title = f"Distillation on {results[0].corpus}, {source} to {target}"
    chosen = [("adapted", "What students chose", cards.adapted(results))] if adapted_rows(results) else []
    sections = [
        ("findings", "What this shows", _findings(findings, len(grid.seeds) == 1)),
        ("table", "Scores", _table(table, figure_data)),
        ("figures", "Figures", "".join(map(_figure, drawings)) + speed_figure.figure(figure_data)),
        ("length", "Length", cards.lengths(results, figure_data.headline.name, figure_data.headline.label)),
        *chosen,
        ("data", "Data", cards.data(card)),
        ("reading", "How to read this", _reading(figure_data, findings.has_verdicts)),
        ("files", "Signatures and files", _files(results, figure_data.headline.label)),
    ]
    nav = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{heading}</h2>{content}</section>\n' for name, heading, content in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
<script>
{SCRIPT}</script>
</head>
<body>
<header>
<p class="eyebrow">Knowledge distillation in machine translation</p>
<h1>{escape(title)}</h1>
<p class="sub">{_extent(results, grid)}</p>
<nav>{nav}</nav>
</header>
<main>
{body}</main>
{speed_figure.scripts(figure_data.summaries)}</body>
</html>
"""


def _extent(results: Sequence[Result], grid: Grid) -> str:
    """How many students, methods, sizes and seeds there are."""
    students = [result for result in results if result.role == STUDENT]
    parts = [
        _plural(students, "student"),
        _plural({student.method for student in students}, "method"),
        _plural(grid.capacities, "size"),
        _plural(grid.seeds, "seed"),
        *[_plural(grid.noises, "noise condition")] * (len(grid.noises) > 1),
        *[_plural(grid.decodings, "decoding")] * (len(grid.decodings) > 1),
    ]
    return ", ".join(parts)


def _plural(items: Collection[Any], noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def _text(text: str) -> str:
    """Escaped, with a true minus before numbers, and names in backticks as code."""
    minus = re.sub(r"(?<![\w.])-(?=\d)", "\u2212", escape(text))
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", minus)


def _findings(findings: Findings, has_one_seed: bool) -> str:
    numbers = "".join(
        f'<div class="number"><dt>{_text(name)}</dt><dd>{_text(value)}</dd>'
        f'<dd class="more">{_text(explanation)}</dd></div>'
        for name, value, explanation in findings.numbers()
    )
    items = "".join(
        f"<li><b>{_text(setting)}</b> {_text(sentence)}</li>" for setting, sentence in findings.settings()
    )
    caution = f"{ONE_SEED}{COVERED * findings.has_verdicts}{SEVERAL}"
    is_cautioned = has_one_seed and not findings.headline.is_small  # seeds make no small test set larger
    return (
        f'<p class="lead">{_text(findings.lead())}</p><dl class="numbers">{numbers}</dl>'
        + f'<ul class="findings">{items}</ul>' * bool(items)
        + f'<p class="caution">{caution}</p>' * is_cautioned
    )


def _table(table: Table, figure_data: FigureData) -> str:
    """The table, with cells for times and rates.

    Sizes and noise conditions are headings of groups, so that they stay in sight when the table is scrolled.
    """
    groups = [i for i, name in enumerate(table.header) if name in ("capacity", "noise")]
    columns = [i for i in range(len(table.header)) if i not in groups]
    head = "".join(f'<th scope="col"{_left(table.header[i])}>{escape(table.header[i])}</th>' for i in columns)
    head += "".join(f'<th scope="col">{name}</th>' for name in speed_figure.COLUMNS)
    width = len(columns) + len(speed_figure.COLUMNS)
    rows, previous = [], ""
    teachers = sum(row[0] == TEACHER for row in table.rows)
    summaries = in_order(figure_data.summaries, figure_data.grid)
    for row, summary in zip(table.rows, summaries, strict=True):
        heading, name = ", ".join(row[i] for i in groups), row[columns[0]]
        if name == TEACHER:  # one teacher needs no heading; several are named by their noise, the last group
            heading, name = ("teachers", row[groups[-1]]) if teachers > 1 else ("", name)
        if heading != previous:
            cell = f'<th scope="rowgroup" colspan="{width}"><span>{escape(heading)}</span></th>'
            rows.append(f"<tr class=group>{cell}</tr>\n")
        previous = heading
        cells = [
            f"<td{_left(table.header[i]) or _colour(summary, table.header[i])}>{_text(row[i])}</td>"
            for i in columns[1:]
        ]
        cells.append(speed_figure.cells(summary))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>\n')
    notes = "".join(f"<li>{_text(note)}</li>" for note in (*table.notes, speed_figure.note()))
    return cards.wide(head, "".join(rows)) + f'<ul class="notes">{notes}</ul>'


def _left(name: str) -> str:
    return " class=left" if name in TEXT_COLUMNS else ""


def _colour(summary: Summary, column: str) -> str:
    """Colours a difference by its verdict, and the interval of the main one. Its sign says the same."""
    search = BEAM_AT_1 if column == AT_1_COLUMN else BEAM
    if not (column in (GAIN_COLUMN, AT_1_COLUMN) or column.endswith(INTERVAL)) or not summary.gains:
        return ""
    return f" class={COLOURED.get(summary.gains[search].verdict, 'unclear')}"


def _figure(drawing: Drawing) -> str:
    """The SVG without its prologue, scaled by the page. Its ids get a prefix, so that figures share none."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{drawing.name}-", svg)
    size = r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"'
    svg = re.sub(size, r"\1\2", svg, count=1)
    svg = svg.replace("*{stroke-linejoin", "svg *{stroke-linejoin")
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(drawing.title)}"', 1)
    return (
        f'<figure id="{drawing.name}"><h3>{escape(drawing.title)}</h3>'
        f'<div class="plot" tabindex="0">{svg.strip()}</div>'
        f"<figcaption>{_text(drawing.caption)}</figcaption></figure>\n"
    )


def _reading(figure_data: FigureData, has_verdicts: bool) -> str:
    """What the methods are, and what intervals and verdicts mean where there are any."""
    grid = figure_data.grid
    named = [(getattr(grid.methods, name), family.sentence) for name, family in FAMILIES.items()]
    methods = "".join(
        f"<li><b>{escape(', '.join(names))}</b> {sentence}</li>" for names, sentence in named if names
    )
    intervals = _intervals(figure_data.headline, len(grid.seeds), figure_data.level) if has_verdicts else ""
    return f"<ul>{methods}</ul>{intervals}<p>{COMPARING}</p>"


def _intervals(headline: Headline, seeds: int, level: str) -> str:
    """What an interval covers, and what a verdict is. `level` is the confidence as text."""
    over_seeds, training = (OVER_SEEDS, "") if seeds > 1 else ("", ONE_TRAINING)
    limits = LIMITS.format(
        resampled=headline.resampled, seeds=over_seeds, training=training, label=headline.label
    )
    share = 1.0 - float(level.rstrip("%")) / 100.0
    return f"<p>{limits}</p><p>{VERDICTS.format(share=f'{share:g}')}</p>"


def _files(results: Sequence[Result], label: str) -> str:
    signatures = "".join(f"<li><code>{escape(line)}</code></li>" for line in signature_notes(results))
    links = "".join(
        f'<li><a href="{name}">{name}</a>: {content.format(label=label)}</li>'
        for name, content in FILES.items()
    )
    return f'<ul class="notes">{signatures}</ul><ul class="notes">{links}</ul>'
