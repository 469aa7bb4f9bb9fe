"""Label-smoothed cross-entropy and the teacher's term at each token, in one criterion; the budget of gated capacity on top of either."""

# No `from __future__ import annotations` here: fairseq reads the types of options from dataclass fields, and text is no type.
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from torch import Tensor

from nmtkd import transformer
from nmtkd.distil import fused
from nmtkd.distil.gates import budget_penalty
from nmtkd.distil.losses import Term, hardest, token_level
from nmtkd_fairseq.gated import open_units

CRITERION = "distillation"
LOGGED = ("gate", "openness")  # means over sentences, in the trainer's log


@dataclass
class DistillationConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The stock criterion's options, and how the teacher and the budget enter."""

    teacher_weight: float = field(default=0.0, metadata={"help": "a in (1 - a) CE + a T^2 D(teacher, student)"})
    temperature: float = field(default=1.0, metadata={"help": "T, at which the token targets were made"})
    divergence: str = field(default="forward_kl", metadata={"help": "forward_kl, reverse_kl, jensen_shannon or total_variation"})
    beta: float = field(default=0.5, metadata={"help": "of jensen_shannon"})
    hardest: float = field(default=1.0, metadata={"help": "share of a batch's tokens, the least likely ones, that learn from the teacher"})
    ranking: float = field(default=0.0, metadata={"help": "weight of the ranking hinge beside the divergence"})
    ranked: int = field(default=0, metadata={"help": "the student's best tokens that the hinge looks at"})
    budget: float = field(default=0.0, metadata={"help": "mean openness of gated units; 0 for a model without gates"})
    budget_weight: float = field(default=0.0, metadata={"help": "weight of the budget's penalty beside the loss a token"})
    polarity: float = field(default=0.0, metadata={"help": "how much a unit must choose between open and closed, at `closing`"})
    closing: int = field(default=0, metadata={"help": "the update at which polarity is reached, and from which on none of this is paid"})


