"""Splits without leaks: whole groups are held out, and no string of a held-out set stands in train."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Sequence
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.int64]
Pair = tuple[str, str]

SHINGLE = 5  # characters; the usual length for near-duplicates of short texts
# Rare shingles that two lines must share before they are compared in full. One is often shared by accident,
# four hardly ever.
COMMON = 4


def by_group(
    pairs: ArrayLike, groups: Sequence[str], held_out_sizes: dict[str, int], seed: int
) -> dict[str, list[int]]:
    """Indices of `pairs` by split, train included. Of exact duplicates only the first is used.

    `pairs` [N, 2] is text, or numbers that stand for it. `groups` [N] are names. The held-out sets are filled
    in the order of `held_out_sizes`.

    Groups are drawn at random until a set has its size. Of a drawn group only the strings that no other group
    uses are held out. A string that several groups share ("Battery") goes to train: in practice each of these
    groups would find it there. Raises ValueError where the groups run out.
    """
    order = sorted(set(groups))
    rank = {name: number for number, name in enumerate(order)}
    group_N = np.fromiter((rank[name] for name in groups), np.int64, len(groups))
    sides = [np.unique(side, return_inverse=True)[1] for side in np.asarray(pairs).T]
    first = np.unique(sides[0] * (sides[1].max(initial=0) + 1) + sides[1], return_index=True)[1]
    unshared = first[_used_by_one(sides[0], group_N)[first] & _used_by_one(sides[1], group_N)[first]]
    own: dict[str, list[int]] = defaultdict(list)
    for index in unshared.tolist():
        own[groups[index]].append(index)
    random.Random(seed).shuffle(order)
    splits: dict[str, list[int]] = {}
    for name, size in held_out_sizes.items():
        held: list[int] = []
        while len(held) < size:
            if not order:
                raise ValueError(
                    f"prepare.{name}_pairs: {size} pairs wanted, "
                    f"but the groups that are left hold {len(held)}; ask for fewer"
                )
            held += own[order.pop()]
        splits[name] = sorted(held)
    taken = [index for held in splits.values() for index in held]
    return {"train": np.setdiff1d(first, taken).tolist(), **splits}


def _used_by_one(text_N: Numbers, group_N: Numbers) -> NDArray[np.bool_]:
    """Lines whose text only one group uses, as a mask [N]."""
    texts = text_N.max(initial=0) + 1
    lowest, highest = np.full(texts, len(group_N)), np.full(texts, -1)
    np.minimum.at(lowest, text_N, group_N)
    np.maximum.at(highest, text_N, group_N)
    return (lowest == highest)[text_N]


def overlapping(train: ArrayLike, held_out: ArrayLike) -> list[int]:
    """Indices of train pairs whose source or target stands in a held-out set.

    Both are [N, 2]: text, or numbers that stand for it.
    """
    sides, held = np.asarray(train).reshape(-1, 2), np.asarray(held_out).reshape(-1, 2)
    return np.flatnonzero(np.isin(sides[:, 0], held[:, 0]) | np.isin(sides[:, 1], held[:, 1])).tolist()


def _shingles(text: str) -> set[str]:
    plain = " ".join(re.findall(r"\w+", re.sub(r"\d", "0", text.lower())))
    return {plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1))}


class NearDuplicates:
    """Finds the test lines that a train line resembles.

    Two lines resemble each other if the Jaccard similarity of their character 5-grams reaches `threshold`.
    Case and punctuation are ignored, and every digit counts as 0. The test lines are indexed and train lines
    are looked up one by one: memory grows with the test lines only, time with train.
    """

    def __init__(self, test: Sequence[str], threshold: float) -> None:
        self._threshold = threshold
        self._test = [_shingles(text) for text in test]
        users = Counter(shingle for shingles in self._test for shingle in shingles)
        order = sorted(users, key=lambda shingle: (users[shingle], shingle))
        self._rank = {shingle: rank for rank, shingle in enumerate(order)}  # the rarest first
        # For each rank, the test lines that have this shingle among their rarest.
        self._users: list[list[int]] = [[] for _ in order]
        for index, shingles in enumerate(self._test):
            for rank in self._rarest(shingles, len(shingles)):
                self._users[rank].append(index)

    def _rarest(self, known: Collection[str], size: int) -> list[int]:
        """Ranks of a line's rarest shingles: enough to hold the COMMON rarest that it shares with any match.

        `known` are the line's shingles that the index knows, `size` counts all of them. Two lines of
        similarity t share at least t * size shingles, so the k-th rarest shared one has at least t * size - k
        more frequent ones of its line behind it. This holds for both lines of a match. Unknown shingles count
        as the rarest of all.
        """
        count = max(0, len(known) - int(self._threshold * size) + COMMON)
        return sorted(self._rank[shingle] for shingle in known)[:count]

    def of(self, text: str, skip: Container[int] = ()) -> list[int]:
        """Indices of the test lines that `text` resembles, without those in `skip`."""
        shingles = _shingles(text)
        known = shingles & self._rank.keys()
        if len(known) < self._threshold * len(shingles):
            return []  # even all test lines together share too little with it
        ranks = self._rarest(known, len(shingles))
        shared = Counter(chain.from_iterable(self._users[rank] for rank in ranks))
        enough = min(COMMON, int(self._threshold * len(shingles)))
        candidates = [index for index, count in shared.items() if count >= enough and index not in skip]
        return [index for index in candidates if _similar(self._test[index], shingles, self._threshold)]


def _similar(left: set[str], right: set[str], threshold: float) -> bool:
    few, many = (len(left), len(right)) if len(left) < len(right) else (len(right), len(left))
    return few >= threshold * many and len(left & right) >= threshold * len(left | right)
