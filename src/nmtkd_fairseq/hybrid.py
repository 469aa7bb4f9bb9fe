"""Hybrid distillation: for each sentence x, g(x) L_word(gold) + (1 - g(x)) L_seq(hypothesis) (arXiv 2404.14827), in two decoder passes."""

# No `from __future__ import annotations` here: fairseq reads the types of options from dataclass fields, and text is no type.
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor

from nmtkd import transformer
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
        if not self.fast(model):
            raise ValueError(
                "hybrid distillation is for plain and gated Transformers without layer or attention dropout; got another model"
            )
        inputs, taught = sample["net_input"], sample["hypothesis"]
        encoded = transformer.encode(model, inputs["src_tokens"])
        features = [transformer.decode(model, one["prev_output_tokens"], encoded) for one in (inputs, taught)]
        sentences = sample["target"].size(0)
        if self.gate is None:
            gate_B = features[0].new_full((sentences,), self.cfg.gate)
        else:
            gate_B = self.gate(encoded.states_BSC.transpose(0, 1), inputs["src_tokens"].eq(self.padding_idx))
        if self.needs_no_logits(model, sample):
            word, seq = (
                self.pay(model, features[0], sample, share_B=gate_B),
                self.pay(model, features[1], taught, share_B=1.0 - gate_B, taught=False),
            )
            loss, nll = word.total + seq.total, word.nll_N.sum()
        else:
            outputs = [(model.decoder.output_layer(one), None) for one in features]
            word_N, nll_N = self.by_token(model, outputs[0], sample)
            seq_N, _ = LabelSmoothedCrossEntropyCriterion.compute_loss(self, model, outputs[1], taught, reduce=False)
            loss = hybrid(word_N.view(sentences, -1).sum(1), seq_N.view(sentences, -1).sum(1), gate_B)
            nll = nll_N.sum()
        log = {**self.log(sample, loss, nll), "gate": float(gate_B.detach().sum())}
        return self.within_budget(model, sample, taught["target"], loss, log["sample_size"], log)
