"""Learns byte-pair merges with the parts of subword-nmt, without the copies that take most of its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nmtkd import machine

# subword-nmt's own constants. It sets aside pairs that are rarer than a share of the most frequent one; its
# counts, and so its merges, depend on which.
FIRST_SHARE = 10
LATER_SHARE = 10_000.0
END = "</w>"


def merges(words: Iterable[tuple[str, int]], limit: int, min_frequency: int) -> Iterator[str]:
    """Up to `limit` merges as lines of a codes file, learnt from distinct words and their counts.

    These are the merges that subword_nmt.learn_bpe.learn_bpe writes for the same words in the same order.
    None are learnt where no word has two characters.
    """
    from subword_nmt.learn_bpe import get_pair_statistics, prune_stats, replace_pair, update_pair_statistics

    # Each final character with END is kept in memory once. Python does so for single characters by itself.
    ends: dict[str, str] = {}
    vocabulary = [((*word[:-1], ends.setdefault(word[-1], word[-1] + END)), count) for word, count in words]
    vocabulary.sort(key=lambda item: item[1], reverse=True)
    stats, indices = get_pair_statistics(vocabulary)
    all_stats = stats.copy()  # including the pairs that were set aside
    threshold = max(stats.values(), default=0) / FIRST_SHARE
    for done in range(limit if stats else 0):
        count, pair = max(zip(stats.values(), stats, strict=True), default=(0, ("", "")))
        if not stats or (done and count < threshold):
            prune_stats(stats, all_stats, threshold)
            stats = all_stats.copy()
            count, pair = max(zip(stats.values(), stats, strict=True))
            threshold = count * done / (done + LATER_SHARE)
            prune_stats(stats, all_stats, threshold)
        if count < min_frequency:
            return
        yield " ".join(pair)
        changes = replace_pair(pair, vocabulary, indices)
        update_pair_statistics(pair, changes, stats, indices)
        stats[pair] = 0
        if not done % 100:
            prune_stats(stats, all_stats, threshold)
        machine.progress("bpe", done + 1, limit, "merges learnt")
