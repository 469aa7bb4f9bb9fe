"""Text of any size for bench/data_stages.py, from a seed: words by Zipf's law, log-normal lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 1
HELD_OUT = 2_000  # pairs of valid and of test: as many as the test sets of WMT
# A million sentences then hold 400,000 distinct words, capitals at their start included, as Europarl does in
# English and German.
WORDS = {"src": 60_000, "tgt": 200_000}
EXPONENT, SHIFT = 1.07, 2.7  # of the Zipf-Mandelbrot law, as fitted to running text
MEAN_WORDS, SPREAD, MOST_WORDS = 17, 0.45, 60  # log-normal lengths of sentences
COMMA, NUMBER, REPEATED = 0.06, 0.01, 0.01  # of words, of words, and of sentences that came before
VOWELS, CONSONANTS = "aeiouäöüy", "bcdfghjklmnpqrstvwxz"
SYLLABLES = [consonant + vowel for vowel in VOWELS for consonant in CONSONANTS]
BLOCK = 20_000  # sentences made at a time


def word(rank: int) -> str:
    """A word for each rank: the frequent ones are short."""
    parts = []
    rank += 1
    while rank:
        rank, syllable = divmod(rank, len(SYLLABLES))
        parts.append(SYLLABLES[syllable])
    return "".join(parts)


def sentences(
    side: str,
    lengths: NDArray[np.int64],
    rng: np.random.Generator,
    vocabulary: list[str],
    law: NDArray[np.float64],
) -> Iterator[str]:
    """One for each length."""
    ranks = np.searchsorted(law, rng.random(lengths.sum())).tolist()
    chances = rng.random(lengths.sum()).tolist()
    start = 0
    for length in lengths.tolist():
        words = []
        for rank, chance in zip(ranks[start : start + length], chances[start : start + length], strict=True):
            words.append(
                f"{rank % 1000}"
                if chance < NUMBER
                else vocabulary[rank] + ("," if chance > 1 - COMMA else "")
            )
        start += length
        yield " ".join(words).rstrip(",").capitalize() + "."


def make(folder: Path, lines: int) -> None:
    """Writes train, valid and test. The first lines of a longer train are those of a shorter one."""
    rng = np.random.default_rng(SEED)
    vocabulary = {side: [word(rank) for rank in range(count)] for side, count in WORDS.items()}
    law = {}
    for side, count in WORDS.items():
        weights = (np.arange(1, count + 1) + SHIFT) ** -EXPONENT
        law[side] = np.cumsum(weights) / weights.sum()
    for name, count in (("valid", HELD_OUT), ("test", HELD_OUT), ("train", lines)):
        with (
            open(folder / f"{name}.src", "w", encoding="utf-8") as source,
            open(folder / f"{name}.tgt", "w", encoding="utf-8") as target,
        ):
            for start in range(0, count, BLOCK):
                size = min(BLOCK, count - start)
                lengths = np.clip(rng.lognormal(math.log(MEAN_WORDS), SPREAD, BLOCK), 3, MOST_WORDS).astype(
                    np.int64
                )
                other = np.clip(lengths * rng.normal(1, 0.1, BLOCK), 3, MOST_WORDS).astype(np.int64)
                sides = [
                    list(sentences(side, n, rng, vocabulary[side], law[side]))
                    for side, n in (("src", lengths), ("tgt", other))
                ]
                pairs = list(zip(*sides, strict=True))
                for place in np.flatnonzero(rng.random(BLOCK) < REPEATED).tolist():
                    pairs[place] = pairs[place // 2]
                for one, translation in pairs[:size]:
                    source.write(one + "\n")
                    target.write(translation + "\n")
