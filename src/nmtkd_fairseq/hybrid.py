"""Hybrid distillation: for each sentence x, g(x) L_word(gold) + (1 - g(x)) L_seq(hypothesis) (arXiv 2404.14827), in two decoder passes."""

# No `from __future__ import annotations` here: fairseq reads the types of options from dataclass fields, and text is no type.
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor

from nmtkd.distil.gates import SentenceGate, hybrid
from nmtkd_fairseq.criterion import DistillationConfig, DistillationCriterion

HYBRID = "hybrid_distillation"
LEARNED = -1.0  # in the place of a fixed gate's value


@dataclass
class HybridConfig(DistillationConfig):
    """The token level's options, and the gate."""

    gate: float = field(default=LEARNED, metadata={"help": "g for every sentence; below 0 it is learnt from the encoder's output"})
    width: int = field(default=0, metadata={"help": "of the encoder's output, for a learned gate"})


@register_criterion(HYBRID, dataclass=HybridConfig)
class HybridCriterion(DistillationCriterion):
    """Sums over tokens within a sentence, then the gate; divided by the gold tokens of the batch, as every other loss here."""

    cfg: HybridConfig

    def __init__(self, task: Any, cfg: HybridConfig) -> None:
        super().__init__(task, cfg)
        self.gate = SentenceGate(cfg.width) if cfg.gate < 0.0 else None

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's triple; in validation the stock loss on gold text."""
        if not self.training:
            return super().forward(model, sample, reduce=reduce)
        inputs = sample["net_input"]
        encoded = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
        gold, taught = sample, sample["hypothesis"]
        outputs = [
            model.decoder(prefix, encoder_out=encoded, src_lengths=inputs["src_lengths"])
            for prefix in (inputs["prev_output_tokens"], taught["prev_output_tokens"])
        ]
        word_N, nll_N = self.by_token(model, outputs[0], gold)
        seq_N, _ = LabelSmoothedCrossEntropyCriterion.compute_loss(self, model, outputs[1], taught, reduce=False)
        sentences = len(gold["target"])
        word_B, seq_B = word_N.view(sentences, -1).sum(1), seq_N.view(sentences, -1).sum(1)
        if self.gate is None:
            gate_B = word_B.new_full((sentences,), self.cfg.gate)
        else:
            gate_B = self.gate(encoded["encoder_out"][0], inputs["src_tokens"].eq(self.padding_idx))
        loss = hybrid(word_B, seq_B, gate_B)
        log = {
            "loss": loss.data,
            "nll_loss": nll_N.sum().data,
            "ntokens": gold["ntokens"],
            "nsentences": sentences,
            "sample_size": gold["ntokens"],
            "gate": float(gate_B.detach().sum()),
        }
        return self.within_budget(model, sample, taught["target"], loss, gold["ntokens"], log)
