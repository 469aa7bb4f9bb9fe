"""Batches that are equal in all arms of a grid, in parts that fit into memory, and kept once collated."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from nmtkd import processes
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.dataset import dictionary_of

# Size of the cache. It holds a corpus of some hundred thousand pairs; other batches are collated each time.
KEPT_BYTES = 2**29


class EqualBatches(BaseWrapperDataset):
    """`pairs` in batches that fairseq cuts by `lengths` [N, 2], whatever the pairs' own text.

    A batch is a list of parts. Where it is `lazy`, or several processes share a training, it is a function
    that makes them: each process makes its own alone, and fairseq's loader does not copy what is kept.

    Arms of a grid have noisy, translated or gold text. With batches cut by each arm's own lengths, equal
    numbers of updates were not equal data. A batch is a list of parts: where an arm's own text makes it
    larger than `max_tokens`, several. fairseq shuffles the same batches for each epoch, so they are kept, up
    to KEPT_BYTES.
    """

    def __init__(self, pairs: Any, lengths: Any, max_tokens: int, *, lazy: bool = False) -> None:
        words, (sources, targets) = dictionary_of(pairs), lengths.T
        # A data set of lengths alone: fairseq orders, filters and cuts by it.
        super().__init__(LanguagePairDataset(sources, sources, words, targets, targets, words))
        self.pairs, self.max_tokens, self._lazy = pairs, max_tokens, lazy
        self._kept: dict[tuple[int, ...], list[dict[str, Any]]] = {}
        self._left = KEPT_BYTES

    def __getitem__(self, index: int) -> int:
        """The index itself: `collater` reads the pair, if its batch is not cached."""
        return int(index)

    def collater(self, samples: Sequence[int]) -> Any:
        """The parts of the batch of these indices, or a function that makes them."""
        lazy = self._lazy or processes.count() > 1
        return functools.partial(self.parts, samples) if lazy else self.parts(samples)

    def parts(self, samples: Sequence[int]) -> list[dict[str, Any]]:
        """The parts of the batch of these indices."""
        key = tuple(samples)
        if key in self._kept:
            return self._kept[key]
        batch = [self.pairs.collater([self.pairs[index] for index in part]) for part in self._parts(samples)]
        size = sum(map(_bytes, batch))
        if size <= self._left:
            self._left -= size
            self._kept[key] = batch
        return batch

    def _parts(self, samples: Sequence[int]) -> list[list[int]]:
        """Indices of each part: at most `max_tokens` with padding, or a single pair.

        By length, so that few parts have little padding.
        """
        lengths = np.array([self.pairs.num_tokens(index) for index in samples])
        if lengths.max() * len(samples) <= self.max_tokens:
            return [list(samples)]
        order = lengths.argsort(kind="stable")
        return [list(part) for part in bridge.cut(np.array(samples)[order], lengths[order], self.max_tokens)]


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    return sum(map(_bytes, value.values())) if isinstance(value, dict) else 0
