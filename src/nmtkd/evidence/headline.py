"""The test set that models are compared on: how BLEU is counted there, and what it can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nmtkd.evidence.metrics import TOKENS
from nmtkd.text.ceiling import WARN_BELOW
from nmtkd.text.yardstick import HEADLINE, TOKENISED, Yardstick

# For a verdict, where segments come in groups: with fewer the bootstrap says "difference" too often
# (bench/small_tests.py).
LEAST_GROUPS = 30


@dataclass(frozen=True)
class Headline:
    """A test set with its references, a segment an item: tokens where `metric` counts those.

    `tokeniser` is sacreBLEU's name of the one that BLEU of text is counted with.
    `groups` has the name of the text that each segment is of: segments of one text resemble each other.
    `ceiling` is the BLEU of its references against themselves, through tokeniser, BPE and back.
    """

    name: str
    references: Sequence[str]
    groups: Sequence[str]
    tokeniser: str
    min_segments: int  # with fewer there is no interval, no p and no verdict
    ceiling: float
    metric: str = HEADLINE  # evaluate.primary
    lowercase: bool = False  # models write lower-cased text: no metric is cased

    @property
    def yardstick(self) -> Yardstick:
        """How the metric is counted."""
        return Yardstick(metric=self.metric, of_text=self.tokeniser, lowercase=self.lowercase)

    @property
    def label(self) -> str:
        """The metric's name in a sentence and on an axis."""
        return self.yardstick.label

    @property
    def column(self) -> str:
        """The metric's column in a table."""
        return self.yardstick.column

    @property
    def beside(self) -> str:
        """The other BLEU, which stands beside it."""
        return HEADLINE if self.metric == TOKENISED else TOKENISED

    def hypotheses(self, search: str) -> str:
        """The file of a model's translations that the metric counts: text, or tokens beside it."""
        return f"{self.name}.{search}{TOKENS * self.yardstick.on_tokens}"

    @property
    def counted(self) -> tuple[str, bool]:
        """How sacreBLEU counts the metric: its tokeniser, and whether it ignores case."""
        return self.yardstick.tokeniser, self.yardstick.ignores_case

    @property
    def number_of_groups(self) -> int:
        """How many groups there are: as many as segments, where each is a group of its own."""
        return len(set(self.groups))

    @property
    def is_grouped(self) -> bool:
        """Whether a group has several segments."""
        return self.number_of_groups < len(self.references)

    @property
    def is_small(self) -> bool:
        """Whether it has too few segments or groups for a verdict."""
        has_few_groups = self.is_grouped and self.number_of_groups < LEAST_GROUPS
        return len(self.references) < self.min_segments or has_few_groups

    @property
    def smallness(self) -> str:
        """Why there is no verdict, and what it takes: a part of a sentence."""
        number, noun, least = len(self.references), "segment", f"{self.min_segments} (report.min_segments)"
        if number >= self.min_segments:
            number, noun, least = self.number_of_groups, "group", f"{LEAST_GROUPS}"
        return f"{number} {noun}{'s are' if number > 1 else ' is'} too few for a verdict, which takes {least}"

    @property
    def resampled(self) -> str:
        """What the bootstrap draws: a part of a sentence."""
        if not self.is_grouped:
            return f"the {len(self.references)} segments"
        sizes = Counter(self.groups)
        return (
            f"whole groups of segments ({self.number_of_groups} groups, the largest with "
            f"{max(sizes.values())} of {len(self.references)} segments)"
        )

    @property
    def limit(self) -> str:
        """A sentence on the score that no model can exceed. Empty if that is about 100."""
        if self.ceiling >= WARN_BELOW:
            return ""
        return (
            f"No model can score more than {self.ceiling:.1f} {self.label} on `{self.name}`: "
            "so much its references score against themselves, through tokeniser, BPE and back."
        )
