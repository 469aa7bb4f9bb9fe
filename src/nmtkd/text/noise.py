"""Noise on training words, before BPE. Held-out sets stay clean.

Each line has a random generator of its own, seeded by the condition's seed, the kind, the side and the text
of the line: the order of lines and the number of workers change nothing. The draws do not depend on the rate.
A higher rate of deletion or substitution therefore corrupts the words that a lower one corrupts, and more.
This does not hold for swaps, which depend on their neighbours.
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
from nmtkd.files import writing
from nmtkd.plan.data import Noise
from nmtkd.plan.layout import CODES, TEACHER_TEXT
from nmtkd.text import workers
from nmtkd.text.frequencies import by_white_space, frequencies
from nmtkd.text.parallel import block_of, blocks, count_pairs, lines_of
from nmtkd.text.subwords import Subwords
from nmtkd.text.words import NUMBERED

# Lines below which one process finishes before others would have started: about 40 microseconds each.
SERIAL_BELOW = 20_000
CHUNK = 2_000  # lines of a worker's task: few enough for progress, enough to outweigh the hand-over


class Vocabulary:
    """The words of one side, from which substitutes are drawn by frequency."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._set_counts(Counter(word for line in lines for word in line.split()))

    @classmethod
    def counted(cls, counts: Counter[str]) -> Vocabulary:
        """The vocabulary of a text whose words have these counts."""
        vocabulary = cls([])
        vocabulary._set_counts(counts)
        return vocabulary

    def _set_counts(self, counts: Counter[str]) -> None:
        # Each worker has a copy, so it is kept small: a sorted list that is searched by bisection.
        self._words = sorted(word for word in counts if not _holds_placeholder(word))
        self._cumulative = array("q", [0, *accumulate(counts[word] for word in self._words)])

    def draw(self, share: float, instead_of: str) -> str:
        """The word at `share` (0 to 1) of the cumulative frequencies of all words but `instead_of`.

        Returns `instead_of` itself where there is no other word.
        """
        index = bisect_left(self._words, instead_of)
        known = index < len(self._words) and self._words[index] == instead_of
        start, end = self._cumulative[index : index + 2] if known else (0, 0)
        others = self._cumulative[-1] - (end - start)
        if not others:
            return instead_of
        point = min(int(share * others), others - 1)
        return self._words[
            bisect_right(self._cumulative, point if point < start else point + end - start) - 1
        ]


def _holds_placeholder(word: str) -> bool:
    """Such a word is never corrupted: a corpus with wrong variables is broken, not noisy."""
    return "{" in word and re.search(NUMBERED, word) is not None


def rates_by_kind(noise: Noise) -> dict[str, float]:
    """The rate of each kind of noise whose rate is above 0."""
    rates = noise.rates.model_dump() if noise.rates else {noise.kind: noise.rate or 0.0}
    return {kind: rate for kind, rate in rates.items() if rate > 0.0}


def corrupt(line: str, noise: Noise, salt: str, vocabulary: Vocabulary) -> tuple[str, dict[str, int]]:
    """The line under `noise`, never empty, and the number of corruptions of each kind. `salt` names the side.

    deletion: each word is deleted with probability `rate`. One word stays where all would go.
    substitution: each word becomes another one of its side with probability `rate`, drawn by frequency.
    swap: from left to right, a word changes places with the next one with probability `rate`. A swapped pair
        is not swapped again, and counts as one corruption.
    mixed: substitution, then swap, then deletion, each at its own rate with its own draws.
    """
    rates, tokens = rates_by_kind(noise), line.split()
    counts = {}
    for kind, corrupt_tokens in KINDS.items():
        if kind in rates:
            seed = hashlib.sha256(f"{noise.seed}\0{kind}\0{salt}\0{line}".encode()).digest()
            tokens, counts[kind] = corrupt_tokens(tokens, rates[kind], random.Random(seed), vocabulary)
    return " ".join(tokens) if counts else line, counts


Corrupted = tuple[list[str], int]  # tokens, and how many corruptions they hold