@register_criterion(CRITERION, dataclass=DistillationConfig)
class DistillationCriterion(LabelSmoothedCrossEntropyCriterion):
    """(1 - a) CE(y) + a T^2 D(p_T, q_T) in training; the stock loss, without teacher and budget, in validation and where both are 0."""

    num_updates = 0  # where training stands: the task says so before each step

    def __init__(self, task: Any, cfg: DistillationConfig) -> None:
        super().__init__(task, cfg.sentence_avg, cfg.label_smoothing, cfg.ignore_prefix_size, cfg.report_accuracy)
        self.cfg = cfg
        self.term = Term(temperature=cfg.temperature, divergence=cfg.divergence, beta=cfg.beta, ranking=cfg.ranking, ranked=cfg.ranked)

    @classmethod
    def build_criterion(cls, cfg: DistillationConfig, task: Any) -> "DistillationCriterion":
        """From fairseq's configuration."""
        return cls(task, cfg)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's triple: summed loss, its denominator, what to log."""
        if self.fast(model):
            features_BTC = transformer.features(model, **sample["net_input"])
            if self.needs_no_logits(model, sample):
                paid = self.pay(model, features_BTC, sample)
                loss, nll = paid.total, paid.nll_N.sum()
            else:
                loss, nll = self.compute_loss(model, (model.decoder.output_layer(features_BTC), None), sample)
            log = self.log(sample, loss, nll)
            size = log["sample_size"]
        else:
            loss, size, log = super().forward(model, sample, reduce=reduce)
        return self.within_budget(model, sample, sample["target"], loss, size, log)

    def fast(self, model: Any) -> bool:
        """Whether a training step may leave out what the stock forward pass does beyond the loss."""
        return self.training and self.ignore_prefix_size == 0 and not self.report_accuracy and transformer.fits(model)

    def needs_no_logits(self, model: Any, sample: dict[str, Any]) -> bool:
        """Whether this loss is one that needs no logits."""
        kept = sample["teacher_ids"].size(-1) if self.cfg.teacher_weight > 0.0 else 0
        return self.cfg.hardest == 1.0 and fused.fits(self.term, kept, model.decoder.output_projection.weight.size(0))

    def log(self, sample: dict[str, Any], loss: Tensor, nll: Tensor) -> dict[str, Any]:
        """What the stock criterion logs."""
        sentences, tokens = sample["target"].size(0), sample["ntokens"]
        size = sentences if self.sentence_avg else tokens
        return {"loss": loss.data, "nll_loss": nll.data, "ntokens": tokens, "nsentences": sentences, "sample_size": size}

    def pay(
        self, model: Any, features_BTC: Tensor, sample: dict[str, Any], *, share_B: Tensor | None = None, taught: bool = True
    ) -> fused.Paid:
        """The loss of a batch from the decoder's features; `share` weighs its sentences, without `taught` the teacher says nothing."""
        weight = self.cfg.teacher_weight if taught else 0.0
        target_BT = sample["target"]
        places_N = target_BT.flatten().ne(self.padding_idx).nonzero().squeeze(-1)
        features_NC = features_BTC.flatten(0, 1).index_select(0, places_N)
        share_N = features_NC.new_ones(()).expand(len(places_N)) if share_B is None else share_B[places_N // target_BT.size(1)]
        label = 0.0 if sample.get("sampled", False) else 1.0 - weight  # along a sampled prefix there is no label
        lesson = fused.Lesson(target_N=target_BT.flatten()[places_N], label_N=label * share_N, smoothing=self.eps)
        if weight > 0.0:
            ids_NK, probs_NK = (sample[name].flatten(0, 1)[places_N] for name in ("teacher_ids", "teacher_probs"))
            lesson = replace(lesson, ids_NK=ids_NK, probs_NK=probs_NK, taught_N=weight * share_N, term=self.term)
        return fused.pay(features_NC, model.decoder.output_projection.weight, lesson)

    def within_budget(
        self, model: Any, sample: dict[str, Any], target_BT: Tensor, loss: Tensor, size: int, log: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Adds the budget's penalty in training. `target` is the one of the model's last decoder pass."""
        if not self.training or self.cfg.budget == 0.0:
            return loss, size, log
        padding = sample["net_input"]["src_tokens"].eq(self.padding_idx), target_BT.eq(self.padding_idx)
        open_LU = open_units(model, *padding)
        done = self.num_updates / self.cfg.closing
        if done < 1.0:
            loss = loss + size * self.cfg.budget_weight * budget_penalty(open_LU, self.cfg.budget, done * self.cfg.polarity)
        opened = float(torch.cat(open_LU).mean().detach()) * log["nsentences"]
        return loss, size, {**log, "loss": loss.data, "openness": opened}

    def compute_loss(self, model: Any, net_output: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Tensor]:
        """Summed over tokens, as in fairseq; the second value is the negative log-likelihood."""
        if not self.training or self.cfg.teacher_weight == 0.0:
            found: tuple[Tensor, Tensor] = super().compute_loss(model, net_output, sample, reduce=reduce)
            return found
        paid_N, nll_N = self.by_token(model, net_output, sample)
        return (paid_N.sum(), nll_N.sum()) if reduce else (paid_N, nll_N)

    def by_token(self, model: Any, net_output: Any, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Loss and negative log-likelihood of each position [N], 0 at padding. Along a sampled prefix there is no label: the term alone."""
        ce_N, nll_N = (value.flatten() for value in super().compute_loss(model, net_output, sample, reduce=False))
        padding_N = sample["target"].flatten().eq(self.padding_idx)
        ids_NK, probs_NK = sample["teacher_ids"].flatten(0, 1), sample["teacher_probs"].flatten(0, 1)
        term_N = token_level(net_output[0].flatten(0, 1), ids_NK, probs_NK, padding_N, self.term)
        if sample.get("sampled", False):
            return self.cfg.teacher_weight * term_N, nll_N
        taught_N = (1.0 - self.cfg.teacher_weight) * ce_N + self.cfg.teacher_weight * term_N
        if self.cfg.hardest < 1.0:
            taught_N = torch.where(hardest(nll_N, padding_N, self.cfg.hardest), taught_N, ce_N)
        return taught_N, nll_N

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """The stock log, and the means of gates."""
        super().reduce_metrics(logging_outputs)
        for name in LOGGED:
            found = [log for log in logging_outputs if name in log]
            if found:
                sentences = sum(log["nsentences"] for log in found)
                metrics.log_scalar(name, sum(log[name] for log in found) / sentences, sentences)
