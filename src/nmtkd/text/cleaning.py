"""Cleans train: tokenises raw pairs and drops those whose lengths show that they are no translations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import words
from nmtkd.text.parallel import block_of, blocks, lines_of
from nmtkd.text.splitting import NearDuplicates, Pair

# Why a pair is dropped here.
EMPTY, LONG, UNEVEN = REASONS = ("empty after tokenising", "longer than max_words", "sides too uneven")

# Lines of both sides as they lie in the files, and a mask that says which of them are train.
RawBlock = tuple[bytes, bytes, NDArray[np.bool_]]


@dataclass(frozen=True)
class Train:
    """Two files of raw pairs, and a mask [N] of the pairs that are train."""

    source: Path
    target: Path
    mask_N: NDArray[np.bool_]


def raw_blocks(train: Train, size: int) -> Iterator[RawBlock]:
    """The pairs for a Cleaner, from `size` lines at a time. Blocks without a pair of train are left out."""
    for number, sides in enumerate(zip(blocks(train.source, size), blocks(train.target, size), strict=True)):
        mask = train.mask_N[number * size : (number + 1) * size]
        if mask.any():
            yield *sides, mask


@dataclass(frozen=True)
class Cleaned:
    """Clean pairs of train as blocks of files, with their counts.

    `dropped` counts pairs by reason. `near` holds the indices of the tests that one of the pairs resembles.
    """

    source: bytes
    target: bytes
    sizes: dict[str, int]
    dropped: Counter[str]
    near: set[int]


class Cleaner:
    """Makes train of raw lines: normalises, numbers placeholders, tokenises, drops pairs by their lengths.

    Lengths are counted in Moses tokens. `tests` are the normalised sources of test pairs, to find
    near-duplicates of.
    """

    def __init__(self, corpus: Corpus, settings: Prepare, tests: Sequence[str]) -> None:
        self._languages, self._settings = (corpus.source, corpus.target), settings
        self._tests = NearDuplicates(tests, settings.near_duplicate)
        self._near = set[int]()  # tests that an earlier block resembled: they need no second look

    def __call__(self, block: RawBlock) -> Cleaned:
        """The clean pairs of a block."""
        dropped, pairs, near = Counter[str](), list[Pair](), set[int]()
        for *raw, is_train in zip(*map(lines_of, block[:2]), block[2], strict=True):
            if not is_train:
                continue
            pair = words.normalise(raw[0]), words.normalise(raw[1])
            masked = mask_placeholders(pair)[0]
            tokens = (
                words.tokenise(masked[0], self._languages[0]),
                words.tokenise(masked[1], self._languages[1]),
            )
            if reason := self._why_dropped(tokens):
                dropped[reason] += 1
                continue
            pairs.append(tokens)
            near.update(self._tests.of(pair[0], self._near))
        self._near |= near
        source, target = (block_of([pair[side] for pair in pairs]) for side in (0, 1))
        return Cleaned(source, target, sizes(pairs), dropped, near)

    def _why_dropped(self, tokens: Pair) -> str:
        """A member of REASONS, or "" for a pair that stays."""
        short, long = sorted(len(side.split()) for side in tokens)
        if not short:
            return EMPTY
        if long > self._settings.max_words:
            return LONG
        uneven = long > self._settings.max_ratio * short and long - short > self._settings.ratio_slack
        return UNEVEN if uneven else ""


def mask_placeholders(pair: Pair) -> tuple[Pair, list[str]]:
    """Both sides with numbered placeholders, and the names of the source's placeholders."""
    if not any("{" in side for side in pair):
        return pair, []
    names = words.placeholders(*pair)
    return (words.mask(pair[0], names), words.mask(pair[1], names)), words.placeholders(pair[0])


def sizes(tokens: Sequence[Pair]) -> dict[str, int]:
    """Counts of pairs and tokens under the names that the card uses."""
    sides = [sum(len(pair[side].split()) for pair in tokens) for side in (0, 1)]
    return {"pairs": len(tokens), "source_tokens": sides[0], "target_tokens": sides[1]}
