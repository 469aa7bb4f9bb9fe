"""Consistency regularisers, which make two views of a pair agree: for a stronger single teacher."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from torch import Tensor

from nmtkd.plan.models import Consistency

CONSISTENCY = "consistency_regularised_cross_entropy"


@dataclass
class ConsistencyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of the stock criterion and of the regulariser."""

    kind: str = field(default="rdrop", metadata={"help": "rdrop or simcut"})
    weight: float = field(default=0.0, metadata={"help": "alpha"})
    cutoff: float = field(
        default=0.0, metadata={"help": "share of tokens whose embeddings become zero in simcut's second view"}
    )


@register_criterion(CONSISTENCY, dataclass=ConsistencyConfig)
class ConsistencyCriterion(LabelSmoothedCrossEntropyCriterion):
    """The stock loss plus a consistency term; in validation the stock loss alone.

    rdrop: the mean CE of two dropout masks + alpha / 2 * (KL(1 || 2) + KL(2 || 1)) / 2. This is half of Liang
    et al. (2021), which keeps the size of CE. simcut: CE + alpha KL(uncut || cut) (Gao et al. 2022).
    """

    def __init__(self, task: Any, cfg: ConsistencyConfig) -> None:
        super().__init__(
            task, cfg.sentence_avg, cfg.label_smoothing, cfg.ignore_prefix_size, cfg.report_accuracy
        )
        self.cfg = cfg

    @classmethod
    def build_criterion(cls, cfg: ConsistencyConfig, task: Any) -> "ConsistencyCriterion":
        """The criterion of a fairseq configuration."""
        return cls(task, cfg)

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's (summed loss, sample size, log)."""
        if not self.training:
            stock: tuple[Tensor, int, dict[str, Any]] = super().forward(model, sample, reduce=reduce)
            return stock
        first = model(**sample["net_input"])
        loss, nll = self.compute_loss(model, first, sample)
        with cut_off(model, self.cfg.cutoff if self.cfg.kind == "simcut" else 0.0):
            second = model(**sample["net_input"])
        p, q = (model.get_normalized_probs(output, log_probs=True) for output in (first, second))
        real_BT1 = sample["target"].ne(self.padding_idx).unsqueeze(-1)
        if self.cfg.kind == "simcut":
            loss = loss + self.cfg.weight * kl(p, q, real_BT1)
        else:
            loss = 0.5 * (loss + self.compute_loss(model, second, sample)[0])
            loss = loss + 0.5 * self.cfg.weight * 0.5 * (kl(p, q, real_BT1) + kl(q, p, real_BT1))
        size = sample["ntokens"]
        log = {
            "loss": loss.data,
            "nll_loss": nll.data,
            "ntokens": size,
            "nsentences": len(sample["target"]),
            "sample_size": size,
        }
        return loss, size, log


def kl(logp_BTV: Tensor, logq_BTV: Tensor, real_BT1: Tensor) -> Tensor:
    """KL(p || q), summed over real positions. Gradients flow through both."""
    return ((logp_BTV.exp() * (logp_BTV - logq_BTV)) * real_BT1).sum()


@contextmanager
def cut_off(model: Any, share: float) -> Iterator[None]:
    """Within it, each token's embedding is zeroed with probability `share`, on both sides."""
    if share == 0.0:
        yield
        return

    def zero_out(_: Any, __: Any, embedded_BTC: Tensor) -> Tensor:
        return embedded_BTC * (
            torch.rand(embedded_BTC.shape[:-1], device=embedded_BTC.device) >= share
        ).unsqueeze(-1)

    tables = {id(table): table for table in (model.encoder.embed_tokens, model.decoder.embed_tokens)}
    hooks = [table.register_forward_hook(zero_out) for table in tables.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def regularise(consistency: Consistency) -> Callable[[Any], None]:
    """A function that sets this criterion in fairseq's configuration."""

    def adapt(cfg: Any) -> None:
        cfg.criterion._name, cfg.criterion.kind = CONSISTENCY, consistency.kind
        cfg.criterion.weight, cfg.criterion.cutoff = consistency.weight, consistency.cutoff or 0.0

    return adapt
