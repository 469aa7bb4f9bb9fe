"""One update of a model: as fairseq's Trainer, with a fused optimiser; by one process or several."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import utils
from fairseq.trainer import Trainer
from torch import Tensor

from nmtkd import machine, processes
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gpu_memory
from nmtkd.network.command_line import fairseq_seed
from nmtkd.network.precision import products_in
from nmtkd.plan.values import BFLOAT16, FLOAT32
from nmtkd.training import graphs
from nmtkd.training.criterions.cross_entropy import CrossEntropyCriterion
from nmtkd.training.loss_scale import LossScale
from nmtkd.training.packing import PackedBatch, pack

Batch = tuple[int, list[dict[str, Any]]]  # its place in the group, and its parts

OPTIMISE = inspect.unwrap(torch.optim.AdamW.step)  # without what imports torch's compiler
PACKED = "packed"  # of a part: its packed form, on the GPU
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


@dataclass(frozen=True)
class Started:
    """An update that may still be under way on a GPU."""

    log: dict[str, Any]  # the criterion's, summed over the tokens of a group, and the source tokens
    update: int  # its number, from 1
    numbers: graphs.Later | list[float]  # the loss, and the norm of its mean gradient before clipping

    @property
    def done(self) -> bool:
        """Whether `read` waits for nothing."""
        return not isinstance(self.numbers, graphs.Later)

    def read(self) -> dict[str, Any]:
        """The log, with `loss` in bits per token, and the norm of the mean gradient before it is clipped.

        No update is skipped: raises bridge.ModelError if that norm is infinite or NaN.
        """
        loss, norm = self.numbers.read() if isinstance(self.numbers, graphs.Later) else self.numbers
        if not math.isfinite(norm):
            raise bridge.ModelError(
                f"update {self.update}: a gradient is infinite or no number; "
                "lower training.lr, or set training.clip_norm"
            )
        return {**self.log, "loss": loss / self.log["sample_size"] / math.log(2), "gradient_norm": norm}


def _read_later(loss: float | Tensor, norm: Tensor) -> graphs.Later | list[float]:
    return graphs.Later(torch.stack([loss, norm])) if isinstance(loss, Tensor) else [loss, float(norm)]


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
        # FlashAttention is of half types, and of the cards that multiply bfloat16.
        self._records = (
            trainer.device.type == "cuda" and precision == BFLOAT16 and machine.gpu_multiplies_bfloat16()
        )
        self.scale = LossScale(precision)
        self._graphs: graphs.Graphs | None = None

    def update(self, group: Sequence[Any]) -> Started:
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

    def step(self, group: Sequence[Any]) -> Started:
        """One update on the batches of a group, each in parts that are computed in turn: equal to one on all.

        Processes that share the training each compute some of the batches. A GPU may still be computing when
        this returns. Raises bridge.ModelError if the gradient's norm is infinite or NaN; of such a GPU
        `Started.read` does.
        """
        trainer, update = self._trainer, self._trainer.get_num_updates()
        batches, fits = self._own(group), False
        while not fits:
            loss, log = self._summed(batches, len(group), update)
            size = log["sample_size"] * self.scale.value
            gradients = [one.grad for one in trainer.optimizer.params if one.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients) / size
            fits = self.scale.fits(norm)
            if not fits:
                print(
                    f"[{self._section}] update {update + 1}: its gradient is no number in float16; computed "
                    f"again, the loss times {self.scale.value:g}",
                    flush=True,
                )
        started = Started(log, update + 1, _read_later(loss, norm))
        bound = trainer.cfg.optimization.clip_norm
        if isinstance(loss, Tensor):
            clipped = (bound / (norm + NEAR_ZERO)).clamp(max=1.0) if bound > 0.0 else torch.ones_like(norm)
            torch._foreach_mul_(gradients, clipped / size)
        else:
            started.read()
            clip = min(1.0, bound / (float(norm) + NEAR_ZERO)) if bound > 0.0 else 1.0
            torch._foreach_mul_(gradients, clip / size)
        (group_of,) = trainer.optimizer.param_groups
        # fairseq adds eps before the bias correction of the second moment, torch after it.
        group_of["eps"] = self._eps / math.sqrt(1.0 - self._beta2 ** (update + 1))
        with torch.no_grad():
            OPTIMISE(trainer.optimizer._optimizer)
        trainer.set_num_updates(update + 1)
        return started

    def _autocast(self) -> Any:
        """Context manager of this training's products."""
        return products_in(self._precision, self._trainer.device.type)

    def _own(self, group: Sequence[Any]) -> list[Batch]:
        """The batches of this process, with their places in the group; packed where graphs compute them."""
        made, trainer = _made(group), self._trainer
        criterion = trainer.criterion.train()
        records = self._records and isinstance(criterion, CrossEntropyCriterion)
        pad = trainer.task.target_dictionary.pad()

        def prepared(part: dict[str, Any]) -> dict[str, Any]:
            if not records or not criterion.packs(trainer.get_model(), part):
                sample: dict[str, Any] = trainer._prepare_sample(part)[0]
                return sample
            if PACKED not in part:  # parts are kept between epochs
                packed = pack(part, pad, trainer.cfg.dataset.max_tokens)
                part[PACKED] = packed.each(lambda x: graphs.moved(x, trainer.device))
            return part

        return [(place, [prepared(part) for part in parts]) for place, parts in made]

    def _summed(
        self, batches: Sequence[Batch], all_batches: int, update: int
    ) -> tuple[float | Tensor, dict[str, Any]]:
        """Loss and log of a group, and its gradients in the parameters: sums over all parts of batches.

        The loss is a tensor where graphs compute it.
        """
        trainer = self._trainer
        model, criterion = trainer.model.train(), trainer.criterion.train()
        criterion.num_updates, criterion.loss_scale = update, self.scale.value
        # Where processes share a group, all must look ahead or none.
        several = processes.count() > 1 or all_batches > 1 or any(len(parts) > 1 for _, parts in batches)
        packed = bool(batches) and all(PACKED in part for _, parts in batches for part in parts)
        for part in (part for _, parts in batches for part in parts if packed):
            self._graph().record(part[PACKED])
        self._no_gradients()
        if isinstance(criterion, CrossEntropyCriterion):
            with criterion.looking_ahead(several) as looks, torch.no_grad(), self._autocast():
                for part in self._parts(batches) if looks else ():
                    criterion(model, part)
        log = dict[str, Any]()
        total: float | Tensor = 0.0
        summed: float | Tensor
        for part in self._parts(batches):
            if packed:
                summed = self._graph()(part[PACKED])
                counts = criterion.log(part, summed, summed).items()
                found = {name: value for name, value in counts if not isinstance(value, Tensor)}
            else:
                with self._autocast():
                    loss, _, found = criterion(model, part)
                loss.backward(torch.full_like(loss, self.scale.value))
                summed = float(loss.detach())
            total = total + summed
            found["source_tokens"] = int(part["net_input"]["src_lengths"].sum())
            log = {name: log.get(name, 0) + value for name, value in found.items()}
        return self._over_processes(total, log)

    def _graph(self) -> graphs.Graphs:
        """The graphs of this training."""
        if self._graphs is None:
            trainer = self._trainer

            def compute(batch: PackedBatch) -> Tensor:
                with self._autocast():
                    loss: Tensor = trainer.criterion.packed(trainer.get_model(), batch)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.detach()

            self._graphs = graphs.Graphs(compute, list(trainer.optimizer.params))
        return self._graphs

    def _no_gradients(self) -> None:
        """Gradients of zero; where graphs add to them, in their place."""
        if self._graphs is None:
            self._trainer.zero_grad()
        else:
            torch._foreach_zero_([parameter.grad for parameter in self._trainer.optimizer.params])

    def _parts(self, batches: Sequence[Batch]) -> Iterator[dict[str, Any]]:
        """The parts of batches. Random numbers follow from seed, update and a batch's place in its group."""
        for place, parts in batches:
            self._trainer._set_seed()
            if place:
                utils.set_torch_seed(fairseq_seed(torch.initial_seed(), place))
            yield from parts

    def _over_processes(
        self, total: float | Tensor, log: dict[str, Any]
    ) -> tuple[float | Tensor, dict[str, Any]]:
        """Sums over all processes: of losses and logs, and in place of gradients."""
        if processes.count() == 1:
            return total, log
        parameters = list(self._trainer.optimizer.params)
        plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in log.items()}
        said = processes.gather((float(total), plain, [one.grad is not None for one in parameters]))
        for parameter, *have in zip(parameters, *(flags for _, _, flags in said), strict=True):
            if any(have) and parameter.grad is None:  # at an epoch's end a process may have no batch
                parameter.grad = torch.zeros_like(parameter)
        processes.add_up([one.grad for one in parameters if one.grad is not None])
        logs = [part for _, part, _ in said]
        names = dict.fromkeys(name for part in logs for name in part)
        return sum(part for part, _, _ in said), {
            name: sum(part[name] for part in logs if name in part) for name in names
        }
