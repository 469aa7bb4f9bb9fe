"""Word-level distillation by a teacher in memory, along gold or sampled text (GKD, Agarwal et al. 2024)."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.criterions import register_criterion
from fairseq.data import data_utils
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from nmtkd.decoding.with_fairseq import NormalisedSampling
from nmtkd.network import transformer
from nmtkd.training.criterions.distillation import DistillationConfig, DistillationCriterion

CRITERION = "online_distillation"


@dataclass
class OnlineConfig(DistillationConfig):
    """Options of the token level, and the teacher's files."""

    teachers: str = field(
        default="", metadata={"help": "the teacher's model files, joined by colons: several are an ensemble"}
    )


@register_criterion(CRITERION, dataclass=OnlineConfig)
class OnlineCriterion(DistillationCriterion):
    """The teacher's full distribution at each position. Stored token targets equal it at k = V."""

    cfg: OnlineConfig
    one_pass = False

    def __init__(self, task: Any, cfg: OnlineConfig) -> None:
        super().__init__(task, cfg)
        self.task = task
        assert self.method.on_policy is not None, (
            "plan/rules.py sees to it that the family online has on_policy"
        )
        self.policy = self.method.on_policy
        self._teachers: list[Any] = []  # in a list, torch does not count their weights as this criterion's

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's (summed loss, sample size, log); in validation the stock loss on gold text."""
        if not self.training:
            return super().forward(model, sample, reduce=reduce)
        if self.num_updates >= self.policy.from_update and draw() < self.policy.share:
            sample = self.sampled(model, sample)
        return super().forward(model, {**sample, **self.asked(sample)}, reduce=reduce)

    def asked(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """The teacher's distributions over all V tokens along the batch's prefix, in dictionary order."""
        with torch.no_grad():
            logits = [
                transformer.logits(teacher, sample["net_input"])
                for teacher in self.teachers(sample["target"].device)
            ]
            probs_BTV = transformer.soften(logits, self.cfg.temperature)
        ids_V = torch.arange(probs_BTV.size(-1), device=probs_BTV.device)
        best_BT1 = probs_BTV.argmax(-1, keepdim=True) if self.method.ranking is not None else None
        ids_BTV = ids_V.expand_as(probs_BTV)
        if best_BT1 is not None:  # ranking expects the teacher's best token first
            ids_BTV = ids_BTV.clone()
            ids_BTV.scatter_(-1, best_BT1, 0)
            ids_BTV[..., :1] = best_BT1
            probs_BTV = probs_BTV.gather(-1, ids_BTV)
        return {"teacher_ids": ids_BTV, "teacher_probs": probs_BTV}

    def teachers(self, device: torch.device) -> list[Any]:
        """The teacher's members, loaded once, in eval mode."""
        if not self._teachers:
            paths = self.cfg.teachers.split(":")
            # Loading initialises a model at random first, which must not advance training's random numbers.
            with torch.random.fork_rng(devices=[]):
                self._teachers, _ = checkpoint_utils.load_model_ensemble(paths, task=self.task)
            for teacher in self._teachers:
                teacher.to(device).eval().requires_grad_(False)
        return self._teachers

    def sampled(self, model: Any, sample: dict[str, Any]) -> dict[str, Any]:
        """The batch with the student's samples in place of gold. No gradient flows through sampling."""
        dictionary = self.task.target_dictionary
        model.eval()
        generator = SequenceGenerator(
            [model],
            dictionary,
            beam_size=1,
            max_len_a=0,
            max_len_b=sample["target"].size(1) + self.policy.max_length_offset,
            temperature=self.policy.temperature,
            search_strategy=NormalisedSampling(dictionary),
        )
        with torch.no_grad():
            outputs = generator.generate([model], sample)
        model.train()
        samples = [entries[0]["tokens"] for entries in outputs]
        pad, eos = dictionary.pad(), dictionary.eos()
        target, prefix = (
            data_utils.collate_tokens(samples, pad, eos, left_pad=False, move_eos_to_beginning=move)
            for move in (False, True)
        )
        tokens = int(target.ne(pad).sum())
        inputs = {**sample["net_input"], "prev_output_tokens": prefix}
        return {**sample, "target": target, "net_input": inputs, "ntokens": tokens, "sampled": True}


def draw() -> float:
    """A number in [0, 1) that follows from torch's last seed, and leaves torch's random numbers alone.

    So all parts of a batch are sampled or none, and gold batches have the dropout of the other methods.
    """
    return float(torch.rand((), generator=torch.Generator().manual_seed(torch.initial_seed())))
