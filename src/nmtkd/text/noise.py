"""Noise on training words, before BPE.

Each line draws from a generator of its own, seeded by the condition's seed, the kind, the side and the line's text: the order of lines and
the number of workers change nothing. The draws do not depend on the rate, so that a higher rate of deletion or substitution hits the words
that a lower one hits, and more (not so for swaps, which depend on their neighbours). Held-out sets stay clean.
"""

from __future__ import annotations

import hashlib
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Noise
from nmtkd.text.parallel import read_pair, write_lines
from nmtkd.text.subwords import CODES, Subwords
from nmtkd.text.words import NUMBERED


class Vocabulary:
    """The words of one side, to draw substitutes from by their frequency."""

    def __init__(self, lines: Sequence[str]) -> None:
        counts = Counter(word for line in lines for word in line.split() if not _untouchable(word))
        self._words = sorted(counts)
        self._place = {word: place for place, word in enumerate(self._words)}
        self._cumulative = [0, *accumulate(counts[word] for word in self._words)]

    def draw(self, share: float, instead_of: str) -> str:
        """The word at `share` (0 to 1) of the frequencies of all words but `instead_of`; that one itself where there is no other."""
        place = self._place.get(instead_of)
        start, end = (0, 0) if place is None else self._cumulative[place : place + 2]
        others = self._cumulative[-1] - (end - start)
        if not others:
            return instead_of
        point = min(int(share * others), others - 1)
        return self._words[bisect_right(self._cumulative, point if point < start else point + end - start) - 1]


def _untouchable(word: str) -> bool:
    """Placeholders are not words: a corpus whose variables are shuffled is broken, not noisy."""
    return re.search(NUMBERED, word) is not None


def corrupt(line: str, noise: Noise, salt: str, vocabulary: Vocabulary) -> tuple[str, dict[str, int]]:
    """The line under `noise`, and how many words each kind hit. `salt` tells sides apart. Never empty.

    deletion: each word goes with probability `rate`; one stays where all would go.
    substitution: each word becomes another one of its side with probability `rate`, drawn by frequency.
    swap: from left to right, a word changes places with the next one with probability `rate`; a swapped pair is not swapped again,
    and counts as one hit.
    mixed: substitution, then swap, then deletion, each at its own rate with its own draws.
    """
    rates, tokens = noise.rates_by_kind(), line.split()
    hits = {}
    for kind, strike in KINDS.items():
        if kind in rates:
            seed = hashlib.sha256(f"{noise.seed}\0{kind}\0{salt}\0{line}".encode()).digest()
            tokens, hits[kind] = strike(tokens, rates[kind], random.Random(seed), vocabulary)
    return " ".join(tokens) if hits else line, hits


Struck = tuple[list[str], int]


def _delete(tokens: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Struck:
    draws = [generator.random() for _ in tokens]
    survivor = draws.index(max(draws))  # the last one that a rising rate would reach
    kept = [
        token
        for place, (token, draw) in enumerate(zip(tokens, draws, strict=True))
        if draw >= rate or _untouchable(token) or (place == survivor and not any(map(_untouchable, tokens)))
    ]
    return kept, len(tokens) - len(kept)


def _substitute(tokens: list[str], rate: float, generator: random.Random, vocabulary: Vocabulary) -> Struck:
    draws = [generator.random() for _ in tokens]
    drawn = [vocabulary.draw(generator.random(), token) for token in tokens]
    changed = [new if draw < rate and not _untouchable(old) else old for old, new, draw in zip(tokens, drawn, draws, strict=True)]
    return changed, sum(new != old for old, new in zip(tokens, changed, strict=True))


def _swap(tokens: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Struck:
    draws = [generator.random() for _ in tokens]
    tokens = list(tokens)
    index = hits = 0
    while index + 1 < len(tokens):
        if draws[index] < rate and not _untouchable(tokens[index]) and not _untouchable(tokens[index + 1]):
            tokens[index], tokens[index + 1] = tokens[index + 1], tokens[index]
            hits += 1
            index += 1
        index += 1
    return tokens, hits


KINDS = {"substitution": _substitute, "swap": _swap, "deletion": _delete}  # in the order in which `mixed` applies them


def apply(prepared: Path, bpe: Path, out: Path, noise: Noise) -> dict[str, Any]:
    """The `noise` stage: train.src and train.tgt under `noise`, as BPE. Returns the card: words and hits a side.

    Where the teacher is to see clean text, that stands beside them in TEACHER_TEXT.
    """
    subwords = Subwords(bpe / CODES)
    card: dict[str, Any] = {"kind": noise.kind, "rates": noise.rates_by_kind(), "side": noise.side, "teacher_sees": noise.teacher_sees}
    if noise.teacher_sees == "clean":
        (out / TEACHER_TEXT).mkdir()
    for side, name, lines in zip(
        ("src", "tgt"), ("source", "target"), read_pair(prepared / "train.src", prepared / "train.tgt"), strict=True
    ):
        struck = noise.side in (name, "both")
        vocabulary = Vocabulary(lines)
        noisy, hits = [], Counter[str]()
        for done, line in enumerate(lines, start=1):
            words, counts = corrupt(line, noise, name, vocabulary) if struck else (line, {})
            noisy.append(subwords.split(words))
            hits.update(counts)
            machine.progress("noise", done, len(lines), f"lines of {name}")
        write_lines(out / f"train.{side}", noisy)
        if noise.teacher_sees == "clean":
            write_lines(out / TEACHER_TEXT / f"train.{side}", [subwords.split(line) for line in lines])
        card[name] = {"words": sum(len(line.split()) for line in lines), "hit": sum(hits.values()), "hit_by_kind": dict(hits)}
    return card


TEACHER_TEXT = "teacher"  # folder of the text that a teacher sees, where it is not the students'
