"""Cells beside each other on the headline test set: their translations are counted, checked and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nmtkd.evidence.bootstrap import Array, bleu, bootstrap, by_group, sentence_statistics
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import SEARCHES, STUDENT, CellKey, Result, ResultsError
from nmtkd.evidence.statistics import Comparison, Luck, pooled_luck
from nmtkd.plan.schema import Report

ROUNDING = 0.001  # BLEU: how far a translation file and its stored score (4 decimals) may differ

Hypotheses = Callable[[str, str], Sequence[str]]  # of the headline test set, by key and search


class Comparer:
    """Compares the runs of cells by BLEU. Every run's translations are read, counted and checked at once.

    Raises ResultsError for translations that are not those of the test set, or not those that were scored.
    """

    def __init__(
        self, results: Sequence[Result], headline: Headline, settings: Report, hypotheses: Hypotheses
    ) -> None:
        self.headline, self.settings = headline, settings
        self._counted = {
            (result.key, search): self._count(result, search, hypotheses(result.key, search))
            for result in results
            for search in SEARCHES
        }
        self._luck = {search: self._pooled(results, search) for search in SEARCHES}

    def compare(self, ours: Sequence[Result], theirs: Sequence[Result], search: str) -> Comparison:
        """BLEU of `ours` minus that of `theirs`, runs paired by their places: a run a seed on each side.

        Without evidence if the test set is too small to give any.
        """
        sides = [np.stack([self._counted[run.key, search] for run in side]) for side in (ours, theirs)]
        if self.headline.is_small:
            return Comparison(float((bleu(sides[0].sum(-2)) - bleu(sides[1].sum(-2))).mean()), None)
        return bootstrap(
            sides[0],
            sides[1],
            self._luck[search],
            samples=self.settings.bootstrap_samples,
            seed=self.settings.bootstrap_seed,
            confidence=self.settings.confidence,
        )

    def _pooled(self, results: Sequence[Result], search: str) -> Luck | None:
        """The luck of the students' trainings."""
        cells: dict[CellKey, list[float]] = {}
        for result in results:
            if result.role == STUDENT:
                score = float(bleu(self._counted[result.key, search].sum(0)))
                cells.setdefault(result.cell, []).append(score)
        return pooled_luck(list(cells.values()))

    def _count(self, result: Result, search: str, text: Sequence[str]) -> Array:
        """A run's statistics by group."""
        headline = self.headline
        if len(text) != len(headline.references):
            raise ResultsError(
                f"{result.key}: {search}: {len(text)} translations of {headline.name}, which has "
                f"{len(headline.references)} segments; evaluate this cell again"
            )
        tokeniser, lowercase = headline.counted
        statistics = sentence_statistics(text, headline.references, tokeniser, lowercase=lowercase)
        counted = by_group(statistics, headline.groups)
        found, stored = float(bleu(counted.sum(0))), result.score(headline.name, search, headline.metric)
        if stored is None or abs(found - stored) > ROUNDING:
            raise ResultsError(
                f"{result.key}: {search}: the translations score {found:.4f} {headline.label} on "
                f"{headline.name}, stored is {stored}; they are not of one evaluation: "
                "evaluate this cell again"
            )
        return counted
