"""The score that a corpus is judged by (evaluate.primary): what it counts, how, and its name.

Whatever decides by a score asks here, so that all decisions of a corpus go by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nmtkd.plan.schema import Params
from nmtkd.text.bleu import Quality, measure
from nmtkd.text.languages import bleu_tokeniser

# evaluate.primary is one of these two: the metric that models are compared by.
HEADLINE = "bleu"
TOKENISED = "bleu_tok_lc"
COLUMNS = {HEADLINE: "BLEU", TOKENISED: "tok-lc"}  # of tables
LABELS = {HEADLINE: "BLEU", TOKENISED: "tok-lc BLEU"}  # in sentences and on axes

# sacreBLEU's tokenisers that leave words between spaces whole. All others are a script's or language's own.
SPACED = ("13a", "intl")
READ = ("evaluate.primary", "evaluate.tokenize", "prepare.lowercase")  # the params that make one
UNTOUCHED = "none"  # sacreBLEU's name of no tokeniser: units between spaces are the tokens


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """One of the two BLEUs of a corpus."""

    metric: str  # HEADLINE or TOKENISED
    of_text: str  # sacreBLEU's tokeniser of the target text
    lowercase: bool = False  # models write lower-cased text: no metric is cased

    @property
    def on_tokens(self) -> bool:
        """Whether it counts the corpus's own tokens, not text."""
        return self.metric == TOKENISED and self.of_text in SPACED

    @property
    def tokeniser(self) -> str:
        """The tokeniser by which sacreBLEU counts it."""
        return UNTOUCHED if self.on_tokens else self.of_text

    @property
    def ignores_case(self) -> bool:
        """Whether it is counted on lower-cased units."""
        return self.metric == TOKENISED or self.lowercase

    @property
    def label(self) -> str:
        """Its name in a sentence and on an axis."""
        return LABELS[self.metric]

    @property
    def column(self) -> str:
        """Its name over a column of a table."""
        return COLUMNS[self.metric]

    def measure(self, translations: Sequence[str], references: Sequence[str]) -> Quality:
        """Scores of translations, a segment an item: tokens between spaces if `on_tokens`, or text."""
        return measure(translations, references, self.tokeniser, lowercase=self.ignores_case)


def primary(settings: Params, target: str) -> Yardstick:
    """What models into the language `target` are judged by. `settings` has the params of READ."""
    return Yardstick(
        metric=settings.evaluate.primary,
        of_text=bleu_tokeniser(target, settings.evaluate.tokenize),
        lowercase=settings.prepare.lowercase,
    )
