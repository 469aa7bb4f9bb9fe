"""Splits that do not leak: whole groups are held out, and no string of a held-out set stands in train."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.int64]
Pair = tuple[str, str]

SHINGLE = 5  # characters; the usual length for near-duplicates of short texts
# Rare shingles that two lines must share before they are compared in full: one is often an accident, four hardly ever.
COMMON = 4


def by_group(pairs: ArrayLike, groups: Sequence[str], wanted: dict[str, int], seed: int) -> dict[str, list[int]]:
    """Indices of `pairs` by split, train included; of exact duplicates the first one alone.

    `pairs` [N, 2] is text or any numbers that stand for it; `groups` [N] are names. `wanted` gives the sizes of the held-out sets,
    filled in its order.

    Groups are drawn at random until a set has its size. Of a drawn group only the strings that no other group uses are held out:
    a string that several groups share ("Battery") goes to train, where every one of them would find it in practice.
    Raises ValueError where the groups run out.
    """
    order = sorted(set(groups))
    place = {name: number for number, name in enumerate(order)}
    group_N = np.fromiter((place[name] for name in groups), np.int64, len(groups))
    sides = [np.unique(side, return_inverse=True)[1] for side in np.asarray(pairs).T]
    first = np.unique(sides[0] * (sides[1].max(initial=0) + 1) + sides[1], return_index=True)[1]
    unshared = first[_used_by_one(sides[0], group_N)[first] & _used_by_one(sides[1], group_N)[first]]
    own: dict[str, list[int]] = defaultdict(list)
    for index in unshared.tolist():
        own[groups[index]].append(index)
    random.Random(seed).shuffle(order)
    splits: dict[str, list[int]] = {}
    for name, size in wanted.items():
        held: list[int] = []
        while len(held) < size:
            if not order:
                raise ValueError(f"prepare.{name}_pairs: {size} pairs wanted, but the groups that are left hold {len(held)}; ask for fewer")
            held += own[order.pop()]
        splits[name] = sorted(held)
    taken = [index for held in splits.values() for index in held]
    return {"train": np.setdiff1d(first, taken).tolist(), **splits}


def _used_by_one(text_N: Numbers, group_N: Numbers) -> NDArray[np.bool_]:
    """Whether one group alone uses the text of a line."""
    lowest, highest = np.full(text_N.max(initial=0) + 1, len(group_N)), np.full(text_N.max(initial=0) + 1, -1)
    np.minimum.at(lowest, text_N, group_N)
    np.maximum.at(highest, text_N, group_N)
    return (lowest == highest)[text_N]


def overlapping(train: ArrayLike, held_out: ArrayLike) -> list[int]:
    """Indices of train pairs whose source or target stands in a held-out set; both [N, 2], text or the numbers that stand for it."""
    sides, held = np.asarray(train).reshape(-1, 2), np.asarray(held_out).reshape(-1, 2)
    return np.flatnonzero(np.isin(sides[:, 0], held[:, 0]) | np.isin(sides[:, 1], held[:, 1])).tolist()


def _shingles(text: str) -> set[str]:
    plain = " ".join(re.findall(r"\w+", re.sub(r"\d", "0", text.lower())))
    return {plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1))}


class NearDuplicates:
    """Tells which test lines a train line resembles: Jaccard similarity >= threshold of character 5-grams, case, digits, punctuation apart.

    The test lines are the index and train goes past it, so that the memory is that of the test lines and the time is linear in train.
    """

    def __init__(self, test: Sequence[str], threshold: float) -> None:
        self._threshold = threshold
        self._test = [_shingles(text) for text in test]
        users = Counter(shingle for shingles in self._test for shingle in shingles)
        order = sorted(users, key=lambda shingle: (users[shingle], shingle))
        self._rank = {shingle: rank for rank, shingle in enumerate(order)}  # the rarest first
        self._users: list[list[int]] = [[] for _ in order]  # of each rank: the test lines for which it is among the rarest
        for index, shingles in enumerate(self._test):
            for rank in self._rarest(shingles, len(shingles)):
                self._users[rank].append(index)

    def _rarest(self, known: Collection[str], size: int) -> list[int]:
        """Ranks of those known shingles of a line among which the rarest COMMON are that it shares with a line of similarity t.

        They share at least t * size, so the k-th rarest of them has at least t * size - k more frequent ones of its line behind it. This
        holds for both lines of a match; unknown shingles are the rarest of all.
        """
        return sorted(self._rank[shingle] for shingle in known)[: max(0, len(known) - int(self._threshold * size) + COMMON)]

    def of(self, text: str, found: Container[int] = ()) -> list[int]:
        """Places of the test lines that `text` resembles, those in `found` left out."""
        shingles = _shingles(text)
        known = shingles & self._rank.keys()
        if len(known) < self._threshold * len(shingles):
            return []  # not even all test lines together have enough of it
        shared = Counter(chain.from_iterable(self._users[rank] for rank in self._rarest(known, len(shingles))))
        enough = min(COMMON, int(self._threshold * len(shingles)))
        candidates = [index for index, count in shared.items() if count >= enough and index not in found]
        return [index for index in candidates if _similar(self._test[index], shingles, self._threshold)]


def near_duplicates(train: Iterable[str], test: Sequence[str], threshold: float) -> int:
    """How many test lines have a near-duplicate in train."""
    index, found = NearDuplicates(test, threshold), set[int]()
    for text in train:
        found.update(index.of(text, found))
    return len(found)


def _similar(left: set[str], right: set[str], threshold: float) -> bool:
    few, many = (len(left), len(right)) if len(left) < len(right) else (len(right), len(left))
    return few >= threshold * many and len(left & right) >= threshold * len(left | right)
