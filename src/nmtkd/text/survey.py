"""A first pass over raw pairs: which are equal, which are usable, how long they are; in 33 bytes a pair."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import words, workers
from nmtkd.text.cleaning import PairTokeniser, lengths, plain
from nmtkd.text.parallel import BLOCK, blocks, lines_of
from nmtkd.text.splitting import Pair

# Pairs below which one process finishes before others would have started: about 20 microseconds each.
SERIAL_BELOW = 100_000
# Bytes that stand for a text. The chance that two of 10^9 texts share them is 1 in 10^21.
DIGEST = 16
GROWING = ("nfkc", "punctuation")  # kinds of normalisation that make several characters of one
# Properties of a pair, one bit each.
VISIBLE, SAME_PLACEHOLDERS, SHORT = 1, 2, 4


@dataclass(frozen=True)
class Survey:
    """`digests` [N, 2] of the sides as words.compared has them, and the property `bits` [N].

    `characters` counts those of each side, over the pairs that are VISIBLE.
    """

    digests: NDArray[np.void]
    bits: NDArray[np.uint8]
    characters: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Mean length of a target over that of a source; 1 for an empty corpus."""
        return self.characters[1] / self.characters[0] if self.characters[0] else 1.0

    def which(self, bit: int) -> NDArray[np.bool_]:
        """The pairs that have a property, as a mask [N]."""
        return (self.bits & bit) != 0

    def equal_to(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pairs that equal one of `mask`, as a mask [N]."""
        pairs = self.digests.view(f"V{2 * DIGEST}").ravel()
        return np.isin(pairs, pairs[mask])

    def unique(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`mask` without the pairs that equal an earlier one in it."""
        indices = np.flatnonzero(mask)
        first = np.unique(self.digests[indices].view(f"V{2 * DIGEST}").ravel(), return_index=True)[1]
        unique = np.zeros_like(mask)
        unique[indices[first]] = True
        return unique


def digests(pairs: Iterable[Pair]) -> NDArray[np.void]:
    """The digest of each text [N, 2]."""
    data = b"".join(
        hashlib.blake2b(text.encode(), digest_size=DIGEST).digest() for pair in pairs for text in pair
    )
    return np.frombuffer(data, f"V{DIGEST}").reshape(-1, 2)


def survey(source: Path, target: Path, count: int, settings: Prepare, bound: Corpus | None = None) -> Survey:
    """The survey of `count` pairs of checked files.

    With a `bound`, the corpus, a pair is SHORT if neither side is longer than prepare.max_words; else all
    are.
    """
    all_digests, bits = np.empty((count, 2), f"V{DIGEST}"), np.empty(count, np.uint8)
    characters, done = [0, 0], 0
    tasks = zip(blocks(source), blocks(target), strict=True)
    for block in workers.each(_Surveyor, (settings, bound), tasks, serial=count < SERIAL_BELOW):
        span = slice(done, done + len(block.bits))
        all_digests[span], bits[span] = block.digests, block.bits
        characters = [total + part for total, part in zip(characters, block.characters, strict=True)]
        done = span.stop
        machine.progress("prepare", done, count, "pairs surveyed")
    return Survey(all_digests, bits, (characters[0], characters[1]))


class _Surveyor:
    """Surveys a block of each side."""

    def __init__(self, settings: Prepare, bound: Corpus | None) -> None:
        self._settings = settings
        self._tokenise = PairTokeniser(bound, settings) if bound else None
        self._grows = any(kind in GROWING for kind in settings.normalise)

    def __call__(self, sides: tuple[bytes, bytes]) -> Survey:
        raw = list(zip(*map(lines_of, sides), strict=True))
        pairs = [plain(pair, self._settings) for pair in raw]
        bits = np.fromiter(map(self._bits, raw, pairs), np.uint8, len(pairs))
        visible = [pair for pair in pairs if all(pair)]
        characters = sum(len(source) for source, _ in visible), sum(len(target) for _, target in visible)
        return Survey(digests(pairs), bits, characters)

    def _bits(self, raw: Pair, pair: Pair) -> int:
        bits = VISIBLE if all(pair) else 0
        is_text = not self._settings.placeholders or not any("{" in side for side in raw)
        if is_text or _same_placeholders(raw):
            bits |= SAME_PLACEHOLDERS
        return bits | SHORT if self._is_short(raw) else bits

    def _is_short(self, raw: Pair) -> bool:
        if self._tokenise is None:
            return True
        bounds = self._settings.max_words.source, self._settings.max_words.target
        if not self._grows and all(len(side) <= bound for side, bound in zip(raw, bounds, strict=True)):
            return True  # a token has one character and more
        sizes = lengths(self._tokenise(raw), self._settings)
        return all(size <= bound for size, bound in zip(sizes, bounds, strict=True))


def _same_placeholders(pair: Pair) -> bool:
    source, target = (sorted(words.PLACEHOLDER.findall(side)) for side in pair)
    return source == target


def pick(source: Path, target: Path, indices: Sequence[int]) -> list[Pair]:
    """The pairs at `indices`, which must rise, as they stand in the files."""
    pairs: list[Pair] = []
    remaining = iter(indices)
    index = next(remaining, None)
    for number, sides in enumerate(zip(blocks(source), blocks(target), strict=True)):
        if index is None:
            break
        if index >= (number + 1) * BLOCK:
            continue
        lines = [lines_of(side) for side in sides]
        while index is not None and index < (number + 1) * BLOCK:
            pairs.append((lines[0][index - number * BLOCK], lines[1][index - number * BLOCK]))
            index = next(remaining, None)
    return pairs
