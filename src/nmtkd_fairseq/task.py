"""Translation with token targets beside the training pairs; validation is the stock one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from nmtkd.distil.targets import TokenTargets
from nmtkd_fairseq.dataset import TokenTargetsDataset

TASK = "translation_with_token_targets"


@dataclass
class TokenTargetsConfig(TranslationConfig):
    """TranslationConfig and the folder of token targets."""

    token_targets: str = field(default="", metadata={"help": "folder of token targets, one row a target position of the training set"})


@register_task(TASK, dataclass=TokenTargetsConfig)
class TokenTargetsTask(TranslationTask):
    """See TokenTargetsDataset."""

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Loads a split; the training split gets its token targets."""
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if split == self.cfg.train_subset:
            self.datasets[split] = TokenTargetsDataset(self.datasets[split], TokenTargets(Path(self.cfg.token_targets)))
