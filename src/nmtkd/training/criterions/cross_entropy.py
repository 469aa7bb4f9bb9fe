"""Label-smoothed cross-entropy by the chunked loss, with the budget penalty of gated units."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from torch import Tensor

from nmtkd import processes
from nmtkd.distil.chunked_loss import ChunkedLoss, Positions, chunked_loss
from nmtkd.network import transformer
from nmtkd.network.gated import blocks, open_units
from nmtkd.network.precision import exact
from nmtkd.network.unit_gates import Openness, budget_penalty
from nmtkd.plan.models import UnitGates
from nmtkd.training.packing import PackedBatch

CRITERION = "chunked_cross_entropy"
LOGGED = ("gate", "openness")  # logged as means over sentences


@dataclass
class CrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of the stock criterion, and the gates of the architecture."""

    unit_gates: str = field(
        default="", metadata={"help": "plan.models.UnitGates as JSON; empty for a model without gates"}
    )


@register_criterion(CRITERION, dataclass=CrossEntropyConfig)
class CrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """The stock loss in training and validation. In training, a gated model's budget penalty is added."""

    num_updates = 0  # set before each step
    loss_scale = 1.0  # by which a step multiplies the loss
    one_pass = True  # whether the loss is of one decoder pass, along the batch's own prefixes
    _seen: list[Openness] | None = None  # of parts, while the whole is looked at
    _whole: Openness | None = None  # of the batch of which a step computes parts

    def __init__(self, task: Any, cfg: CrossEntropyConfig) -> None:
        super().__init__(
            task, cfg.sentence_avg, cfg.label_smoothing, cfg.ignore_prefix_size, cfg.report_accuracy
        )
        self.cfg = cfg
        self.unit_gates = UnitGates.model_validate_json(cfg.unit_gates) if cfg.unit_gates else None

    @classmethod
    def build_criterion(cls, cfg: CrossEntropyConfig, task: Any) -> "CrossEntropyCriterion":
        """The criterion of a fairseq configuration."""
        return cls(task, cfg)

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's (summed loss, sample size, log)."""
        if self.fast(model):
            features_BTC = transformer.features(model, **sample["net_input"])
            if self.needs_no_logits(model, sample):
                chunked = self.chunked(model, features_BTC, sample)
                loss, nll = chunked.total, chunked.nll_N.sum()
            else:
                loss, nll = self.compute_loss(model, (model.decoder.output_layer(features_BTC), None), sample)
            log = self.log(sample, loss, nll)
            size = log["sample_size"]
        else:
            loss, size, log = super().forward(model, sample, reduce=reduce)
        return self.within_budget(model, sample, sample["target"], loss, size, log)

    def fast(self, model: Any) -> bool:
        """Whether a training step may use the faster forward pass of network/transformer.py."""
        return (
            self.training
            and self.ignore_prefix_size == 0
            and not self.report_accuracy
            and transformer.fits(model)
        )

    def needs_no_logits(self, model: Any, sample: dict[str, Any]) -> bool:
        """Whether the chunked loss can compute this loss."""
        return True

    def chunked(
        self,
        model: Any,
        features_BTC: Tensor,
        sample: dict[str, Any],
        *,
        share_B: Tensor | None = None,
        **positions: Any,
    ) -> ChunkedLoss:
        """The chunked loss of a batch from the decoder's features. `share` holds weights of sentences [B]."""
        target_BT = sample["target"]
        places_N = target_BT.flatten().ne(self.padding_idx).nonzero().squeeze(-1)
        features_NC = features_BTC.flatten(0, 1).index_select(0, places_N)
        ones = features_NC.new_ones(len(places_N), dtype=exact(features_NC.dtype))
        share_N = ones if share_B is None else share_B[places_N // target_BT.size(1)]
        weighted = self.positions(sample, places_N, share_N, **positions)
        output_VC = model.decoder.output_projection.weight
        return chunked_loss(features_NC, output_VC, weighted, self.loss_scale)

    def packs(self, model: Any, sample: dict[str, Any]) -> bool:
        """Whether `packed` can compute a batch's loss."""
        simple = self.one_pass and self.unit_gates is None and not self.sentence_avg
        return (
            simple and self.fast(model) and transformer.packs(model) and self.needs_no_logits(model, sample)
        )

    def packed(self, model: Any, batch: PackedBatch) -> Tensor:
        """The loss of a packed batch, summed over tokens."""
        features_NC = transformer.packed_features(model, *batch.texts())
        real_N = batch.real_N().to(exact(features_NC.dtype))
        weighted = self.positions(batch.sample(), slice(None), real_N)
        return chunked_loss(features_NC, model.decoder.output_projection.weight, weighted).total

    def positions(self, sample: dict[str, Any], places_N: Tensor | slice, share_N: Tensor) -> Positions:
        """Targets of the real positions of a batch: the labels, with the weights of their sentences."""
        target_N = sample["target"].flatten()[places_N]
        return Positions(target_N=target_N, label_weight_N=share_N, smoothing=self.eps)

    def log(self, sample: dict[str, Any], loss: Tensor, nll: Tensor) -> dict[str, Any]:
        """The log of the stock criterion."""
        sentences, tokens = sample["target"].size(0), sample["ntokens"]
        size = sentences if self.sentence_avg else tokens
        return {
            "loss": loss.data,
            "nll_loss": nll.data,
            "ntokens": tokens,
            "nsentences": sentences,
            "sample_size": size,
        }

    @contextmanager
    def looking_ahead(self, several: bool) -> Iterator[bool]:
        """Sees what the loss of one of `several` parts takes from all of them, which pass within it.

        That is how open gated units are: the budget penalty is no sum over sentences. False where no loss
        takes anything, and parts need not pass.
        """
        self._whole = self._seen = None
        gates = self.unit_gates
        if not several or gates is None or self.num_updates >= gates.closing:
            yield False
            return
        self._seen = []
        yield True
        device = torch.device(self._seen[0].open_LU[0].device) if self._seen else None
        seen = [part.to("cpu") for part in self._seen] if processes.count() > 1 else self._seen
        whole = Openness.of([part for parts in processes.gather(seen) for part in parts])
        self._whole, self._seen = whole.to(device) if device else whole, None

    def within_budget(
        self,
        model: Any,
        sample: dict[str, Any],
        target_BT: Tensor,
        loss: Tensor,
        size: int,
        log: dict[str, Any],
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Adds the budget penalty in training. `target` is that of the model's last decoder pass.

        Units close at update `closing`; the penalty applies before it only.
        """
        gates = self.unit_gates
        if not self.training or gates is None:
            return loss, size, log
        padding = {
            "encoder": sample["net_input"]["src_tokens"].eq(self.padding_idx),
            "decoder": target_BT.eq(self.padding_idx),
        }
        open_LU = open_units(model, *padding.values())
        if self._seen is not None or self._whole is not None:
            positions_L = [int((~padding[side]).sum()) for side, _ in blocks(model)]
            part = Openness(open_LU, positions_L, size)
            if self._seen is not None:
                self._seen.append(part)
            else:
                assert self._whole is not None
                open_LU = self._whole.through(part)
        progress = self.num_updates / gates.closing
        if progress < 1.0:
            loss = loss + size * gates.weight * budget_penalty(
                open_LU, gates.budget, progress * gates.polarity
            )
        opened = float(torch.cat(open_LU).mean().detach()) * log["nsentences"]
        return loss, size, {**log, "loss": loss.data, "openness": opened}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """The stock metrics, and the means of LOGGED."""
        super().reduce_metrics(logging_outputs)
        for name in LOGGED:
            logs = [log for log in logging_outputs if name in log]
            if logs:
                sentences = sum(log["nsentences"] for log in logs)
                metrics.log_scalar(name, sum(log[name] for log in logs) / sentences, sentences)


def use_chunked_cross_entropy(cfg: Any) -> None:
    """Sets this criterion in fairseq's configuration."""
    cfg.criterion._name = CRITERION
