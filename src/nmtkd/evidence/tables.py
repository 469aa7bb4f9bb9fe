"""The table of a report: one row a cell of the grid over its seeds, beside the matching plain student; for the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nmtkd import grid as cells
from nmtkd.evidence.metrics import CHARACTERS, DEFINITIONS, HEADLINE, TOKENISED
from nmtkd.evidence.numbers import count, show, signed
from nmtkd.evidence.results import LONG, SEARCHES, TEACHER, Result, ResultsError
from nmtkd.evidence.statistics import Comparison, Spread, over_seeds, paired_bootstrap, paired_seeds
from nmtkd.params import Grid, Report

TEXT_COLUMNS = ("method", "capacity", "noise", "decoding")  # left-aligned; all others hold numbers
MEGABYTE = 1e6  # bytes
SMALL_P = 0.001  # below it a p-value is printed as such: more digits promise what a resampling cannot keep
AGREE = 0.001  # BLEU: a translation file and its stored score (4 decimals) may differ by rounding only


@dataclass(frozen=True)
class Summary:
    """A cell over its seeds. `spreads` is by (split, search, metric), `gains` (headline BLEU over plain) and `rates` by search."""

    method: str
    capacity: str
    noise: str
    decoding: str
    parameters: int
    megabytes: float
    spreads: Mapping[tuple[str, str, str], Spread]
    gains: Mapping[str, Comparison]
    rates: Mapping[str, float]

    def spread(self, split: str, search: str = SEARCHES[0], metric: str = HEADLINE) -> Spread | None:
        """One score over the seeds, None where it was not computed."""
        return self.spreads.get((split, search, metric))


@dataclass(frozen=True)
class Table:
    """Cells as text, and the notes that explain them."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def summarise(
    results: Sequence[Result],
    grid: Grid,
    settings: Report,
    headline: str,
    *,
    hypotheses: Callable[[str, str], Sequence[str]],
    references: Sequence[str],
) -> list[Summary]:
    """Summaries in the order of `results`. `hypotheses(key, search)` are a model's translations of `headline`.

    Gains: with several seeds the mean of the differences paired by seed and its t-interval, with one the paired bootstrap.
    Raises ResultsError where translations and stored scores do not belong together.
    """
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for one in results:
        groups.setdefault((one.method, one.capacity, one.noise, one.decoding), []).append(one)
    plain = baselines(grid, results)
    summaries = []
    for (method, capacity, noise, decoding), members in groups.items():
        gains = {}
        if members[0].key in plain:
            for search in SEARCHES:
                ours = [_value(one, headline, search) for one in members]
                theirs = [_value(plain[one.key], headline, search) for one in members]
                if len(members) > 1:
                    gains[search] = paired_seeds(ours, theirs, settings.confidence)
                else:
                    keys = members[0].key, plain[members[0].key].key
                    texts = [hypotheses(key, search) for key in keys]
                    gains[search] = _bootstrap(texts, references, settings, ours[0] - theirs[0], f"{keys[0]} or {keys[1]}: {search}")
        wanted = [(score.split, score.search, score.metric) for score in members[0].scores]
        spreads = {name: over_seeds([_value(one, *name) for one in members], settings.confidence) for name in wanted}
        rates = {speed.search: math.fsum(one.rate(speed.search) or 0.0 for one in members) / len(members) for speed in members[0].speed}
        # Of gated students each seed keeps its own number of units: sizes are means.
        parameters = round(math.fsum(one.parameters for one in members) / len(members))
        megabytes = math.fsum(one.model_bytes for one in members) / len(members) / MEGABYTE
        summaries.append(Summary(method, capacity, noise, decoding, parameters, megabytes, spreads, gains, rates))
    return summaries


def baselines(grid: Grid, results: Sequence[Result]) -> dict[str, Result]:
    """For each student the plain student of the same capacity, noise and seed, by key; none where the grid has no plain method.

    With several methods in the family `plain`, the first one is the baseline.
    """
    if not grid.methods.plain:
        return {}
    plain = {(one.capacity, one.noise, one.seed): one for one in results if one.method == grid.methods.plain[0]}
    students = [one for one in results if one.role != TEACHER and one.method != grid.methods.plain[0]]
    return {one.key: plain[one.capacity, one.noise, one.seed] for one in students}


def _value(result: Result, split: str, search: str, metric: str = HEADLINE) -> float:
    value = result.score(split, search, metric)
    assert value is not None, "results.read checks that cells hold the same scores"
    return value


def _bootstrap(texts: Sequence[Sequence[str]], references: Sequence[str], settings: Report, stored: float, place: str) -> Comparison:
    """Of a system's and its baseline's `texts`; `stored` is the difference of their stored scores."""
    samples, seed = settings.bootstrap_samples, settings.bootstrap_seed
    found = paired_bootstrap(texts[0], texts[1], references, samples=samples, seed=seed, confidence=settings.confidence)
    if abs(found.difference - stored) > AGREE:
        raise ResultsError(
            f"{place}: the translations differ by {found.difference:.4f} BLEU, the stored scores by {stored:.4f}; "
            "they are not of one evaluation: evaluate these cells again"
        )
    return found


