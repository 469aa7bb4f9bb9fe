"""Summaries of runs that differ in the seed alone: mean scores, spread, and gain over the plain student."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.metrics import HEADLINE
from nmtkd.evidence.results import BEAM, SEARCHES, TEACHER, CellKey, Result, ResultsError
from nmtkd.evidence.statistics import Comparison, Spread, over_seeds, paired_bootstrap, paired_seeds
from nmtkd.plan.schema import Grid, Report

MEGABYTE = 1e6  # bytes
ROUNDING = 0.001  # BLEU: how far a translation file and its stored score (4 decimals) may differ


@dataclass(frozen=True)
class Summary:
    """A cell of the grid over its seeds. Sizes are means, since gated students may differ in units."""

    method: str
    capacity: str
    noise: str
    decoding: str
    parameters: int
    megabytes: float
    spreads: Mapping[tuple[str, str, str], Spread]  # by split, search and metric
    gains: Mapping[str, Comparison]  # by search: headline BLEU minus that of the plain student
    models: Mapping[str, str]  # content hash by key, a model a seed: what a machine's times belong to

    def spread(self, split: str, search: str = BEAM, metric: str = HEADLINE) -> Spread | None:
        """One score over the seeds. None if it was not computed."""
        return self.spreads.get((split, search, metric))


def summarise(
    results: Sequence[Result],
    grid: Grid,
    settings: Report,
    headline: Headline,
    hypotheses: Callable[[str, str], Sequence[str]],
) -> list[Summary]:
    """Summaries in the order of `results`. `hypotheses(key, search)` translates `headline`.

    With several seeds a gain is the mean of the differences paired by seed, with its t-interval.
    With one seed it comes from the paired bootstrap.
    If `headline` is too small for a verdict, scores and gains have no interval.
    Raises ResultsError if a model's translations do not give its stored scores.
    """
    cells: dict[CellKey, list[Result]] = {}
    for result in results:
        cells.setdefault(result.cell, []).append(result)
    plain = baselines(grid, results)
    summaries = []
    for cell, members in cells.items():
        baseline = [plain[result.key] for result in members if result.key in plain]
        gains = _gains(members, baseline, settings, headline, hypotheses) if baseline else {}
        names = [(score.split, score.search, score.metric) for score in members[0].scores]
        spreads = {
            name: over_seeds([_value(result, *name) for result in members], settings.confidence)
            for name in names
        }
        if headline.is_small:
            gains = {search: Comparison(gain.difference, None) for search, gain in gains.items()}
            spreads = {name: replace(spread, low=None, high=None) for name, spread in spreads.items()}
        parameters = round(math.fsum(result.parameters for result in members) / len(members))
        megabytes = math.fsum(result.model_bytes for result in members) / len(members) / MEGABYTE
        models = {result.key: result.model for result in members}
        summaries.append(Summary(*cell, parameters, megabytes, spreads, gains, models))
    return summaries


def _gains(
    members: Sequence[Result],
    baseline: Sequence[Result],
    settings: Report,
    headline: Headline,
    hypotheses: Callable[[str, str], Sequence[str]],
) -> dict[str, Comparison]:
    """By search: the runs of a cell beside the plain students that match them, seed by seed."""
    gains = {}
    for search in SEARCHES:
        ours = [_value(result, headline.name, search) for result in members]
        theirs = [_value(result, headline.name, search) for result in baseline]
        if len(members) > 1:
            gains[search] = paired_seeds(ours, theirs, settings.confidence)
        else:
            keys = members[0].key, baseline[0].key
            texts = [hypotheses(key, search) for key in keys]
            where = f"{keys[0]} or {keys[1]}: {search}"
            gains[search] = _bootstrap(texts, headline, settings, ours[0] - theirs[0], where)
    return gains


def baselines(grid: Grid, results: Sequence[Result]) -> dict[str, Result]:
    """For each student, by key, the plain student of the same capacity, noise and seed.

    Empty if the grid has no plain method. Of several methods in the family `plain` the first is the baseline.
    """
    if not grid.methods.plain:
        return {}
    baseline = grid.methods.plain[0]
    plain = {(r.capacity, r.noise, r.seed): r for r in results if r.method == baseline}
    students = [result for result in results if result.role != TEACHER and result.method != baseline]
    return {result.key: plain[result.capacity, result.noise, result.seed] for result in students}


def _value(result: Result, split: str, search: str, metric: str = HEADLINE) -> float:
    value = result.score(split, search, metric)
    assert value is not None, "results.read checks that all results hold the same scores"
    return value


def _bootstrap(
    texts: Sequence[Sequence[str]], headline: Headline, settings: Report, stored: float, where: str
) -> Comparison:
    """Compares a system and its baseline by their texts. `stored` is the difference of the stored scores."""
    comparison = paired_bootstrap(
        texts[0],
        texts[1],
        headline.references,
        tokeniser=headline.tokeniser,
        samples=settings.bootstrap_samples,
        seed=settings.bootstrap_seed,
        confidence=settings.confidence,
    )
    if abs(comparison.difference - stored) > ROUNDING:
        raise ResultsError(
            f"{where}: the translations differ by {comparison.difference:.4f} BLEU, "
            f"the stored scores by {stored:.4f}; "
            "they are not of one evaluation: evaluate these cells again"
        )
    return comparison
