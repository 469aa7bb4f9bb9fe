"""Parallel datasets with what the teacher says: its distributions at each target position, its own translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset, data_utils

from nmtkd.distil.targets import TargetsError, TokenTargets


class TokenTargetsDataset(BaseWrapperDataset):
    """Adds teacher_ids and teacher_probs [B, T, K] to each batch of `pairs`; padding positions hold token 0 with probability 0."""

    def __init__(self, pairs: BaseWrapperDataset | LanguagePairDataset, targets: TokenTargets) -> None:
        super().__init__(pairs)
        self.pad = dictionary_of(pairs).pad()
        if len(pairs) != len(targets):
            raise TargetsError(
                f"{targets.folder}: {len(targets)} lines of token targets for {len(pairs)} training pairs; run the score stage again"
            )
        self.targets = targets

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """fairseq's batch, which it sorts by length; targets follow the same order by id."""
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
                    f"{self.targets.folder}: line {line + 1} has {len(rows[-1][0])} positions, the training target has {count}; "
                    "run the score stage again"
                )
        shape = (*real_BT.shape, self.targets.header.top_k)
        ids_BTK, probs_BTK = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
        # Padding stands at the ends of rows: the real positions of all rows, one after another, are the lines' own.
        ids_BTK[real_BT], probs_BTK[real_BT] = (torch.cat(side) for side in zip(*rows, strict=True))
        return {**batch, "teacher_ids": ids_BTK, "teacher_probs": probs_BTK}


class HypothesesDataset(BaseWrapperDataset):
    """Adds `hypothesis` to each batch: target and prev_output_tokens [B, T'] of the teacher's translations of the same lines."""

    def __init__(self, pairs: LanguagePairDataset, hypotheses: LanguagePairDataset) -> None:
        super().__init__(pairs)
        if len(pairs) != len(hypotheses):
            raise TargetsError(f"{len(hypotheses)} hypotheses for {len(pairs)} training pairs; run the decode stage again")
        self.hypotheses = hypotheses

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """fairseq's batch, which it sorts by length; hypotheses follow the same order by id."""
        batch: dict[str, Any] = self.dataset.collater(samples)
        if not batch:
            return batch
        lines = [self.hypotheses[line]["target"] for line in batch["id"].tolist()]
        words = dictionary_of(self.dataset)
        target, prefix = (
            data_utils.collate_tokens(lines, words.pad(), words.eos(), left_pad=False, move_eos_to_beginning=move) for move in (False, True)
        )
        return {**batch, "hypothesis": {"target": target, "prev_output_tokens": prefix}}


def dictionary_of(pairs: Any) -> Any:
    """The target dictionary of a dataset, however often it was wrapped."""
    while isinstance(pairs, BaseWrapperDataset):
        pairs = pairs.dataset
    return pairs.tgt_dict
