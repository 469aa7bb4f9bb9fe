"""One update of a model: as fairseq's Trainer, with a fused optimiser; by one process or several."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from fairseq import utils
from fairseq.trainer import Trainer
from torch import Tensor

from nmtkd import processes
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gpu_memory
from nmtkd.network.command_line import fairseq_seed
from nmtkd.network.precision import products_in
from nmtkd.plan.values import FLOAT32
from nmtkd.training.criterions.cross_entropy import CrossEntropyCriterion

Batch = tuple[int, list[dict[str, Any]]]  # its place in the group, and its parts

OPTIMISE = inspect.unwrap(torch.optim.AdamW.step)  # without what imports torch's compiler
MOMENTS = 2  # that Adam keeps of each weight, from the first update on
NEAR_ZERO = 1e-6  # added to a norm that divides, as in fairseq and torch


def _skip_compiler_import() -> None:
    """Saves the import of torch's compiler, which takes over a second, by methods of an optimiser but `step`.

    torch imports it to mark them as not to be compiled. Methods that already have the mark need no import.
    Where another version of torch reads no mark, nothing changes.
    """
    for method in vars(torch.optim.Optimizer).values():
        if hasattr(method, "__wrapped__") and "torch._dynamo" not in sys.modules:
            vars(method.__wrapped__).setdefault("__dynamo_disable", method.__wrapped__)


def _made(group: Sequence[Any]) -> list[Batch]:
    """This process's batches of a group, on the host."""
    return [(place, batch() if callable(batch) else batch) for place, batch in processes.share(group)]


