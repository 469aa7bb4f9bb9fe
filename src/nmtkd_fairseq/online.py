"""Word-level distillation with the teacher in memory, along gold text or along what the student samples (GKD, Agarwal et al. 2024)."""

# No `from __future__ import annotations` here: fairseq reads the types of options from dataclass fields, and text is no type.
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import checkpoint_utils, search
from fairseq.criterions import register_criterion
from fairseq.data import data_utils
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from nmtkd import transformer
from nmtkd.distil.targets import soften
from nmtkd_fairseq.criterion import DistillationConfig, DistillationCriterion

ONLINE = "online_distillation"


class _Draws(search.Sampling):
    """Draws among what is allowed, normalised: the end forced at the limit may have had a probability that float32 takes for 0."""

    def step(self, step: int, lprobs: Tensor, *rest: Any) -> Any:
        return super().step(step, torch.log_softmax(lprobs, dim=-1), *rest)


@dataclass
class OnlineConfig(DistillationConfig):
    """The token level's options, the teacher, and how much the student samples."""

    teachers: str = field(default="", metadata={"help": "the teacher's model files, joined by colons: several are an ensemble"})
    share: float = field(default=0.0, metadata={"help": "share of batches whose prefixes the student samples (lambda)"})
    sampling_temperature: float = field(default=1.0, metadata={"help": "of the student's samples"})
    from_update: int = field(default=0, metadata={"help": "no samples before this update"})
    max_length_offset: int = field(default=0, metadata={"help": "a sample ends so many tokens after the batch's longest gold text"})


@register_criterion(ONLINE, dataclass=OnlineConfig)
class OnlineCriterion(DistillationCriterion):
    """The teacher's whole distribution at each position: what stored token targets approach as k grows, and equal at k = V."""

    cfg: OnlineConfig

    def __init__(self, task: Any, cfg: OnlineConfig) -> None:
        super().__init__(task, cfg)
        self.task = task
        self._teachers: list[Any] = []  # hidden in a list: their weights are not this criterion's

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's triple; in validation the stock loss on gold text."""
        if not self.training:
            return super().forward(model, sample, reduce=reduce)
        # The draw is made only where it can matter, so that share 0 leaves the random numbers of training as they are.
        if self.cfg.share > 0.0 and self.num_updates >= self.cfg.from_update and float(torch.rand(())) < self.cfg.share:
            sample = self.sampled(model, sample)
        return super().forward(model, {**sample, **self.asked(sample)}, reduce=reduce)

    def asked(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """The teacher's distributions along the sample's prefix, all V tokens in the dictionary's order."""
        with torch.no_grad():
            logits = [transformer.logits(teacher, sample["net_input"]) for teacher in self.teachers(sample["target"].device)]
            probs_BTV = soften(logits, self.cfg.temperature)
        ids_V = torch.arange(probs_BTV.size(-1), device=probs_BTV.device)
        best_BT1 = probs_BTV.argmax(-1, keepdim=True) if self.cfg.ranking > 0.0 else None
        ids_BTV = ids_V.expand_as(probs_BTV)
        if best_BT1 is not None:  # the hinge reads the teacher's best token from the first place
            ids_BTV = ids_BTV.clone()
            ids_BTV.scatter_(-1, best_BT1, 0)
            ids_BTV[..., :1] = best_BT1
            probs_BTV = probs_BTV.gather(-1, ids_BTV)
        return {"teacher_ids": ids_BTV, "teacher_probs": probs_BTV}

    def teachers(self, device: torch.device) -> list[Any]:
        """The teacher's members, loaded once, in eval mode."""
        if not self._teachers:
            paths = self.cfg.teachers.split(":")
            with torch.random.fork_rng(devices=[]):  # a model is drawn before it is read: training's random numbers stay as they are
                self._teachers, _ = checkpoint_utils.load_model_ensemble(paths, task=self.task)
            for teacher in self._teachers:
                teacher.to(device).eval().requires_grad_(False)
        return self._teachers

    def sampled(self, model: Any, sample: dict[str, Any]) -> dict[str, Any]:
        """The batch with what the student says in the place of gold. No gradient runs through the sampling."""
        dictionary = self.task.target_dictionary
        model.eval()
        generator = SequenceGenerator(
            [model],
            dictionary,
            beam_size=1,
            max_len_a=0,
            max_len_b=sample["target"].size(1) + self.cfg.max_length_offset,
            temperature=self.cfg.sampling_temperature,
            search_strategy=_Draws(dictionary),
        )
        with torch.no_grad():
            found = generator.generate([model], sample)
        model.train()
        said = [entries[0]["tokens"] for entries in found]
        pad, eos = dictionary.pad(), dictionary.eos()
        target, prefix = (data_utils.collate_tokens(said, pad, eos, left_pad=False, move_eos_to_beginning=move) for move in (False, True))
        tokens = int(target.ne(pad).sum())
        inputs = {**sample["net_input"], "prev_output_tokens": prefix}
        return {**sample, "target": target, "net_input": inputs, "ntokens": tokens, "sampled": True}
