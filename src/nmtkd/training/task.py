"""fairseq's translation task with the teacher's output for training pairs. Validation is the stock one."""

# No `from __future__ import annotations` here: fairseq reads option types from dataclass fields, as types,
# not strings.
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from nmtkd.distil.targets import TokenTargets
from nmtkd.training.dataset import HypothesesDataset, TokenTargetsDataset

TASK = "distillation"
HYPOTHESES = "hypotheses"  # split of a data folder with the teacher's translations of the training source


@dataclass
class DistillationTaskConfig(TranslationConfig):
    """TranslationConfig, and the teacher's output that training pairs carry."""

    token_targets: str = field(
        default="",
        metadata={"help": "folder of token targets, one row a target position of the training set"},
    )
    hypotheses: bool = field(
        default=False, metadata={"help": "carry the teacher's translations too, from the split `hypotheses`"}
    )


@register_task(TASK, dataclass=DistillationTaskConfig)
class DistillationTask(TranslationTask):
    """Adds token targets and hypotheses to training pairs (training/dataset.py)."""

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Loads a split; the training split with its token targets and hypotheses."""
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if split != self.cfg.train_subset:
            return
        if self.cfg.hypotheses:
            super().load_dataset(HYPOTHESES, epoch=epoch, combine=combine, **kwargs)
            self.datasets[split] = HypothesesDataset(self.datasets[split], self.datasets.pop(HYPOTHESES))
        if self.cfg.token_targets:
            self.datasets[split] = TokenTargetsDataset(
                self.datasets[split], TokenTargets(Path(self.cfg.token_targets))
            )

    def train_step(
        self,
        sample: Any,
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Any:
        """The stock step; the criterion gets the number of updates."""
        criterion.num_updates = update_num
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
