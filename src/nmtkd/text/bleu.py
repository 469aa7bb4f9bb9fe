"""BLEU of text, and the share that length has in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sacrebleu.metrics.bleu import BLEU

DECIMALS = 4  # of stored numbers: finer than any difference that means something


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What sacreBLEU says of translations as one text."""

    bleu: float  # percent
    brevity_penalty: float  # 0 to 1: the factor of BLEU that a text shorter than its reference costs
    length_ratio: float  # words of the translations over those of the references, as BLEU counts words

    def rounded(self) -> dict[str, float]:
        """The same, by name, as it is stored."""
        return {name: round(value, DECIMALS) for name, value in asdict(self).items()}


def measure(
    translations: Sequence[str], references: Sequence[str], tokeniser: str, *, lowercase: bool = False
) -> Quality:
    """Scores of text, one segment an item, cased if not `lowercase`. `tokeniser` is one of sacreBLEU's."""
    # force: an early model may say what sacreBLEU takes for tokens, and would warn of.
    metric = BLEU(tokenize=tokeniser, lowercase=lowercase, force=True)
    score = metric.corpus_score(translations, [references])
    return Quality(bleu=float(score.score), brevity_penalty=float(score.bp), length_ratio=float(score.ratio))


def brevity_penalty(length: int, reference: int) -> float:
    """BLEU's factor (0 to 1) for a text of `length` words beside a reference of so many."""
    if length >= reference:
        return 1.0
    return math.exp(1.0 - reference / length) if length else 0.0
