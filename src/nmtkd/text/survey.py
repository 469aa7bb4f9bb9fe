"""A first pass over raw pairs: which are equal and which are usable, in 33 bytes a pair."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.text import words, workers
from nmtkd.text.parallel import BLOCK, blocks, lines_of
from nmtkd.text.splitting import Pair

# Pairs below which one process finishes before others would have started: about 20 microseconds each.
SERIAL_BELOW = 100_000
# Bytes that stand for a text. The chance that two of 10^9 texts share them is 1 in 10^21.
DIGEST = 16
# Properties of a pair, one bit each.
VISIBLE, SAME_PLACEHOLDERS, SHORT = 1, 2, 4


@dataclass(frozen=True)
class Survey:
    """`digests` [N, 2] of the normalised source and target, and the property `bits` [N]."""

    digests: NDArray[np.void]
    bits: NDArray[np.uint8]

    def which(self, bit: int) -> NDArray[np.bool_]:
        """The pairs that have a property, as a mask [N]."""
        return (self.bits & bit) != 0

    def unique(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`mask` without the pairs that equal an earlier one in it."""
        indices = np.flatnonzero(mask)
        first = np.unique(self.digests[indices].view(f"V{2 * DIGEST}").ravel(), return_index=True)[1]
        unique = np.zeros_like(mask)
        unique[indices[first]] = True
        return unique


def normalised(sources: Iterable[str], targets: Iterable[str]) -> Iterator[Pair]:
    """Pairs of raw lines in normal form."""
    return zip(map(words.normalise, sources), map(words.normalise, targets), strict=True)


def digests(pairs: Iterable[Pair]) -> NDArray[np.void]:
    """The digest of each text [N, 2]."""
    data = b"".join(
        hashlib.blake2b(text.encode(), digest_size=DIGEST).digest() for pair in pairs for text in pair
    )
    return np.frombuffer(data, f"V{DIGEST}").reshape(-1, 2)


def survey(source: Path, target: Path, count: int, max_words: int) -> Survey:
    """The survey of `count` pairs of checked files.

    A pair is SHORT if each side has at most `max_words` words between spaces.
    """
    result = Survey(np.empty((count, 2), f"V{DIGEST}"), np.empty(count, np.uint8))
    done = 0
    tasks = zip(blocks(source), blocks(target), strict=True)
    for block in workers.each(_Surveyor, (max_words,), tasks, serial=count < SERIAL_BELOW):
        span = slice(done, done + len(block.bits))
        result.digests[span], result.bits[span] = block.digests, block.bits
        done = span.stop
        machine.progress("prepare", done, count, "pairs surveyed")
    return result


class _Surveyor:
    """Surveys a block of each side."""

    def __init__(self, max_words: int) -> None:
        self._max_words = max_words

    def __call__(self, sides: tuple[bytes, bytes]) -> Survey:
        pairs = list(normalised(*map(lines_of, sides)))
        return Survey(digests(pairs), np.fromiter(map(self._bits, pairs), np.uint8, len(pairs)))

    def _bits(self, pair: Pair) -> int:
        bits = VISIBLE if all(pair) else 0
        if not any("{" in side for side in pair) or _same_placeholders(pair):
            bits |= SAME_PLACEHOLDERS
        if max(side.count(" ") for side in pair) < self._max_words:
            bits |= SHORT
        return bits


def _same_placeholders(pair: Pair) -> bool:
    source, target = (sorted(words.PLACEHOLDER.findall(side)) for side in pair)
    return source == target


def pick(source: Path, target: Path, indices: Sequence[int]) -> list[Pair]:
    """The pairs at `indices`, which must rise, in normal form."""
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
            pairs += normalised([lines[0][index - number * BLOCK]], [lines[1][index - number * BLOCK]])
            index = next(remaining, None)
    return pairs
