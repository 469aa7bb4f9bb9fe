"""Label-smoothed cross-entropy and the teacher's term at each token."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.criterions import register_criterion
from torch import Tensor

from nmtkd.distil.chunked_loss import Positions
from nmtkd.distil.token_loss import TeacherTerm, hardest, token_level
from nmtkd.plan.methods import Method
from nmtkd.training.criterions.cross_entropy import CrossEntropyConfig, CrossEntropyCriterion

CRITERION = "distillation"


@dataclass
class DistillationConfig(CrossEntropyConfig):
    """Options of cross-entropy, and of the teacher's term."""

    method: str = field(default="", metadata={"help": "plan.methods.Method as JSON"})
    temperature: float = field(default=1.0, metadata={"help": "T, at which the token targets were made"})


@register_criterion(CRITERION, dataclass=DistillationConfig)
class DistillationCriterion(CrossEntropyCriterion):
    """(1 - a) CE(y) + a T^2 D(p_T, q_T) in training; in validation the stock loss, no teacher, no penalty."""

    cfg: DistillationConfig

    def __init__(self, task: Any, cfg: DistillationConfig) -> None:
        super().__init__(task, cfg)
        self.method = Method.model_validate_json(cfg.method)
        self.term = TeacherTerm(method=self.method, temperature=cfg.temperature)

    def needs_no_logits(self, model: Any, sample: dict[str, Any]) -> bool:
        """Whether the chunked loss can compute this: ranking, hardest and full distributions need logits."""
        top_k = sample["teacher_ids"].size(-1) if self.method.teacher_weight > 0.0 else 0
        partial = top_k < model.decoder.output_projection.weight.size(0)
        return self.method.hardest is None and self.method.ranking is None and partial

    def positions(
        self, sample: dict[str, Any], places_N: Tensor | slice, share_N: Tensor, *, with_teacher: bool = True
    ) -> Positions:
        """Targets of the real positions of a batch; without `with_teacher` the labels alone."""
        weight = self.method.teacher_weight if with_teacher else 0.0
        # A sampled prefix has no labels.
        label = 0.0 if sample.get("sampled", False) else 1.0 - weight
        labelled = super().positions(sample, places_N, label * share_N)
        if weight == 0.0:
            return labelled
        ids_NK, probs_NK = (sample[name].flatten(0, 1)[places_N] for name in ("teacher_ids", "teacher_probs"))
        return replace(
            labelled, ids_NK=ids_NK, probs_NK=probs_NK, teacher_weight_N=weight * share_N, term=self.term
        )

    def compute_loss(
        self, model: Any, net_output: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Loss and negative log-likelihood, summed over tokens as in fairseq."""
        if not self.training or self.method.teacher_weight == 0.0:
            stock: tuple[Tensor, Tensor] = super().compute_loss(model, net_output, sample, reduce=reduce)
            return stock
        loss_N, nll_N = self.by_token(model, net_output, sample)
        return (loss_N.sum(), nll_N.sum()) if reduce else (loss_N, nll_N)

    def by_token(self, model: Any, net_output: Any, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Loss and negative log-likelihood of each position [N], 0 at padding.

        A sampled prefix has no labels: the loss is the teacher's term alone. `hardest` chooses among the
        tokens of `sample`, which is a part of a batch where a step computes several.
        """
        weight = self.method.teacher_weight
        ce_N, nll_N = (
            value.flatten() for value in super().compute_loss(model, net_output, sample, reduce=False)
        )
        padding_N = sample["target"].flatten().eq(self.padding_idx)
        ids_NK, probs_NK = sample["teacher_ids"].flatten(0, 1), sample["teacher_probs"].flatten(0, 1)
        term_N = token_level(net_output[0].flatten(0, 1), ids_NK, probs_NK, padding_N, self.term)
        # What a token without the teacher's term has, and one with it.
        without_N, with_N = ce_N, (1.0 - weight) * ce_N + weight * term_N
        if sample.get("sampled", False):
            without_N, with_N = torch.zeros_like(ce_N), weight * term_N
        if self.method.hardest is not None:
            with_N = torch.where(hardest(nll_N, padding_N, self.method.hardest), with_N, without_N)
        return with_N, nll_N
