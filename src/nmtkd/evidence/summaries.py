"""Summaries of runs that differ in the seed alone: mean scores, spread, and how they compare with others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nmtkd.evidence.comparisons import Comparer, Hypotheses
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import BEAM, BEAM_AT_1, SEARCHES, TEACHER, VALID, CellKey, Result
from nmtkd.evidence.statistics import Comparison, Spread, judged, over_seeds
from nmtkd.plan.schema import Grid, Report
from nmtkd.text.yardstick import HEADLINE

MEGABYTE = 1e6  # bytes


@dataclass(frozen=True, kw_only=True)
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
    rivals: Mapping[CellKey, Comparison]  # if it leads a setting: its BLEU by BEAM minus that of the others
    models: Mapping[str, str]  # content hash by key, a model a seed: what a machine's times belong to
    penalties: Sequence[float]  # length penalties of the search BEAM, a seed each
    precision: str  # of products in training
    compute: str  # of products in translation
    passes: float  # over the training set, mean
    climb: float | None  # BLEU that the curves still gain, mean (curves.climb); None if it was not measured
    climbs: bool  # whether that is more than report.max_climb
    is_uneven: bool  # whether a run saw another number of sentences, or trainings, than its plain student
    metric: str = HEADLINE  # evaluate.primary

    @property
    def cell(self) -> CellKey:
        """What its runs share."""
        return self.method, self.capacity, self.noise, self.decoding

    @property
    def hangs_on_length(self) -> bool:
        """Whether the verdict at length penalty 1 is another one."""
        return bool(self.gains) and self.gains[BEAM].verdict != self.gains[BEAM_AT_1].verdict

    def spread(self, split: str, search: str = BEAM, metric: str = "") -> Spread | None:
        """One score over the seeds, the primary one if none is named. None if it was not computed."""
        return self.spreads.get((split, search, metric or self.metric))

    def bleu(self, split: str) -> float:
        """Mean of the primary BLEU, by beam search."""
        return self.spreads[split, BEAM, self.metric].mean


def summarise(
    results: Sequence[Result],
    grid: Grid,
    settings: Report,
    headline: Headline,
    hypotheses: Hypotheses,
    climbs: Mapping[str, float | None],
) -> list[Summary]:
    """Summaries in the order of `results`. `hypotheses(key, search)` translates `headline`.

    `climbs` has by key what a run's learning curve still gains (curves.climb).
    Gains are judged among those by the same search, leaders and their rivals among each other.
    If `headline` is too small for a verdict, scores and gains have no interval.
    Raises ResultsError if a model's translations do not give its stored scores.
    """
    cells: dict[CellKey, list[Result]] = {}
    for result in results:
        cells.setdefault(result.cell, []).append(result)
    plain = baselines(grid, results)
    comparer = Comparer(results, headline, settings, hypotheses)
    gains = _gains(cells, plain, comparer)
    rivals = _rivals([cell for cell in cells if cell in gains[BEAM]], cells, comparer)
    summaries = []
    for cell, members in cells.items():
        steep = [climbs[result.key] for result in members]
        climb = _mean([value for value in steep if value is not None]) if None not in steep else None
        summaries.append(
            Summary(
                **dict(zip(("method", "capacity", "noise", "decoding"), cell, strict=True)),
                parameters=round(_mean([result.parameters for result in members])),
                megabytes=_mean([result.model_bytes for result in members]) / MEGABYTE,
                spreads=_spreads(members, settings, headline),
                gains={search: gains[search][cell] for search in SEARCHES if cell in gains[search]},
                rivals={other: found for (leader, other), found in rivals.items() if leader == cell},
                models={result.key: result.model for result in members},
                penalties=[result.length_penalty for result in members],
                precision=members[0].precision,
                compute=members[0].compute,
                passes=_mean([result.data.passes for result in members]),
                climb=climb,
                climbs=climb is not None and climb > settings.max_climb,
                is_uneven=any(_share(one) != _share(plain.get(one.key, one)) for one in members),
                metric=headline.metric,
            )
        )
    return summaries


def _share(result: Result) -> tuple[int, int]:
    """What must be the same of two runs for a comparison of equal data."""
    return result.data.sentences, result.data.trainings


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spreads(
    members: Sequence[Result], settings: Report, headline: Headline
) -> dict[tuple[str, str, str], Spread]:
    """Every score over the seeds, without intervals if the test set is small."""
    spreads = {}
    for score in members[0].scores:
        name = score.split, score.search, score.metric
        spread = over_seeds([_value(result, *name) for result in members], settings.confidence)
        spreads[name] = replace(spread, low=None, high=None) if headline.is_small else spread
    return spreads


def _gains(
    cells: Mapping[CellKey, Sequence[Result]], plain: Mapping[str, Result], comparer: Comparer
) -> dict[str, dict[CellKey, Comparison]]:
    """By search and cell: the runs of a cell beside the plain students that match them, seed by seed."""
    compared = {cell: members for cell, members in cells.items() if members[0].key in plain}
    gains = {}
    for search in SEARCHES:
        found = {
            cell: comparer.compare(members, [plain[result.key] for result in members], search)
            for cell, members in compared.items()
        }
        gains[search] = judged(found, comparer.settings.confidence)
    return gains


def _rivals(
    students: Sequence[CellKey], cells: Mapping[CellKey, Sequence[Result]], comparer: Comparer
) -> dict[tuple[CellKey, CellKey], Comparison]:
    """The leader of each setting (capacity and noise) beside the others there, by (leader, other).

    It leads by validation BLEU: if the test set chose it, its lead there would be chance in part.
    """
    settings: dict[tuple[str, str], list[CellKey]] = {}
    metric = comparer.headline.metric
    for cell in students:
        _, capacity, noise, _ = cell
        settings.setdefault((capacity, noise), []).append(cell)
    found = {}
    for members in settings.values():
        leader = max(
            members, key=lambda cell: _mean([_value(run, VALID, BEAM, metric) for run in cells[cell]])
        )
        for other in members:
            if other != leader:
                found[leader, other] = comparer.compare(cells[leader], cells[other], BEAM)
    return judged(found, comparer.settings.confidence)


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


def _value(result: Result, split: str, search: str, metric: str) -> float:
    value = result.score(split, search, metric)
    assert value is not None, "results.read checks that all results hold the same scores"
    return value
