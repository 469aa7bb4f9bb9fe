"""A parallel dataset with the teacher's distributions at each target position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from nmtkd.distil.targets import TargetsError, TokenTargets


class TokenTargetsDataset(BaseWrapperDataset):
    """Adds teacher_ids and teacher_probs [B, T, K] to each batch of `pairs`; padding positions hold token 0 with probability 0."""

    def __init__(self, pairs: LanguagePairDataset, targets: TokenTargets) -> None:
        super().__init__(pairs)
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
        size, length = batch["target"].shape
        shape = (size, length, self.targets.header.top_k)
        ids_BTK = torch.zeros(shape, dtype=torch.int64)
        probs_BTK = torch.zeros(shape)
        positions = batch["target"].ne(self.dataset.tgt_dict.pad()).sum(1).tolist()
        for row, (line, count) in enumerate(zip(batch["id"].tolist(), positions, strict=True)):
            ids_TK, probs_TK = self.targets[line]
            if len(ids_TK) != count:
                raise TargetsError(
                    f"{self.targets.folder}: line {line + 1} has {len(ids_TK)} positions, the training target has {count}; "
                    "run the score stage again"
                )
            ids_BTK[row, :count] = ids_TK
            probs_BTK[row, :count] = probs_TK
        return {**batch, "teacher_ids": ids_BTK, "teacher_probs": probs_BTK}
