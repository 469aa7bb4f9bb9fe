"""Batches that are put together once: fairseq draws a new order of the same batches for each pass over the training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset

KEPT_BYTES = 2**29  # of batches: all of a corpus of some hundred thousand pairs; a larger one puts the others together anew


class KeptBatches(BaseWrapperDataset):
    """`dataset`, whose batches stay in memory from the first time on, as many as KEPT_BYTES hold."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self._kept: dict[tuple[int, ...], dict[str, Any]] = {}
        self._left = KEPT_BYTES

    def __getitem__(self, index: int) -> int:
        """The index itself: `collater` fetches what it names, where it must."""
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
