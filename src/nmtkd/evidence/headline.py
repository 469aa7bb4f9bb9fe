"""The test set that models are compared on: how BLEU is counted there, and what it can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nmtkd.text.ceiling import WARN_BELOW


@dataclass(frozen=True)
class Headline:
    """A test set with its references, a segment an item.

    `tokeniser` is sacreBLEU's name of the one that BLEU is counted with.
    `ceiling` is the BLEU of its references against themselves, through tokeniser, BPE and back.
    """

    name: str
    references: Sequence[str]
    tokeniser: str
    min_segments: int  # with fewer there is no interval, no p and no verdict
    ceiling: float

    @property
    def is_small(self) -> bool:
        """Whether it has too few segments for a verdict."""
        return len(self.references) < self.min_segments

    @property
    def smallness(self) -> str:
        """Why there is no verdict, and what it takes: a part of a sentence."""
        number = len(self.references)
        return (
            f"{number} segment{'s are' if number > 1 else ' is'} too few for a verdict, "
            f"which takes {self.min_segments} (report.min_segments)"
        )

    @property
    def limit(self) -> str:
        """A sentence on the score that no model can exceed. Empty if that is about 100."""
        if self.ceiling >= WARN_BELOW:
            return ""
        return (
            f"No model can score more than {self.ceiling:.1f} BLEU on `{self.name}`: "
            "so much its references score against themselves, through tokeniser, BPE and back."
        )