def _delete(tokens: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Corrupted:
    draws = [generator.random() for _ in tokens]
    survivor = draws.index(max(draws))  # the last word that a rising rate would delete
    without_placeholder = not any(map(_holds_placeholder, tokens))
    remaining = [
        token
        for index, (token, draw) in enumerate(zip(tokens, draws, strict=True))
        if draw >= rate or _holds_placeholder(token) or (index == survivor and without_placeholder)
    ]
    return remaining, len(tokens) - len(remaining)


def _substitute(
    tokens: list[str], rate: float, generator: random.Random, vocabulary: Vocabulary
) -> Corrupted:
    draws = [generator.random() for _ in tokens]
    shares = [generator.random() for _ in tokens]
    substituted = [
        vocabulary.draw(share, old) if draw < rate and not _holds_placeholder(old) else old
        for old, share, draw in zip(tokens, shares, draws, strict=True)
    ]
    return substituted, sum(new != old for old, new in zip(tokens, substituted, strict=True))


def _swap(tokens: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Corrupted:
    draws = [generator.random() for _ in tokens]
    tokens = list(tokens)
    index = swaps = 0
    while index + 1 < len(tokens):
        if draws[index] < rate and not any(map(_holds_placeholder, tokens[index : index + 2])):
            tokens[index], tokens[index + 1] = tokens[index + 1], tokens[index]
            swaps += 1
            index += 1
        index += 1
    return tokens, swaps


KINDS = {
    "substitution": _substitute,
    "swap": _swap,
    "deletion": _delete,
}  # in the order in which `mixed` applies them


@dataclass(frozen=True)
class _CorruptedBlock:
    """Lines as BPE: corrupted, and clean where the teacher sees clean text. With their counts."""

    noisy: bytes
    clean: bytes
    lines: int
    words: int
    corruptions: Counter[str]


class _Corrupter:
    """Makes noisy BPE text of the lines of one side. `noise` is None where this side stays as it is."""

    def __init__(
        self, codes: Path, noise: Noise | None, side: str, vocabulary: Vocabulary, clean: bool
    ) -> None:
        self._subwords = Subwords(codes)
        self._noise, self._side, self._vocabulary, self._clean = noise, side, vocabulary, clean

    def __call__(self, block: bytes) -> _CorruptedBlock:
        lines, corruptions = lines_of(block), Counter[str]()
        noisy = []
        for line in lines:
            words = line
            if self._noise:
                words, counts = corrupt(line, self._noise, self._side, self._vocabulary)
                corruptions.update(counts)
            noisy.append(self._subwords.split(words))
        clean = block_of([self._subwords.split(line) for line in lines]) if self._clean else b""
        return _CorruptedBlock(
            block_of(noisy), clean, len(lines), sum(len(line.split()) for line in lines), corruptions
        )


def apply(prepared: Path, bpe: Path, out: Path, noise: Noise) -> dict[str, Any]:
    """The `noise` stage: train.src and train.tgt under `noise`, as BPE. Returns the card.

    The card counts words and corruptions of each side. A clean text for the teacher goes to TEACHER_TEXT. The
    text passes through memory block by block.
    """
    if noise.teacher_sees == "clean":
        (out / TEACHER_TEXT).mkdir()
    count = count_pairs(prepared / "train.src", prepared / "train.tgt")
    sides = {
        name: _apply_to_side(prepared / f"train.{side}", bpe / CODES, out, noise, name, count)
        for side, name in (("src", "source"), ("tgt", "target"))
    }
    facts = {
        "kind": noise.kind,
        "rates": rates_by_kind(noise),
        "side": noise.side,
        "teacher_sees": noise.teacher_sees or "same",
    }
    return facts | sides


def _apply_to_side(path: Path, codes: Path, out: Path, noise: Noise, name: str, count: int) -> dict[str, Any]:
    """Writes one side, `name` being source or target, of `count` lines. Returns its counts."""
    clean = noise.teacher_sees == "clean"
    side_noise = noise if noise.side in (name, "both") else None
    draws = side_noise is not None and "substitution" in rates_by_kind(noise)
    vocabulary = Vocabulary.counted(by_white_space(frequencies("noise", path, count)) if draws else Counter())
    words, corruptions, done = 0, Counter[str](), 0
    with ExitStack() as files:
        noisy_file = files.enter_context(writing(out / path.name))
        clean_file = files.enter_context(writing(out / TEACHER_TEXT / path.name)) if clean else None
        args = (codes, side_noise, name, vocabulary, clean)
        for block in workers.each(_Corrupter, args, blocks(path, CHUNK), serial=count < SERIAL_BELOW):
            noisy_file.write(block.noisy)
            if clean_file:
                clean_file.write(block.clean)
            words, done = words + block.words, done + block.lines
            corruptions.update(block.corruptions)
            machine.progress("noise", done, count, f"lines of {name}")
    return {"words": words, "hit": corruptions.total(), "hit_by_kind": dict(corruptions)}
