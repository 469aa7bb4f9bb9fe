"""Hybrid distillation (arXiv 2404.14827): g(x) L_word(gold) + (1 - g(x)) L_seq(hypothesis) per sentence x."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor

from nmtkd.distil.sentence_gate import SentenceGate, hybrid
from nmtkd.network import transformer
from nmtkd.network.precision import exact
from nmtkd.training.criterions.distillation import DistillationConfig, DistillationCriterion

CRITERION = "hybrid_distillation"
LEARNED = -1.0  # value of the option `gate` for a learned gate


@dataclass
class HybridConfig(DistillationConfig):
    """Options of the token level, and of the gate."""

    gate: float = field(
        default=LEARNED,
        metadata={"help": "g for every sentence; below 0 it is learnt from the encoder's output"},
    )
    width: int = field(default=0, metadata={"help": "of the encoder's output, for a learned gate"})


@register_criterion(CRITERION, dataclass=HybridConfig)
class HybridCriterion(DistillationCriterion):
    """The gated sum of two losses, each summed over the tokens of a sentence, from two decoder passes.

    The sample size is the number of gold tokens of the batch, as for all other losses here.
    """

    cfg: HybridConfig
    one_pass = False

    def __init__(self, task: Any, cfg: HybridConfig) -> None:
        super().__init__(task, cfg)
        self.gate = SentenceGate(cfg.width) if cfg.gate < 0.0 else None

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's (summed loss, sample size, log); in validation the stock loss on gold text."""
        if not self.training:
            return super().forward(model, sample, reduce=reduce)
        if not self.fast(model):
            raise ValueError(
                "hybrid distillation is for plain and gated Transformers without layer or attention dropout; "
                "got another model"
            )
        inputs, translated = sample["net_input"], sample["hypothesis"]
        encoded = transformer.encode(model, inputs["src_tokens"])
        features = [
            transformer.decode(model, side["prev_output_tokens"], encoded) for side in (inputs, translated)
        ]
        sentences = sample["target"].size(0)
        if self.gate is None:
            gate_B = features[0].new_full((sentences,), self.cfg.gate, dtype=exact(features[0].dtype))
        else:
            gate_B = self.gate(encoded.states_BSC.transpose(0, 1), inputs["src_tokens"].eq(self.padding_idx))
        if self.needs_no_logits(model, sample):
            word = self.chunked(model, features[0], sample, share_B=gate_B)
            seq = self.chunked(model, features[1], translated, share_B=1.0 - gate_B, with_teacher=False)
            loss, nll = word.total + seq.total, word.nll_N.sum()
        else:
            outputs = [(model.decoder.output_layer(side), None) for side in features]
            word_N, nll_N = self.by_token(model, outputs[0], sample)
            seq_N, _ = LabelSmoothedCrossEntropyCriterion.compute_loss(
                self, model, outputs[1], translated, reduce=False
            )
            loss = hybrid(word_N.view(sentences, -1).sum(1), seq_N.view(sentences, -1).sum(1), gate_B)
            nll = nll_N.sum()
        log = {**self.log(sample, loss, nll), "gate": float(gate_B.detach().sum())}
        return self.within_budget(model, sample, translated["target"], loss, log["sample_size"], log)
