"""nmtkd.training.batches: batches cut by other lengths than the pairs' own, in parts, and kept."""

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset

from nmtkd.training.batches import EqualBatches
from nmtkd.training.dataset import HypothesesDataset

LENGTHS = np.array([[3, 4], [2, 2], [5, 2], [2, 6]])  # of the text that batches are cut by


class Counted(LanguagePairDataset):
    """Pairs that count what is asked of them."""

    def __init__(self, dictionary: Dictionary, sizes: list[int]) -> None:
        lines = [torch.full((size,), dictionary.index("a")) for size in sizes]
        super().__init__(lines, sizes, dictionary, lines, sizes, dictionary, shuffle=False)
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> object:
        self.asked.append(index)
        return super().__getitem__(index)


def test_fairseq_orders_and_cuts_by_the_given_lengths(dictionary: Dictionary) -> None:
    """By source, then by target. The pairs' own lengths would do the reverse."""
    batches = EqualBatches(Counted(dictionary, [4, 3, 2, 1]), LENGTHS, 12)
    ordered = batches.ordered_indices()
    assert ordered.tolist() == [1, 3, 0, 2]
    assert [list(one) for one in batches.batch_by_size(ordered, max_tokens=12)] == [[1, 3], [0, 2]]
    kept, _ = batches.filter_indices_by_size(ordered, (5, 6))
    assert kept.tolist() == ordered.tolist() and batches.sizes.tolist() == LENGTHS.tolist()
    assert [batches.num_tokens(index) for index in range(4)] == [4, 2, 5, 6]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([3, 3, 3, 3], [[0, 1, 2, 3]]),
        ([1, 9, 2, 2], [[0, 2, 3], [1]]),
        ([4, 4, 4, 4], [[0, 1, 2], [3]]),
        ([40, 2, 2, 41], [[1, 2], [0], [3]]),
        ([3, 2, 1, 4], [[2, 1, 0], [3]]),
    ],
)
def test_batch_is_in_parts_that_fit(dictionary: Dictionary, sizes: list[int], parts: list[list[int]]) -> None:
    """At most twelve tokens with padding, or one line. Equal lines stay in their order."""
    batches = EqualBatches(Counted(dictionary, sizes), LENGTHS, 12)
    found = batches.collater([batches[index] for index in range(4)])
    assert [sorted(part["id"].tolist()) for part in found] == [sorted(part) for part in parts]
    for part in found:
        assert part["target"].numel() <= 12 or len(part["target"]) == 1
        assert part["ntokens"] == sum(sizes[index] for index in part["id"].tolist())


def test_hypotheses_count_for_the_size_of_a_part(dictionary: Dictionary) -> None:
    pairs = HypothesesDataset(Counted(dictionary, [2] * 4), Counted(dictionary, [2, 9, 2, 2]))
    found = EqualBatches(pairs, LENGTHS, 12).collater(range(4))
    assert [sorted(part["id"].tolist()) for part in found] == [[0, 2, 3], [1]]
    assert [part["hypothesis"]["target"].shape for part in found] == [(3, 2), (1, 9)]


def test_kept_batches_are_put_together_once(dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(dictionary, [1, 1, 1, 1])
    batches = EqualBatches(counted, LENGTHS, 12)
    size = sum(
        value.nbytes
        for part in batches.collater([2, 1])
        for value in (part["id"], part["target"], *part["net_input"].values())
    )
    counted.asked.clear()
    monkeypatch.setattr("nmtkd.training.batches.KEPT_BYTES", size)
    batches = EqualBatches(counted, LENGTHS, 12)
    for _ in range(2):
        assert sorted(batches.collater([batches[2], batches[1]])[0]["id"].tolist()) == [1, 2]
        assert batches.collater([batches[3]])[0]["id"].tolist() == [3]
    assert counted.asked == [2, 1, 3, 3]  # the second batch would not fit any more
