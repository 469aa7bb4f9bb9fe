"""The table of a report: a row for each method, capacity, noise and decoding, over all seeds.

Each student stands beside the plain student that matches it. The table is written as Markdown and as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.machine_facts import NOTHING
from nmtkd.evidence.metrics import CHARACTERS, HEADLINE, TOKENISED, definitions
from nmtkd.evidence.numbers import count, show, signed
from nmtkd.evidence.results import BEAM, GREEDY, LONG, TEACHER, Result
from nmtkd.evidence.statistics import Evidence
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.schema import Grid, Report

TEXT_COLUMNS = ("method", "capacity", "noise", "decoding")  # left-aligned; all others hold numbers
GAIN_COLUMN, INTERVAL = "vs plain", " interval"  # the latter after its confidence
COUNTED = " (tokens, or single characters where a script has no spaces)"
SMALLEST_P = 0.001  # a smaller p is printed as "<0.001": a thousand resamples cannot bear more digits


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
    scores: list[tuple[str, Callable[[Summary], str]]] = [
        ("params", lambda s: count(s.parameters)),
        ("BLEU", lambda s: show(s.spread(test))),
        ("greedy", lambda s: show(s.spread(test, GREEDY))),
        *([(f"{long_words}+ words", lambda s: show(s.spread(test + LONG)))] * has_long),
        ("tok-lc", lambda s: show(s.spread(test, BEAM, TOKENISED))),
        ("chrF2", lambda s: show(s.spread(test, BEAM, CHARACTERS))),
    ]
    rows = [
        [getattr(summary, axis) for axis in axes(grid)]
        + [score(summary) for _, score in scores]
        + _gain(summary)
        + [f"{summary.megabytes:.1f}"]
        for summary in summaries
    ]
    header = [*axes(grid), *(name for name, _ in scores), GAIN_COLUMN, f"{level}{INTERVAL}", "p", "MB"]
    return Table(header, rows, notes(summaries, settings, headline, long_words if has_long else 0))


def _gain(summary: Summary) -> list[str]:
    """The difference to the plain student, its interval and its p. Empty for what has no plain student."""
    gain = summary.gains.get(BEAM)
    if gain is None:
        return ["", "", ""]
    return [signed(gain.difference), *(_evidence(gain.evidence) if gain.evidence else (NOTHING, NOTHING))]


def _evidence(evidence: Evidence) -> tuple[str, str]:
    p_value = f"{evidence.p_value:.3f}" if evidence.p_value >= SMALLEST_P else f"<{SMALLEST_P}"
    return f"[{signed(evidence.low)}, {signed(evidence.high)}]", p_value


def notes(summaries: Sequence[Summary], settings: Report, headline: Headline, long_words: int) -> list[str]:
    """What the columns mean, and how far the intervals carry."""
    defined = definitions(headline.tokeniser)
    seeds = max(spread.n for summary in summaries for spread in summary.spreads.values())
    lines = [
        f"BLEU: {defined[HEADLINE]}; test set `{headline.name}`, beam search. "
        "greedy: the same by greedy search.",
        f"tok-lc: {defined[TOKENISED]}.",
        f"chrF2: {defined[CHARACTERS].removeprefix('chrF2, ')}.",
        "MB: the model's file.",
    ]
    if long_words:
        words = f"{long_words}+ words: BLEU of the segments of {long_words} source words and more{COUNTED}."
        lines.insert(1, words)
    if seeds > 1:
        lines.append(f"±: standard deviation over {seeds} seeds; scores are means.")
    comparisons = sum(BEAM in summary.gains for summary in summaries)
    if comparisons:
        lines.append(
            f"{GAIN_COLUMN}: BLEU minus that of the plain student of the same capacity, noise and seed; "
            f"{_method(seeds, comparisons, settings, headline)}."
        )
    if seeds == 1:
        with_intervals = comparisons and not headline.is_small
        told = "intervals cover the choice of test sentences, not" if with_intervals else "no score tells"
        lines.append(f"Caution, one seed a cell: {told} how far a second training would land.")
    return lines + [headline.limit] * bool(headline.limit)


def _method(seeds: int, comparisons: int, settings: Report, headline: Headline) -> str:
    """How intervals and p are found, or why there are none."""
    mean = f"mean of {seeds} differences paired by seed, " if seeds > 1 else ""
    if headline.is_small:
        return f"{mean}no interval and no p: {headline.smallness}"
    uncorrected = f". p is not corrected for there being {comparisons} comparisons" * (comparisons > 1)
    if seeds > 1:
        return f"{mean}Student's t-interval and two-sided p{uncorrected}"
    samples = f"{settings.bootstrap_samples} samples"
    return f"interval and two-sided p by paired bootstrap over segments, {samples}{uncorrected}"


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


def as_metrics(summaries: Sequence[Summary], grid: Grid, test: str) -> dict[str, Any]:
    """For `dvc metrics diff`: mean BLEU on a test set by method and capacity.

    Then by noise and by decoding, if the grid has several.
    """
    metrics: dict[str, Any] = {}
    for summary in summaries:
        path = [summary.method] if summary.method == TEACHER else [summary.method, summary.capacity]
        path += [summary.noise] * (len(grid.noises) > 1)
        path += [summary.decoding] * (len(grid.decodings) > 1 and summary.decoding in grid.decodings)
        level = metrics
        for name in path[:-1]:
            level = level.setdefault(name, {})
        level[path[-1]] = round(summary.spreads[test, BEAM, HEADLINE].mean, 2)
    return metrics
