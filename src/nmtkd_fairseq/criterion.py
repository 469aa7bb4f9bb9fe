"""Label-smoothed cross-entropy and word-level distillation from token targets, in one criterion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from torch import Tensor

from nmtkd.distil.losses import word_level

CRITERION = "word_level_distillation"


@dataclass
class WordLevelConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The stock criterion's options and the teacher's share."""

    teacher_weight: float = field(default=0.0, metadata={"help": "a in (1 - a) CE + a T^2 KL(teacher || student)"})
    temperature: float = field(default=1.0, metadata={"help": "T, at which the token targets were made"})


@register_criterion(CRITERION, dataclass=WordLevelConfig)
class WordLevelCriterion(LabelSmoothedCrossEntropyCriterion):
    """(1 - a) CE(y) + a T^2 KL(p_T || q_T) in training; the stock loss, without the teacher, in validation and where a = 0."""

    def __init__(
        self, task: Any, sentence_avg: bool, label_smoothing: float, teacher_weight: float, temperature: float, **kwargs: Any
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, **kwargs)
        self.teacher_weight = teacher_weight
        self.temperature = temperature

    @classmethod
    def build_criterion(cls, cfg: WordLevelConfig, task: Any) -> WordLevelCriterion:
        """From fairseq's configuration."""
        return cls(task, cfg.sentence_avg, cfg.label_smoothing, cfg.teacher_weight, cfg.temperature)

    def compute_loss(self, model: Any, net_output: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Tensor]:
        """Summed over tokens, as in fairseq; the second value is the negative log-likelihood."""
        loss, nll = super().compute_loss(model, net_output, sample, reduce=reduce)
        if not self.training or self.teacher_weight == 0.0:
            return loss, nll
        logits_NV = net_output[0].flatten(0, 1)
        padding_N = sample["target"].flatten().eq(self.padding_idx)
        ids_NK, probs_NK = sample["teacher_ids"].flatten(0, 1), sample["teacher_probs"].flatten(0, 1)
        kl = word_level(logits_NV, ids_NK, probs_NK, padding_N, self.temperature)
        if not torch.is_grad_enabled():  # fairseq's dummy batches
            kl = kl.detach()
        return (1.0 - self.teacher_weight) * loss + self.teacher_weight * kl, nll
