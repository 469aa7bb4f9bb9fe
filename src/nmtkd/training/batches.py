"""A cache of collated batches: fairseq shuffles the same batches for each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset

# Size of the cache. It holds a corpus of some hundred thousand pairs; other batches are collated each time.
KEPT_BYTES = 2**29


class KeptBatches(BaseWrapperDataset):
    """`dataset` whose batches stay in memory once collated, up to KEPT_BYTES."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self._kept: dict[tuple[int, ...], dict[str, Any]] = {}
        self._left = KEPT_BYTES

    def __getitem__(self, index: int) -> int:
        """The index itself: `collater` reads the pair, if its batch is not cached."""
        return int(index)

    def collater(self, samples: Sequence[int]) -> dict[str, Any]:
        """The batch of these indices."""
        key = tuple(samples)
        if key in self._kept:
            return self._kept[key]
        batch: dict[str, Any] = self.dataset.collater([self.dataset[index] for index in samples])
        size = _bytes(batch)
        if size <= self._left:
            self._left -= size
            self._kept[key] = batch
        return batch


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    return sum(map(_bytes, value.values())) if isinstance(value, dict) else 0
