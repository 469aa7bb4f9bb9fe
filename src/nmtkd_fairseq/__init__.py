"""fairseq plugin (`--user-dir`): a translation task whose training set carries token targets, and the criterion that uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from nmtkd_fairseq.criterion import CRITERION
from nmtkd_fairseq.task import TASK


def distil(targets: Path, weight: float, temperature: float) -> Callable[[DictConfig], None]:
    """Puts the plugin's task and criterion in the place of fairseq's own, which they extend."""

    def adapt(cfg: DictConfig) -> None:
        cfg.task._name, cfg.task.token_targets = TASK, str(targets)
        cfg.criterion._name, cfg.criterion.teacher_weight, cfg.criterion.temperature = CRITERION, weight, temperature

    return adapt
