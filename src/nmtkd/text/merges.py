"""Learns byte-pair merges: subword-nmt's algorithm by subword-nmt's own parts, driven without the copies that take most of its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nmtkd import machine

# subword-nmt's own: pairs rarer than a share of the most frequent one are set aside, which its counts and so its merges depend on.
FIRST_SHARE = 10
LATER_SHARE = 10_000.0
END = "</w>"


def merges(words: Iterable[tuple[str, int]], wanted: int, min_frequency: int) -> Iterator[str]:
    """Up to `wanted` merges as lines of a codes file, of distinct words in this order and with these counts.

    What subword_nmt.learn_bpe.learn_bpe writes. Raises ValueError where no word has two characters.
    """
    from subword_nmt.learn_bpe import get_pair_statistics, prune_stats, replace_pair, update_pair_statistics

    ends: dict[str, str] = {}  # each in memory once, as single characters are by themselves
    vocabulary = [((*word[:-1], ends.setdefault(word[-1], word[-1] + END)), count) for word, count in words]
    vocabulary.sort(key=lambda item: item[1], reverse=True)
    stats, indices = get_pair_statistics(vocabulary)
    every = stats.copy()  # with those set aside
    threshold = max(stats.values()) / FIRST_SHARE
    for done in range(wanted):
        count, pair = max(zip(stats.values(), stats, strict=True), default=(0, ("", "")))
        if not stats or (done and count < threshold):
            prune_stats(stats, every, threshold)
            stats = every.copy()
            count, pair = max(zip(stats.values(), stats, strict=True))
            threshold = count * done / (done + LATER_SHARE)
            prune_stats(stats, every, threshold)
        if count < min_frequency:
            return
        yield " ".join(pair)
        changes = replace_pair(pair, vocabulary, indices)
        update_pair_statistics(pair, changes, stats, indices)
        stats[pair] = 0
        if not done % 100:
            prune_stats(stats, every, threshold)
        machine.progress("bpe", done + 1, wanted, "merges learnt")
