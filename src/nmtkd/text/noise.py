"""Noise on training words, before BPE. Held-out sets stay clean.

A word is a unit of text/words.py: a token without its joiners, or a character of a script without spaces.
Joiners stay with their places, so that noisy tokens become text again like any others.

Each line has a random generator of its own, seeded by the condition's seed, the kind, the side and the text
of the line: the order of lines and the number of workers change nothing. The draws do not depend on the rate.
A higher rate of deletion or substitution therefore corrupts the words that a lower one corrupts, and more.
This does not hold for swaps, which depend on their neighbours.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.files import read_array, writing
from nmtkd.plan.data import Noise
from nmtkd.plan.layout import CODES, KEPT, LENGTHS, TEACHER_TEXT
from nmtkd.text import workers
from nmtkd.text.frequencies import frequencies
from nmtkd.text.parallel import ParallelTextError, block_of, count_pairs, kept_blocks, lines_of
from nmtkd.text.subwords import Subwords
from nmtkd.text.words import count_units, is_protected, split_token, units

# Lines below which one process finishes before others would have started: about 40 microseconds each.
SERIAL_BELOW = 20_000
CHUNK = 2_000  # lines of a worker's task: few enough for progress, enough to outweigh the hand-over


class Vocabulary:
    """The words of one side, from which substitutes are drawn by frequency."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._set_counts(Counter(word for line in lines for word in units(line)))

    @classmethod
    def counted(cls, tokens: Counter[str]) -> Vocabulary:
        """The vocabulary of a text whose tokens have these counts."""
        vocabulary, counts = cls([]), Counter[str]()
        for token, count in tokens.items():
            for word in units(token):
                counts[word] += count
        vocabulary._set_counts(counts)
        return vocabulary

    def _set_counts(self, counts: Counter[str]) -> None:
        # Each worker has a copy, so it is kept small: a sorted list that is searched by bisection.
        self._words = sorted(word for word in counts if not is_protected(word))
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


def rates_by_kind(noise: Noise) -> dict[str, float]:
    """The rate of each kind of noise whose rate is above 0."""
    rates = noise.rates.model_dump() if noise.rates else {noise.kind: noise.rate or 0.0}
    return {kind: rate for kind, rate in rates.items() if rate > 0.0}


def corrupt(line: str, noise: Noise, salt: str, vocabulary: Vocabulary) -> tuple[str, dict[str, int]]:
    """The line under `noise`, never empty, and the number of corruptions of each kind. `salt` names the side.

    `line` holds tokens. A placeholder or coded character is never corrupted: a corpus with wrong variables is
    broken, not noisy.
    deletion: each word is deleted with probability `rate`. One word stays where all would go.
    substitution: each word becomes another one of its side with probability `rate`, drawn by frequency.
    swap: from left to right, a word changes places with the next one with probability `rate`. A swapped pair
        is not swapped again, and counts as one corruption.
    mixed: substitution, then swap, then deletion, each at its own rate with its own draws.
    """
    rates, tokens = rates_by_kind(noise), [split_token(token) for token in line.split()]
    words, counts = [word for _, inner, _ in tokens for word in inner], {}
    for kind, corrupt_words in KINDS.items():
        if kind in rates and words:
            seed = hashlib.sha256(f"{noise.seed}\0{kind}\0{salt}\0{line}".encode()).digest()
            words, counts[kind] = corrupt_words(words, rates[kind], random.Random(seed), vocabulary)
    return _put_back(words, tokens) if counts else line, counts


def _put_back(words: list[str], tokens: list[tuple[str, list[str], str]]) -> str:
    """Words in the places of `tokens`. A token whose words were all deleted goes with its joiners."""
    following = iter(words)
    kept = []
    for left, inner, right in tokens:
        core = "".join(next(following) for _ in inner)
        if core or not inner:
            kept.append(f"{left}{core}{right}")
    return " ".join(kept)


DELETED = ""  # stands in the place of a deleted word
Corrupted = tuple[list[str], int]  # a word or DELETED for each place, and how many corruptions they hold


