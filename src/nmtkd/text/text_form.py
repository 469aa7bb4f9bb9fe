"""How the BPE of a corpus becomes text again, and how long its lines are: data/bpe/text.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nmtkd import files
from nmtkd.plan.layout import TEXT
from nmtkd.text import words
from nmtkd.text.tokenisers import KINDS, tokeniser


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """Facts of the corpus that the stage `bpe` found."""

    target: str  # language of the target, by the corpus's code
    tokeniser: str  # a kind of text/tokenisers.py
    longest: int  # BPE tokens, EOS included, of the longest line to translate: of valid and all test sets

    def with_lines(self, *sides: Sequence[str]) -> TextForm:
        """The same for a corpus that has these lines of BPE too."""
        lengths = (len(line.split()) + 1 for side in sides for line in side)
        return replace(self, longest=max(self.longest, max(lengths, default=0)))

    def text(self, pieces: str) -> str:
        """Text of the target from its BPE pieces. Placeholders stay numbered."""
        return tokeniser(self.tokeniser, self.target).detokenise(words.join(pieces))


def read(folder: Path) -> TextForm:
    """The form of the text whose BPE is in `folder`. Raises files.DamagedError if there is none."""
    form = files.read_as(folder / TEXT, TextForm)
    if form.tokeniser not in KINDS or form.longest < 1:
        raise files.damaged(
            folder / TEXT,
            f"tokeniser and longest must be one of {', '.join(KINDS)} and a number above 0, "
            f"are {form.tokeniser!r} and {form.longest}",
        )
    return form
