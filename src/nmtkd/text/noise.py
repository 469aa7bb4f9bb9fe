"""Noise on training words, before BPE.

Each line draws from a generator of its own, seeded by the condition's seed, the kind, the side and the line's text: the order of lines and
the number of workers change nothing. The draws do not depend on the rate, so that a higher rate of deletion or substitution hits the words
that a lower one hits, and more (not so for swaps, which depend on their neighbours). Held-out sets stay clean.
"""

from __future__ import annotations

import hashlib
import random
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Noise
from nmtkd.text import workers
from nmtkd.text.frequencies import by_white_space, frequencies
from nmtkd.text.parallel import block_of, blocks, count_pairs, lines_of, writing
from nmtkd.text.subwords import CODES, Subwords
from nmtkd.text.words import NUMBERED

TEACHER_TEXT = "teacher"  # folder of the text that a teacher sees, where it is not the students'
ALONE = 20_000  # lines up to which one process strikes and splits them sooner than others start: about 40 microseconds each
CHUNK = 2_000  # lines that a worker strikes at a time: small enough for progress, large enough to outweigh the hand-over


class Vocabulary:
    """The words of one side, to draw substitutes from by their frequency."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._take(Counter(word for line in lines for word in line.split()))

    @classmethod
    def counted(cls, counts: Counter[str]) -> Vocabulary:
        """That of a text whose words have these counts."""
        found = cls([])
        found._take(counts)
        return found

    def _take(self, counts: Counter[str]) -> None:
        # Each worker has one, so it is kept small: words are found by bisection.
        self._words = sorted(word for word in counts if not _untouchable(word))
        self._cumulative = array("q", [0, *accumulate(counts[word] for word in self._words)])

    def draw(self, share: float, instead_of: str) -> str:
        """The word at `share` (0 to 1) of the frequencies of all words but `instead_of`; that one itself where there is no other."""
        place = bisect_left(self._words, instead_of)
        there = place < len(self._words) and self._words[place] == instead_of
        start, end = self._cumulative[place : place + 2] if there else (0, 0)
        others = self._cumulative[-1] - (end - start)
        if not others:
            return instead_of
        point = min(int(share * others), others - 1)
        return self._words[bisect_right(self._cumulative, point if point < start else point + end - start) - 1]


def _untouchable(word: str) -> bool:
    """Placeholders are not words: a corpus whose variables are shuffled is broken, not noisy."""
    return "{" in word and re.search(NUMBERED, word) is not None


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
    shares = [generator.random() for _ in tokens]
    changed = [
        vocabulary.draw(share, old) if draw < rate and not _untouchable(old) else old
        for old, share, draw in zip(tokens, shares, draws, strict=True)
    ]
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


@dataclass(frozen=True)
class _Done:
    """Some lines as BPE, struck and (where the teacher is to see it) clean, and what they count."""

    noisy: bytes
    clean: bytes
    lines: int
    words: int
    hits: Counter[str]


class _Striker:
    """Makes noisy BPE text of the lines of one side. `noise` is None where this side stays as it is."""

    def __init__(self, codes: Path, noise: Noise | None, name: str, vocabulary: Vocabulary, clean: bool) -> None:
        self._subwords = Subwords(codes)
        self._noise, self._name, self._vocabulary, self._clean = noise, name, vocabulary, clean

    def __call__(self, block: bytes) -> _Done:
        lines, hits = lines_of(block), Counter[str]()
        noisy = []
        for line in lines:
            words, counts = corrupt(line, self._noise, self._name, self._vocabulary) if self._noise else (line, {})
            noisy.append(self._subwords.split(words))
            hits.update(counts)
        clean = block_of([self._subwords.split(line) for line in lines]) if self._clean else b""
        return _Done(block_of(noisy), clean, len(lines), sum(len(line.split()) for line in lines), hits)


def apply(prepared: Path, bpe: Path, out: Path, noise: Noise) -> dict[str, Any]:
    """The `noise` stage: train.src and train.tgt under `noise`, as BPE. Returns the card: words and hits a side.

    Where the teacher is to see clean text, that stands beside them in TEACHER_TEXT. The text passes through memory some lines at a time.
    """
    card: dict[str, Any] = {"kind": noise.kind, "rates": noise.rates_by_kind(), "side": noise.side, "teacher_sees": noise.teacher_sees}
    clean = noise.teacher_sees == "clean"
    if clean:
        (out / TEACHER_TEXT).mkdir()
    count = count_pairs(prepared / "train.src", prepared / "train.tgt")
    for side, name in (("src", "source"), ("tgt", "target")):
        path = prepared / f"train.{side}"
        struck = noise if noise.side in (name, "both") else None
        draws = struck is not None and "substitution" in noise.rates_by_kind()
        vocabulary = Vocabulary.counted(by_white_space(frequencies("noise", path, count)) if draws else Counter())
        words, hits, done = 0, Counter[str](), 0
        with ExitStack() as files:
            noisy = files.enter_context(writing(out / path.name))
            beside = files.enter_context(writing(out / TEACHER_TEXT / path.name)) if clean else None
            given = (bpe / CODES, struck, name, vocabulary, clean)
            for some in workers.each(_Striker, given, blocks(path, CHUNK), alone=count < ALONE):
                noisy.write(some.noisy)
                if beside:
                    beside.write(some.clean)
                words, done = words + some.words, done + some.lines
                hits.update(some.hits)
                machine.progress("noise", done, count, f"lines of {name}")
        card[name] = {"words": words, "hit": sum(hits.values()), "hit_by_kind": dict(hits)}
    return card
