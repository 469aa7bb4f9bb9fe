"""nmtkd.training.batches: batches that are kept."""

from typing import Any

import pytest
import torch

from nmtkd.training.batches import KeptBatches


class Counted:
    """A dataset that counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        return 10 * index

    def __len__(self) -> int:
        return 4

    def collater(self, samples: list[int]) -> dict[str, Any]:
        return {"net_input": {"a": torch.tensor(samples)}}


def test_kept_batches_are_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmtkd.training.batches.KEPT_BYTES", 2 * 8)
    counted = Counted()
    kept = KeptBatches(counted)
    for _ in range(2):
        assert kept.collater([kept[2], kept[1]])["net_input"]["a"].tolist() == [20, 10]
        assert kept.collater([kept[3]])["net_input"]["a"].tolist() == [30]
    assert counted.asked == [2, 1, 3, 3]  # the second batch would not fit any more
