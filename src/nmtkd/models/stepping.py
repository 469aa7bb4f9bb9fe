"""One update of a model: what fairseq's Trainer does in one process on one device, with a fused optimiser."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from fairseq.trainer import Trainer
from torch import Tensor

from nmtkd import machine
from nmtkd.models import fairseq_bridge as bridge

NEAR_ZERO = 1e-6  # beside a norm that divides: fairseq's and torch's own


def _leave_out_the_compiler() -> None:
    """torch imports its compiler (a second and more) at an optimiser's first call, to keep it from compiling the optimiser.

    Methods marked beforehand as not to be compiled are taken as they are. Where torch has changed, it does what it did.
    """
    for method in vars(torch.optim.Optimizer).values():
        if hasattr(method, "__wrapped__") and "torch._dynamo" not in sys.modules:
            vars(method.__wrapped__).setdefault("__dynamo_disable", method.__wrapped__)


class Stepper:
    """Updates the model of a Trainer, which goes on to own model, criterion, optimiser and learning rate."""

    def __init__(self, trainer: Trainer) -> None:
        _leave_out_the_compiler()
        self._trainer = trainer
        stock = trainer.optimizer.optimizer
        (group,) = stock.param_groups
        self._eps, self._beta2 = group["eps"], group["betas"][1]
        settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        # The same update in one pass over memory instead of six for each of a hundred tensors.
        trainer.optimizer._optimizer = torch.optim.AdamW(group["params"], fused=True, **settings)

    def step(self, sample: dict[str, Any]) -> dict[str, Any]:
        """One update on one batch. Returns the criterion's log, its `loss` in bits a token.

        Raises bridge.ModelError where a gradient is infinite or no number.
        """
        trainer, update = self._trainer, self._trainer.get_num_updates()
        trainer._set_seed()
        sample, _ = trainer._prepare_sample(sample)
        model, criterion = trainer.model.train(), trainer.criterion.train()
        criterion.num_updates = update
        trainer.zero_grad()
        with machine.autocast():
            loss, size, log = criterion(model, sample)
        loss.backward()
        gradients = [parameter.grad for parameter in trainer.optimizer.params if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) / size
        if not bool(torch.isfinite(norm)):
            raise bridge.ModelError(
                f"update {update + 1}: a gradient is infinite or no number; lower training.lr, or set training.clip_norm"
            )
        torch._foreach_mul_(gradients, self._scale(norm, size))
        (group,) = trainer.optimizer.param_groups
        group["eps"] = self._eps / math.sqrt(1.0 - self._beta2 ** (update + 1))  # fairseq adds it before the moment's bias is corrected
        trainer.optimizer._optimizer.step()
        trainer.set_num_updates(update + 1)
        return {**log, "loss": float(loss.detach()) / size / math.log(2)}

    def _scale(self, norm: Tensor, size: int) -> float:
        """What gradients are multiplied with: the mean over tokens, clipped."""
        bound = self._trainer.cfg.optimization.clip_norm
        return min(1.0, bound / (float(norm) + NEAR_ZERO)) / size if bound > 0.0 else 1.0 / size