def _delete(words: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Corrupted:
    draws = [generator.random() for _ in words]
    survivor = draws.index(max(draws))  # the last word that a rising rate would delete
    unprotected = not any(map(is_protected, words))
    remaining = [
        word if draw >= rate or is_protected(word) or (index == survivor and unprotected) else DELETED
        for index, (word, draw) in enumerate(zip(words, draws, strict=True))
    ]
    return remaining, remaining.count(DELETED)


def _substitute(words: list[str], rate: float, generator: random.Random, vocabulary: Vocabulary) -> Corrupted:
    draws = [generator.random() for _ in words]
    shares = [generator.random() for _ in words]
    substituted = [
        vocabulary.draw(share, old) if draw < rate and not is_protected(old) else old
        for old, share, draw in zip(words, shares, draws, strict=True)
    ]
    return substituted, sum(new != old for old, new in zip(words, substituted, strict=True))


def _swap(words: list[str], rate: float, generator: random.Random, _: Vocabulary) -> Corrupted:
    draws = [generator.random() for _ in words]
    words = list(words)
    index = swaps = 0
    while index + 1 < len(words):
        if draws[index] < rate and not any(map(is_protected, words[index : index + 2])):
            words[index], words[index + 1] = words[index + 1], words[index]
            swaps += 1
            index += 1
        index += 1
    return words, swaps


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
    longest: int  # pieces of a line of either text


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
            tokens = line
            if self._noise:
                tokens, counts = corrupt(line, self._noise, self._side, self._vocabulary)
                corruptions.update(counts)
            noisy.append(self._subwords.split(tokens))
        clean = [self._subwords.split(line) for line in lines] if self._clean else []
        longest = max((line.count(" ") + 1 for line in (*noisy, *clean)), default=0)
        count = sum(map(count_units, lines))
        return _CorruptedBlock(block_of(noisy), block_of(clean), len(lines), count, corruptions, longest)


def apply(prepared: Path, bpe: Path, out: Path, noise: Noise, bounds: Mapping[str, int]) -> dict[str, Any]:
    """The `noise` stage: train.src and train.tgt under `noise`, as BPE. Returns the card.

    Pairs that `bpe` dropped are left out. The card counts words and corruptions of each side, and the pieces
    of its longest line. A clean text for the teacher goes to TEACHER_TEXT. The text passes through memory
    block by block. Raises ParallelTextError for a line that no batch holds: `bounds` are the trainings'
    max_tokens by the name of their param.
    """
    if noise.teacher_sees == "clean":
        (out / TEACHER_TEXT).mkdir()
    kept = _kept(bpe, count_pairs(prepared / "train.src", prepared / "train.tgt"))
    sides = {
        name: _apply_to_side(prepared / f"train.{side}", bpe / CODES, out, noise, name, kept)
        for side, name in (("src", "source"), ("tgt", "target"))
    }
    # Batches are cut by the clean text, whatever noise makes of it.
    longest = int(read_array(bpe / LENGTHS, "iu", [None, None]).max()) if bounds else 0
    if too_small := [f"{name} ({bound})" for name, bound in bounds.items() if bound < longest]:
        raise ParallelTextError(
            f"train: a line of {longest} BPE pieces fits no batch of {' and '.join(too_small)}; "
            "raise it, or lower prepare.max_words"
        )
    facts = {
        "kind": noise.kind,
        "rates": rates_by_kind(noise),
        "side": noise.side,
        "teacher_sees": noise.teacher_sees or "same",
        "pairs": int(kept.sum()),
        "dropped by bpe": int((~kept).sum()),
    }
    return facts | sides


def _kept(bpe: Path, count: int) -> NDArray[np.bool_]:
    """The mask of the pairs that the stage `bpe` keeps. Raises ParallelTextError if it is of another text."""
    kept: NDArray[np.bool_] = read_array(bpe / KEPT, "b", [None])
    if len(kept) != count:
        raise ParallelTextError(
            f"{bpe / KEPT}: tells of {len(kept)} pairs, prepared are {count}; run the bpe stage again"
        )
    return kept


def _apply_to_side(
    path: Path, codes: Path, out: Path, noise: Noise, name: str, kept: NDArray[np.bool_]
) -> dict[str, Any]:
    """Writes one side, `name` being source or target, of the lines that are kept. Returns its counts."""
    count = int(kept.sum())
    clean = noise.teacher_sees == "clean"
    side_noise = noise if noise.side in (name, "both") else None
    draws = side_noise is not None and "substitution" in rates_by_kind(noise)
    vocabulary = Vocabulary.counted(frequencies("noise", path, kept) if draws else Counter())
    words, corruptions, done, longest = 0, Counter[str](), 0, 0
    with ExitStack() as files:
        noisy_file = files.enter_context(writing(out / path.name))
        clean_file = files.enter_context(writing(out / TEACHER_TEXT / path.name)) if clean else None
        args, tasks = (codes, side_noise, name, vocabulary, clean), kept_blocks(path, kept, CHUNK)
        for block in workers.each(_Corrupter, args, tasks, serial=count < SERIAL_BELOW):
            noisy_file.write(block.noisy)
            if clean_file:
                clean_file.write(block.clean)
            words, done, longest = words + block.words, done + block.lines, max(longest, block.longest)
            corruptions.update(block.corruptions)
            machine.progress("noise", done, count, f"lines of {name}")
    return {
        "words": words,
        "hit": corruptions.total(),
        "hit_by_kind": dict(corruptions),
        "longest_line": longest + 1,  # with the end of the sentence
    }
