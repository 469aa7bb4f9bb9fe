"""A first look at raw pairs: which ones are equal and which ones are fit to be kept, in 33 bytes a pair instead of their text."""

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

# Pairs up to which one process looks at them sooner than others start: about 20 microseconds each.
ALONE = 100_000
DIGEST = 16  # bytes that stand for a text: that two of a thousand million texts share one has a chance of 1 in 10^21
# What a pair is, one bit each.
VISIBLE, SAME_PLACEHOLDERS, SHORT = 1, 2, 4


@dataclass(frozen=True)
class Survey:
    """`digests` [N, 2] of source and target, normalised, and `bits` [N]."""

    digests: NDArray[np.void]
    bits: NDArray[np.uint8]

    def which(self, bit: int) -> NDArray[np.bool_]:
        """The pairs that are so, as a mask [N]."""
        return (self.bits & bit) != 0

    def unique(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`mask` without pairs that are equal to an earlier one in it."""
        places = np.flatnonzero(mask)
        first = np.unique(self.digests[places].view(f"V{2 * DIGEST}").ravel(), return_index=True)[1]
        found = np.zeros_like(mask)
        found[places[first]] = True
        return found


def normalised(sources: Iterable[str], targets: Iterable[str]) -> Iterator[Pair]:
    """Pairs of raw lines in normal form."""
    return zip(map(words.normalise, sources), map(words.normalise, targets), strict=True)


def digests(pairs: Iterable[Pair]) -> NDArray[np.void]:
    """What stands for each text [N, 2]."""
    data = b"".join(hashlib.blake2b(text.encode(), digest_size=DIGEST).digest() for pair in pairs for text in pair)
    return np.frombuffer(data, f"V{DIGEST}").reshape(-1, 2)


def survey(source: Path, target: Path, count: int, max_words: int) -> Survey:
    """Looks at `count` pairs of files that were checked; SHORT are those of at most `max_words` words a side, at spaces."""
    found = Survey(np.empty((count, 2), f"V{DIGEST}"), np.empty(count, np.uint8))
    done = 0
    tasks = zip(blocks(source), blocks(target), strict=True)
    for some in workers.each(_Look, (max_words,), tasks, alone=count < ALONE):
        here = slice(done, done + len(some.bits))
        found.digests[here], found.bits[here] = some.digests, some.bits
        done = here.stop
        machine.progress("prepare", done, count, "pairs looked at")
    return found


class _Look:
    def __init__(self, max_words: int) -> None:
        self._max_words = max_words

    def __call__(self, sides: tuple[bytes, bytes]) -> Survey:
        pairs = list(normalised(*map(lines_of, sides)))
        return Survey(digests(pairs), np.fromiter(map(self._bits, pairs), np.uint8, len(pairs)))

    def _bits(self, pair: Pair) -> int:
        bits = VISIBLE if all(pair) else 0
        if not any("{" in side for side in pair) or len({tuple(sorted(words.PLACEHOLDER.findall(side))) for side in pair}) == 1:
            bits |= SAME_PLACEHOLDERS
        if max(side.count(" ") for side in pair) < self._max_words:
            bits |= SHORT
        return bits


def pick(source: Path, target: Path, places: Sequence[int]) -> list[Pair]:
    """The pairs at `places`, in rising order, in normal form."""
    found: list[Pair] = []
    wanted = iter(places)
    place = next(wanted, None)
    for number, sides in enumerate(zip(blocks(source), blocks(target), strict=True)):
        if place is None:
            break
        if place >= (number + 1) * BLOCK:
            continue
        lines = [lines_of(side) for side in sides]
        while place is not None and place < (number + 1) * BLOCK:
            found += normalised([lines[0][place - number * BLOCK]], [lines[1][place - number * BLOCK]])
            place = next(wanted, None)
    return found
