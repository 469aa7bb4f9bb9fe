"""One update of a model: as fairseq's Trainer in one process on one device, with a fused optimiser."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from fairseq.trainer import Trainer
from torch import Tensor

from nmtkd import machine
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.criterions.cross_entropy import CrossEntropyCriterion

NEAR_ZERO = 1e-6  # added to a norm that divides, as in fairseq and torch


def _skip_compiler_import() -> None:
    """Saves the import of torch's compiler at an optimiser's first call, which takes over a second.

    torch imports it to mark the optimiser's methods as not to be compiled. Methods that already have the mark
    need no import. Where another version of torch reads no mark, nothing changes.
    """
    for method in vars(torch.optim.Optimizer).values():
        if hasattr(method, "__wrapped__") and "torch._dynamo" not in sys.modules:
            vars(method.__wrapped__).setdefault("__dynamo_disable", method.__wrapped__)


def autocast() -> Any:
    """Context manager of training's precision: bfloat16 on a GPU, float32 on a CPU."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=machine.device() == "cuda")


class Stepper:
    """Updates the model of a Trainer, which still owns model, criterion, optimiser and learning rate."""

    def __init__(self, trainer: Trainer) -> None:
        _skip_compiler_import()
        self._trainer = trainer
        stock = trainer.optimizer.optimizer
        (group,) = stock.param_groups
        self._eps, self._beta2 = group["eps"], group["betas"][1]
        settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        # The same update with one pass over memory; the stock one makes six for each of a hundred tensors.
        trainer.optimizer._optimizer = torch.optim.AdamW(group["params"], fused=True, **settings)

    def step(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One update on one batch, in parts that are computed in turn: equal to one on the whole batch.

        Returns the criterion's log, with `loss` in bits per token. Raises bridge.ModelError if the gradient's
        norm is infinite or NaN.
        """
        trainer, update = self._trainer, self._trainer.get_num_updates()
        trainer.zero_grad()
        loss, log = self._summed([trainer._prepare_sample(part)[0] for part in parts], update)
        size = log["sample_size"]
        gradients = [parameter.grad for parameter in trainer.optimizer.params if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) / size
        if not bool(torch.isfinite(norm)):
            raise bridge.ModelError(
                f"update {update + 1}: a gradient is infinite or no number; "
                "lower training.lr, or set training.clip_norm"
            )
        torch._foreach_mul_(gradients, self._scale(norm, size))
        (group,) = trainer.optimizer.param_groups
        # fairseq adds eps before the bias correction of the second moment, torch after it.
        group["eps"] = self._eps / math.sqrt(1.0 - self._beta2 ** (update + 1))
        trainer.optimizer._optimizer.step()
        trainer.set_num_updates(update + 1)
        return {**log, "loss": loss / size / math.log(2)}

    def _summed(self, parts: Sequence[dict[str, Any]], update: int) -> tuple[float, dict[str, Any]]:
        """Loss and log of a batch, and its gradients in the parameters: sums over its parts."""
        trainer = self._trainer
        model, criterion = trainer.model.train(), trainer.criterion.train()
        criterion.num_updates = update
        trainer._set_seed()
        if isinstance(criterion, CrossEntropyCriterion):
            with autocast():
                criterion.look_ahead(model, parts)
            trainer._set_seed()  # the parts draw again what they drew there
        total, log = 0.0, dict[str, Any]()
        for part in parts:
            with autocast():
                loss, _, found = criterion(model, part)
            loss.backward()
            total += float(loss.detach())
            log = {name: log.get(name, 0) + value for name, value in found.items()}
        return total, log

    def _scale(self, norm: Tensor, size: int) -> float:
        """Factor of the gradients: the mean over tokens, clipped."""
        bound = self._trainer.cfg.optimization.clip_norm
        return min(1.0, bound / (float(norm) + NEAR_ZERO)) / size if bound > 0.0 else 1.0 / size
