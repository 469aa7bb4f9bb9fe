"""nmtkd.training.dataset: batches in which the teacher's words follow their lines."""

from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset

from nmtkd.distil.targets import TargetsError
from nmtkd.training.dataset import HypothesesDataset, TokenTargetsDataset
from tests.unit.training.four_words import LENGTHS, SOURCES, TOP_K, encode, pairs, rows, write_targets


def test_targets_follow_their_lines_into_a_batch(dictionary: Dictionary, tmp_path: Path) -> None:
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t"))
    batch = dataset.collater([dataset[index] for index in (1, 0, 2)])
    assert batch["id"].tolist() == [0, 2, 1]
    assert batch["teacher_ids"].shape == batch["teacher_probs"].shape == (3, 5, TOP_K)
    for row, line in enumerate([0, 2, 1]):
        ids, probs = rows(line, LENGTHS[line])
        assert torch.equal(batch["teacher_ids"][row, : LENGTHS[line]], ids)
        assert torch.equal(batch["teacher_probs"][row, : LENGTHS[line]], probs)
        assert batch["teacher_probs"][row, LENGTHS[line] :].eq(0).all()
        assert batch["teacher_ids"][row, LENGTHS[line] :].eq(0).all()
        assert batch["target"][row].ne(dictionary.pad()).sum() == LENGTHS[line]
    stock = pairs(dictionary).collater([dataset[index] for index in (1, 0, 2)])
    assert stock.keys() | {"teacher_ids", "teacher_probs"} == batch.keys()
    assert torch.equal(stock["target"], batch["target"])
    assert stock["ntokens"] == batch["ntokens"] == 9
    assert not dataset.collater([])  # an empty batch stays empty


def test_token_targets_dataset_refuses_targets_of_other_lines(dictionary: Dictionary, tmp_path: Path) -> None:
    with pytest.raises(
        TargetsError, match="2 lines of token targets for 3 training pairs; run the targets stage again"
    ):
        TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t", [2, 5]))
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "u", [2, 4, 3]))
    with pytest.raises(
        TargetsError, match="line 2 has 4 positions, the training target has 5; run the targets stage again"
    ):
        dataset.collater([dataset[1]])


def test_hypotheses_follow_their_lines_into_a_batch(dictionary: Dictionary, tmp_path: Path) -> None:
    said = LanguagePairDataset(
        *encode(dictionary, SOURCES),
        dictionary,
        *encode(dictionary, ["d d", "a", ""]),
        dictionary,
        shuffle=False,
    )
    dataset = TokenTargetsDataset(HypothesesDataset(pairs(dictionary), said), write_targets(tmp_path / "t"))
    found = dataset.collater([dataset[index] for index in (1, 0, 2)])
    a, d, eos, pad = dictionary.index("a"), dictionary.index("d"), dictionary.eos(), dictionary.pad()
    assert found["id"].tolist() == [0, 2, 1]
    assert found["hypothesis"]["target"].tolist() == [[d, d, eos], [eos, pad, pad], [a, eos, pad]]
    assert found["hypothesis"]["prev_output_tokens"].tolist() == [[eos, d, d], [eos, pad, pad], [eos, a, pad]]
    assert torch.equal(
        found["target"], pairs(dictionary).collater([dataset[index] for index in (1, 0, 2)])["target"]
    )
    assert torch.equal(found["teacher_ids"][2], rows(1, 5)[0])
    assert not dataset.collater([])
    few = LanguagePairDataset(
        *encode(dictionary, SOURCES[:2]), dictionary, *encode(dictionary, ["d", "a"]), dictionary
    )
    with pytest.raises(TargetsError, match="2 hypotheses for 3 training pairs; run the decode stage again"):
        HypothesesDataset(pairs(dictionary), few)
