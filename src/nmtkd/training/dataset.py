"""Parallel data sets with the teacher's output: soft targets at each target position, or translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset, data_utils

from nmtkd.distil.targets import TargetsError, TokenTargets


class TokenTargetsDataset(BaseWrapperDataset):
    """Adds teacher_ids and teacher_probs [B, T, K] to each batch of `pairs`.

    Padding positions hold token 0 with probability 0. Raises TargetsError where lines or positions differ in
    number.
    """

    def __init__(self, pairs: BaseWrapperDataset | LanguagePairDataset, targets: TokenTargets) -> None:
        super().__init__(pairs)
        self.pad = dictionary_of(pairs).pad()
        if len(pairs) != len(targets):
            raise TargetsError(
                f"{targets.folder}: {len(targets)} lines of token targets for {len(pairs)} training pairs; "
                "run the targets stage again"
            )
        self.targets = targets

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """fairseq's batch, which is sorted by length. Targets are looked up by id."""
        batch: dict[str, Any] = self.dataset.collater(samples)
        if not batch:
            return batch
        real_BT = batch["target"].ne(self.pad)
        rows = []
        positions = real_BT.sum(1).tolist()
        for line, count in zip(batch["id"].tolist(), positions, strict=True):
            rows.append(self.targets[line])
            if len(rows[-1][0]) != count:
                raise TargetsError(
                    f"{self.targets.folder}: line {line + 1} has {len(rows[-1][0])} positions, "
                    f"the training target has {count}; run the targets stage again"
                )
        shape = (*real_BT.shape, self.targets.header.top_k)
        ids_BTK, probs_BTK = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
        # Padding is at the ends of rows: the real positions in row order are those of the concatenated lines.
        ids_BTK[real_BT], probs_BTK[real_BT] = (torch.cat(lines) for lines in zip(*rows, strict=True))
        return {**batch, "teacher_ids": ids_BTK, "teacher_probs": probs_BTK}


class HypothesesDataset(BaseWrapperDataset):
    """Adds `hypothesis` to each batch: target and prev_output_tokens [B, T'] of the teacher's translation."""

    def __init__(self, pairs: LanguagePairDataset, hypotheses: LanguagePairDataset) -> None:
        super().__init__(pairs)
        if len(pairs) != len(hypotheses):
            raise TargetsError(
                f"{len(hypotheses)} hypotheses for {len(pairs)} training pairs; run the decode stage again"
            )
        self.hypotheses = hypotheses

    def num_tokens(self, index: int) -> int:
        """Tokens of the longest text of a pair, which bounds the memory of a batch."""
        return int(max(self.dataset.num_tokens(index), self.hypotheses.num_tokens(index)))

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """fairseq's batch, which is sorted by length. Hypotheses are looked up by id."""
        batch: dict[str, Any] = self.dataset.collater(samples)
        if not batch:
            return batch
        lines = [self.hypotheses[line]["target"] for line in batch["id"].tolist()]
        words = dictionary_of(self.dataset)
        target, prefix = (
            data_utils.collate_tokens(
                lines, words.pad(), words.eos(), left_pad=False, move_eos_to_beginning=move
            )
            for move in (False, True)
        )
        return {**batch, "hypothesis": {"target": target, "prev_output_tokens": prefix}}


def dictionary_of(pairs: Any) -> Any:
    """The target dictionary of a data set, wrapped or not."""
    while isinstance(pairs, BaseWrapperDataset):
        pairs = pairs.dataset
    return pairs.tgt_dict
