"""The table of a report: a row for each method, capacity, noise and decoding, over all seeds.

Each student stands beside the plain student that matches it. The table is written as Markdown and as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.machine_facts import NOTHING
from nmtkd.evidence.metrics import BREVITY, CHARACTERS
from nmtkd.evidence.notes import AT_1_COLUMN, GAIN_COLUMN, MARKS, P_HOLM_COLUMN, marks, notes
from nmtkd.evidence.numbers import count, show, show_p, signed, span
from nmtkd.evidence.results import BEAM, BEAM_AT_1, GREEDY, LONG, TEACHER, VALID, Result
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.schema import Grid, Report
from nmtkd.text.yardstick import COLUMNS

TEXT_COLUMNS = ("method", "capacity", "noise", "decoding", MARKS)  # left-aligned; all others hold numbers
INTERVAL = " interval"  # after its confidence
WORDS = "+ words"  # after their number


@dataclass(frozen=True)
class Table:
    """Cells as text, and the notes that explain them."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def in_order(summaries: Sequence[Summary], grid: Grid) -> list[Summary]:
    """The order of the table: teachers, then noise by noise and capacity by capacity."""
    teachers = [summary for summary in summaries if summary.method == TEACHER]
    students = [summary for summary in summaries if summary.method != TEACHER]
    students.sort(key=lambda s: (grid.noises.index(s.noise), grid.capacities.index(s.capacity)))
    return teachers + students


def axes(grid: Grid) -> list[str]:
    """The columns that name a row. Noise and decoding appear only if the grid has several."""
    return [
        *("method", "capacity"),
        *["noise"] * (len(grid.noises) > 1),
        *["decoding"] * (len(grid.decodings) > 1),
    ]


def build(
    summaries: Sequence[Summary], grid: Grid, settings: Report, headline: Headline, long_words: int
) -> Table:
    """The table: rows as in_order has them."""
    test = headline.name
    summaries = in_order(summaries, grid)
    level = f"{100 * settings.confidence:g}%"
    has_long = any(summary.spread(test + LONG) for summary in summaries)
    columns: list[tuple[str, Callable[[Summary], str]]] = [
        ("params", lambda s: count(s.parameters)),
        (headline.column, lambda s: show(s.spread(test))),
        ("BP", lambda s: f"{s.spreads[test, BEAM, BREVITY].mean:.2f}"),
        ("lp", lambda s: span(s.penalties)),
        ("greedy", lambda s: show(s.spread(test, GREEDY))),
        *([(f"{long_words}{WORDS}", lambda s: show(s.spread(test + LONG)))] * has_long),
        (COLUMNS[headline.beside], lambda s: show(s.spread(test, BEAM, headline.beside))),
        ("chrF2", lambda s: show(s.spread(test, BEAM, CHARACTERS))),
        ("passes", lambda s: f"{s.passes:.1f}"),
        ("climb", lambda s: NOTHING if s.climb is None else signed(s.climb)),
        (GAIN_COLUMN, lambda s: _difference(s, BEAM)),
        (AT_1_COLUMN, lambda s: _difference(s, BEAM_AT_1)),
        (f"{level}{INTERVAL}", _interval),
        ("p", lambda s: _p_values(s)[0]),
        (P_HOLM_COLUMN, lambda s: _p_values(s)[1]),
        *([(MARKS, marks)] * any(map(marks, summaries))),
        ("MB", lambda s: f"{s.megabytes:.1f}"),
    ]
    rows = [
        [getattr(summary, axis) for axis in axes(grid)] + [column(summary) for _, column in columns]
        for summary in summaries
    ]
    header = [*axes(grid), *(name for name, _ in columns)]
    return Table(header, rows, notes(summaries, settings, headline, long_words if has_long else 0))


def _difference(summary: Summary, search: str) -> str:
    """BLEU minus that of the plain student by a search. Empty for what has no plain student."""
    return signed(summary.gains[search].difference) if summary.gains else ""


def _interval(summary: Summary) -> str:
    if not summary.gains:
        return ""
    evidence = summary.gains[BEAM].evidence
    return f"[{signed(evidence.low)}, {signed(evidence.high)}]" if evidence else NOTHING


def _p_values(summary: Summary) -> tuple[str, str]:
    """p by itself, and corrected for the other comparisons."""
    if not summary.gains:
        return "", ""
    evidence = summary.gains[BEAM].evidence
    return (show_p(evidence.p_value), show_p(evidence.p_holm)) if evidence else (NOTHING, NOTHING)


def signature_notes(results: Sequence[Result]) -> list[str]:
    """One line a metric, as sacreBLEU signs it."""
    signatures = {score.metric: score.signature for score in results[0].scores}
    return [f"{metric}: {signature}" for metric, signature in signatures.items()]


def _aligned(table: Table) -> list[list[str]]:
    """Header and rows, each cell padded to the width of its column."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    left = [name in TEXT_COLUMNS for name in table.header]
    return [
        [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, left, strict=True)
        ]
        for line in lines
    ]


def as_text(table: Table) -> str:
    """Header and rows for a terminal, without the notes."""
    head, *rows = ("  ".join(cells).rstrip() for cells in _aligned(table))
    rule = "-" * max(map(len, (head, *rows)))
    return "\n".join([head, rule, *rows]) + "\n"


def as_markdown(table: Table, lead: str) -> str:
    """For reports/table.md: `lead` says what the table means, the notes say how to read it."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in _aligned(table))
    marks = ["---" if name in TEXT_COLUMNS else "---:" for name in table.header]
    lines = [f"- {note}" for note in table.notes]
    return "\n".join([lead, "", head, f"| {' | '.join(marks)} |", *rows, "", *lines]) + "\n"


def from_markdown(text: str) -> tuple[Table, str]:
    """The table and the lead that as_markdown wrote. Raises ValueError for other text."""
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    header, _, *body = rows
    if any(len(row) != len(header) for row in body):
        raise ValueError("a row has another number of cells than the header")
    lead = [line for line in lines if line and not line.startswith(("|", "- "))]
    return Table(header, body, [line[2:] for line in lines if line.startswith("- ")]), " ".join(lead)


def as_metrics(summaries: Sequence[Summary], grid: Grid) -> dict[str, Any]:
    """For `dvc metrics diff`: mean BLEU on the validation set, by which parameters may be chosen.

    By method and capacity, then by noise and by decoding, if the grid has several.
    """
    metrics: dict[str, Any] = {}
    for summary in summaries:
        path = [summary.method] if summary.method == TEACHER else [summary.method, summary.capacity]
        path += [summary.noise] * (len(grid.noises) > 1)
        path += [summary.decoding] * (len(grid.decodings) > 1 and summary.decoding in grid.decodings)
        level = metrics
        for name in path[:-1]:
            level = level.setdefault(name, {})
        level[path[-1]] = round(summary.bleu(VALID), 2)
    return {VALID: metrics}
