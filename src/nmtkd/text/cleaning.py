"""Train as it is learnt from: the pairs that were chosen, tokenised, without those that are no translations by their lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd.params import Corpus, Prepare
from nmtkd.text import words
from nmtkd.text.parallel import block_of, blocks, lines_of
from nmtkd.text.splitting import NearDuplicates, Pair

# Why a pair is dropped here.
EMPTY, LONG, UNEVEN = REASONS = ("empty after tokenising", "longer than max_words", "sides too uneven")
Some = tuple[bytes, bytes, NDArray[np.bool_]]  # lines of both sides as they lie in the files, and which of them are train


@dataclass(frozen=True)
class Train:
    """The files of raw pairs among which train stands, and which of them it is, as a mask [N]."""

    source: Path
    target: Path
    kept: NDArray[np.bool_]


def tasks(train: Train, size: int) -> Iterator[Some]:
    """The pairs for a Cleaner, from `size` lines at a time."""
    for number, sides in enumerate(zip(blocks(train.source, size), blocks(train.target, size), strict=True)):
        kept = train.kept[number * size : (number + 1) * size]
        if kept.any():
            yield *sides, kept


@dataclass(frozen=True)
class Cleaned:
    """Pairs of train as they are written, their sizes, how many were dropped why, and the tests that one of them resembles, by place."""

    source: bytes
    target: bytes
    sizes: dict[str, int]
    dropped: Counter[str]
    near: set[int]


class Cleaner:
    """Makes train of raw lines: normalised, masked, tokenised, and neither too long nor too uneven, in Moses tokens.

    `tests` are normalised sources of test pairs, to be told from train.
    """

    def __init__(self, corpus: Corpus, settings: Prepare, tests: Sequence[str]) -> None:
        self._languages, self._settings = (corpus.source, corpus.target), settings
        self._tests = NearDuplicates(tests, settings.near_duplicate)
        self._near = set[int]()  # found before, so not looked for again

    def __call__(self, task: Some) -> Cleaned:
        """What of some raw lines is train."""
        dropped, kept, near = Counter[str](), list[Pair](), set[int]()
        for *raw, wanted in zip(*map(lines_of, task[:2]), task[2], strict=True):
            if not wanted:
                continue
            pair = words.normalise(raw[0]), words.normalise(raw[1])
            masked = mask(pair)[0]
            tokens = words.tokenise(masked[0], self._languages[0]), words.tokenise(masked[1], self._languages[1])
            if reason := self._unfit(tokens):
                dropped[reason] += 1
                continue
            kept.append(tokens)
            near.update(self._tests.of(pair[0], self._near))
        self._near |= near
        return Cleaned(block_of([pair[0] for pair in kept]), block_of([pair[1] for pair in kept]), sizes(kept), dropped, near)

    def _unfit(self, tokens: Pair) -> str:
        short, long = sorted(len(side.split()) for side in tokens)
        if not short:
            return EMPTY
        if long > self._settings.max_words:
            return LONG
        return UNEVEN if long > self._settings.max_ratio * short and long - short > self._settings.ratio_slack else ""


def mask(pair: Pair) -> tuple[Pair, list[str]]:
    """Both sides with numbered placeholders, and the names of the source's."""
    if not any("{" in side for side in pair):
        return pair, []
    names = words.placeholders(*pair)
    return (words.mask(pair[0], names), words.mask(pair[1], names)), words.placeholders(pair[0])


def sizes(tokens: Sequence[Pair]) -> dict[str, int]:
    """Pairs and tokens, as the card counts them."""
    sides = [sum(len(pair[side].split()) for pair in tokens) for side in (0, 1)]
    return {"pairs": len(tokens), "source_tokens": sides[0], "target_tokens": sides[1]}