def build(summaries: Sequence[Summary], grid: Grid, settings: Report, headline: str, long_words: int) -> Table:
    """The table: teachers first, then noise by noise and capacity by capacity, so that methods stand side by side."""
    axes = ["method", "capacity"] + ["noise"] * (len(grid.noises) > 1) + ["decoding"] * (len(grid.decodings) > 1)
    rows = [*(one for one in summaries if one.method == TEACHER), *sorted(
        (one for one in summaries if one.method != TEACHER),
        key=lambda one: (grid.noises.index(one.noise), grid.capacities.index(one.capacity)),
    )]  # fmt: skip
    level = f"{100 * settings.confidence:g}%"
    beam, greedy = SEARCHES
    has_long = any(one.spread(headline + LONG) for one in rows)
    numbers: list[tuple[str, Callable[[Summary], str]]] = [
        ("params", lambda one: count(one.parameters)),
        ("BLEU", lambda one: show(one.spread(headline))),
        ("greedy", lambda one: show(one.spread(headline, greedy))),
        *([(f"{long_words}+ words", lambda one: show(one.spread(headline + LONG)))] * has_long),
        ("tok-lc", lambda one: show(one.spread(headline, beam, TOKENISED))),
        ("chrF2", lambda one: show(one.spread(headline, beam, CHARACTERS))),
    ]
    gains: list[tuple[str, Callable[[Comparison], str]]] = [
        ("vs plain", lambda gain: signed(gain.difference)),
        (f"{level} interval", lambda gain: f"[{signed(gain.low)}, {signed(gain.high)}]"),
        ("p", lambda gain: f"<{SMALL_P}" if gain.p_value < SMALL_P else f"{gain.p_value:.3f}"),
    ]
    costs: list[tuple[str, Callable[[Summary], str]]] = [
        ("MB", lambda one: f"{one.megabytes:.1f}"),
        ("sent/s", lambda one: f"{one.rates[beam]:.0f}" if beam in one.rates else ""),
    ]
    body = [
        [getattr(one, axis) for axis in axes]
        + [tell(one) for _, tell in numbers]
        + [tell(one.gains[beam]) if beam in one.gains else "" for _, tell in gains]
        + [tell(one) for _, tell in costs]
        for one in rows
    ]
    header = axes + [name for name, _ in (*numbers, *gains, *costs)]
    return Table(header, body, notes(rows, settings, headline, long_words if has_long else 0))


def notes(summaries: Sequence[Summary], settings: Report, headline: str, long_words: int) -> list[str]:
    """What the columns mean and what the intervals can bear."""
    seeds = max(spread.n for one in summaries for spread in one.spreads.values())
    comparisons = sum(SEARCHES[0] in one.gains for one in summaries)
    lines = [
        f"BLEU: {DEFINITIONS[HEADLINE]}; test set `{headline}`, beam search. greedy: the same by greedy search.",
        f"tok-lc: {DEFINITIONS[TOKENISED]}.",
        f"chrF2: {DEFINITIONS[CHARACTERS].removeprefix('chrF2, ')}.",
        "MB: the model's file. sent/s: sentences a second by beam search; a number of the machine, to be compared within this table.",
    ]
    if long_words:
        lines.insert(1, f"{long_words}+ words: BLEU of the segments of {long_words} source words and more.")
    if seeds > 1:
        lines.append(f"±: standard deviation over {seeds} seeds; scores are means.")
    if comparisons:
        if seeds > 1:
            how = f"mean of {seeds} differences paired by seed, Student's t-interval and two-sided p"
        else:
            how = f"interval and two-sided p by paired bootstrap over segments, {settings.bootstrap_samples} samples"
        alone = f" Each stands for itself: not corrected for there being {comparisons}." if comparisons > 1 else ""
        lines.append(f"vs plain: BLEU minus that of the plain student of the same capacity, noise and seed; {how}.{alone}")
    if seeds == 1:
        lines.append("Caution, one seed a cell: intervals cover the choice of test sentences, not how far a second training would land.")
    return lines


def signature_notes(results: Sequence[Result]) -> list[str]:
    """One line a metric, as sacreBLEU signs it."""
    return [f"{metric}: {signature}" for metric, signature in {score.metric: score.signature for score in results[0].scores}.items()]


def _aligned(table: Table) -> list[list[str]]:
    widths = [max(len(row[i]) for row in (table.header, *table.rows)) for i in range(len(table.header))]
    left = [name in TEXT_COLUMNS for name in table.header]
    return [
        [cell.ljust(width) if is_left else cell.rjust(width) for cell, width, is_left in zip(row, widths, left, strict=True)]
        for row in (table.header, *table.rows)
    ]


def as_text(table: Table) -> str:
    """For the terminal."""
    head, *rows = ("  ".join(cells).rstrip() for cells in _aligned(table))
    rule = "-" * max(map(len, (head, *rows)))
    return "\n".join([head, rule, *rows, "", *table.notes]) + "\n"


def as_markdown(table: Table) -> str:
    """The same content for reports/table.md."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in _aligned(table))
    marks = ["---" if name in TEXT_COLUMNS else "---:" for name in table.header]
    lines = [f"- {note}" for note in table.notes]
    return "\n".join([head, f"| {' | '.join(marks)} |", *rows, "", *lines]) + "\n"


def as_metrics(summaries: Sequence[Summary], grid: Grid, headline: str) -> dict[str, Any]:
    """For `dvc metrics diff`: mean headline BLEU by method and capacity, then by noise and decoding where the grid has several."""
    found: dict[str, Any] = {}
    for one in summaries:
        path = [one.method] if one.method == TEACHER else [one.method, one.capacity]
        path += [one.noise] * (len(grid.noises) > 1)
        path += [one.decoding] * (len(grid.decodings) > 1 and one.decoding in grid.decodings)
        level = found
        for name in path[:-1]:
            level = level.setdefault(name, {})
        level[path[-1]] = round(one.spreads[headline, SEARCHES[0], HEADLINE].mean, 2)
    return found


def methods(grid: Grid) -> list[str]:
    """The grid's methods in the order of its families, the plain one first."""
    return list(dict.fromkeys(run.method for run in cells.runs(grid)))
