"""Splits that do not leak: whole groups are held out, and no string of a held-out set stands in train."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

Pair = tuple[str, str]

SHINGLE = 5  # characters; the usual length for near-duplicates of short texts


def by_group(pairs: Sequence[Pair], groups: Sequence[str], wanted: dict[str, int], seed: int) -> dict[str, list[int]]:
    """Indices of `pairs` by split, train included; of exact duplicates the first one alone.

    `wanted` gives the sizes of the held-out sets, filled in its order.

    Groups are drawn at random until a set has its size. Of a drawn group only the strings that no other group uses are held out:
    a string that several groups share ("Battery") goes to train, where every one of them would find it in practice.
    Raises ValueError where the groups run out.
    """
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (source, target), group in zip(pairs, groups, strict=True):
        users["source", source].add(group)
        users["target", target].add(group)
    own: dict[str, list[int]] = defaultdict(list)
    first = {pair: index for index, pair in reversed(list(enumerate(pairs)))}
    for (source, target), index in first.items():
        if len(users["source", source]) == len(users["target", target]) == 1:
            own[groups[index]].append(index)
    order = sorted(set(groups))
    random.Random(seed).shuffle(order)
    splits: dict[str, list[int]] = {}
    for name, size in wanted.items():
        held: list[int] = []
        while len(held) < size:
            if not order:
                raise ValueError(f"prepare.{name}_pairs: {size} pairs wanted, but the groups that are left hold {len(held)}; ask for fewer")
            held += own[order.pop()]
        splits[name] = sorted(held)
    taken = {pairs[index] for held in splits.values() for index in held}
    return {"train": sorted(index for pair, index in first.items() if pair not in taken), **splits}


def overlapping(train: Sequence[Pair], held_out: Iterable[Pair]) -> list[int]:
    """Indices of train pairs whose source or target stands in a held-out set."""
    sources, targets = set(), set()
    for source, target in held_out:
        sources.add(source)
        targets.add(target)
    return [index for index, (source, target) in enumerate(train) if source in sources or target in targets]


def _shingles(text: str) -> set[str]:
    plain = " ".join(re.findall(r"\w+", re.sub(r"\d", "0", text.lower())))
    return {plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1))}


def near_duplicates(train: Sequence[str], test: Sequence[str], threshold: float) -> int:
    """How many test lines have a train line with Jaccard similarity >= threshold of character 5-grams (case, digits, punctuation apart)."""
    postings: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for index, text in enumerate(train):
        shingles = _shingles(text)
        sizes.append(len(shingles))
        for shingle in shingles:
            postings[shingle].append(index)
    found = 0
    for text in test:
        shingles = _shingles(text)
        # A match of similarity t shares at least t * |shingles| of them: the rarest of the others need not be looked at.
        rarest = sorted(shingles, key=lambda shingle: (len(postings.get(shingle, ())), shingle))
        seen = Counter(index for shingle in rarest[: len(rarest) - int(threshold * len(rarest)) + 1] for index in postings.get(shingle, ()))
        found += any(_similar(shingles, _shingles(train[index]), threshold) for index in seen if sizes[index] >= threshold * len(shingles))
    return found


def _similar(left: set[str], right: set[str], threshold: float) -> bool:
    return len(left & right) >= threshold * len(left | right)