class Stepper:
    """Updates the model of a Trainer, which still owns model, criterion, optimiser and learning rate."""

    def __init__(self, trainer: Trainer, section: str = "training", precision: str = FLOAT32) -> None:
        """`section` of params.yaml has the recipe, and in it the precision."""
        _skip_compiler_import()
        self._trainer, self._section, self._precision = trainer, section, precision
        stock = trainer.optimizer.optimizer
        (group,) = stock.param_groups
        self._eps, self._beta2 = group["eps"], group["betas"][1]
        settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        # The same update with one pass over memory; the stock one makes six for each of a hundred tensors.
        trainer.optimizer._optimizer = torch.optim.AdamW(group["params"], fused=True, **settings)

    def update(self, group: Sequence[Any]) -> dict[str, Any]:
        """`step`. Raises machine.MachineError that says what would fit where a GPU's memory is too small."""
        return gpu_memory.fitted(lambda: self.step(group), lambda: self.trial(group))

    def trial(self, group: Sequence[Any]) -> gpu_memory.Trial:
        """The largest part of this process's batches, to be tried forwards and backwards."""
        trainer = self._trainer
        largest = max((part for _, parts in _made(group) for part in parts), key=gpu_memory.tokens)
        pairs, ids = trainer.task.dataset("train").pairs, largest["id"].tolist()

        def compute(rows: int) -> int:
            trainer.zero_grad()
            sample, _ = trainer._prepare_sample(pairs.collater([pairs[i] for i in ids[:rows]]))
            criterion = trainer.criterion
            alone = isinstance(criterion, CrossEntropyCriterion)
            with criterion.looking_ahead(False) if alone else nullcontext(), self._autocast():
                loss, _, _ = criterion(trainer.model, sample)
            loss.backward()
            return gpu_memory.tokens(sample)

        optimizer = trainer.optimizer
        weights = sum(parameter.nbytes for parameter in optimizer.params)
        return gpu_memory.Trial(
            setting=f"{self._section}.max_tokens",
            value=trainer.cfg.dataset.max_tokens,
            remedy=f"lower it, and raise {self._section}.accumulate by as much: an update stays the same",
            rows=len(ids),
            tokens=gpu_memory.tokens(largest),
            compute=compute,
            later=0 if optimizer._optimizer.state else MOMENTS * weights,
        )

    def step(self, group: Sequence[Any]) -> dict[str, Any]:
        """One update on the batches of a group, each in parts that are computed in turn: equal to one on all.

        Processes that share the training each compute some of the batches. Returns the criterion's log, with
        `loss` in bits per token, the source tokens, and the norm of the mean gradient before it is clipped.
        No update is skipped: raises bridge.ModelError if that norm is infinite or NaN.
        """
        trainer, update = self._trainer, self._trainer.get_num_updates()
        trainer.zero_grad()
        loss, log = self._summed(self._own(group), len(group), update)
        size = log["sample_size"]
        gradients = [parameter.grad for parameter in trainer.optimizer.params if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) / size
        if not bool(torch.isfinite(norm)):
            raise bridge.ModelError(
                f"update {update + 1}: a gradient is infinite or no number; "
                "lower training.lr, or set training.clip_norm"
            )
        torch._foreach_mul_(gradients, self._scale(norm, size))
        (group_of,) = trainer.optimizer.param_groups
        # fairseq adds eps before the bias correction of the second moment, torch after it.
        group_of["eps"] = self._eps / math.sqrt(1.0 - self._beta2 ** (update + 1))
        with torch.no_grad():
            OPTIMISE(trainer.optimizer._optimizer)
        trainer.set_num_updates(update + 1)
        return {**log, "loss": loss / size / math.log(2), "gradient_norm": float(norm)}

    def _autocast(self) -> Any:
        """Context manager of this training's products."""
        return products_in(self._precision, self._trainer.device.type)

    def _own(self, group: Sequence[Any]) -> list[Batch]:
        """The batches of this process, with their places in the group."""
        prepare = self._trainer._prepare_sample
        return [(place, [prepare(part)[0] for part in parts]) for place, parts in _made(group)]

    def _summed(
        self, batches: Sequence[Batch], all_batches: int, update: int
    ) -> tuple[float, dict[str, Any]]:
        """Loss and log of a group, and its gradients in the parameters: sums over all parts of batches."""
        trainer = self._trainer
        model, criterion = trainer.model.train(), trainer.criterion.train()
        criterion.num_updates = update
        # Where processes share a group, all must look ahead or none.
        several = processes.count() > 1 or all_batches > 1 or any(len(parts) > 1 for _, parts in batches)
        if isinstance(criterion, CrossEntropyCriterion):
            with criterion.looking_ahead(several) as looks, torch.no_grad(), self._autocast():
                for part in self._parts(batches) if looks else ():
                    criterion(model, part)
        total, log = 0.0, dict[str, Any]()
        for part in self._parts(batches):
            with self._autocast():
                loss, _, found = criterion(model, part)
            loss.backward()
            total += float(loss.detach())
            found["source_tokens"] = int(part["net_input"]["src_lengths"].sum())
            log = {name: log.get(name, 0) + value for name, value in found.items()}
        return self._over_processes(total, log)

    def _parts(self, batches: Sequence[Batch]) -> Iterator[dict[str, Any]]:
        """The parts of batches. Random numbers follow from seed, update and a batch's place in its group."""
        for place, parts in batches:
            self._trainer._set_seed()
            if place:
                utils.set_torch_seed(fairseq_seed(torch.initial_seed(), place))
            yield from parts

    def _over_processes(self, total: float, log: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Sums over all processes: of losses and logs, and in place of gradients."""
        if processes.count() == 1:
            return total, log
        parameters = list(self._trainer.optimizer.params)
        plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in log.items()}
        said = processes.gather((total, plain, [one.grad is not None for one in parameters]))
        for parameter, *have in zip(parameters, *(flags for _, _, flags in said), strict=True):
            if any(have) and parameter.grad is None:  # at an epoch's end a process may have no batch
                parameter.grad = torch.zeros_like(parameter)
        processes.add_up([one.grad for one in parameters if one.grad is not None])
        logs = [part for _, part, _ in said]
        names = dict.fromkeys(name for part in logs for name in part)
        return sum(part for part, _, _ in said), {
            name: sum(part[name] for part in logs if name in part) for name in names
        }

    def _scale(self, norm: Tensor, size: int) -> float:
        """Factor of the gradients: the mean over tokens, clipped."""
        bound = self._trainer.cfg.optimization.clip_norm
        return min(1.0, bound / (float(norm) + NEAR_ZERO)) / size if bound > 0.0 else 1.0 / size
