"""The processes that share a stage's work: those that torchrun started, one a GPU.

A process started otherwise is alone, and every function here is then the plain thing. Processes talk through
torch.distributed: NCCL between GPUs, gloo between CPUs. The first one writes; the others help to compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")
# One process validates, writes or waits for a lock while the others wait for it: as long as that takes.
PATIENCE = timedelta(days=30)


class LostError(OSError):
    """Another process of this stage is gone."""


def count() -> int:
    """How many processes share the work of this stage."""
    return int(os.environ.get("WORLD_SIZE", "1")) if shared() else 1


def number() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("RANK", "0")) if shared() else 0


def first() -> bool:
    """Whether this process writes what comes of the work."""
    return number() == 0


def shared() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def group() -> Iterator[None]:
    """Within it the processes of a stage can talk. On GPUs each has its own."""
    if count() == 1:
        yield
        return
    import torch
    import torch.distributed.nn  # has the group of its import as default arguments, and would keep it alive
    from torch import distributed

    from nmtkd import machine

    on_gpus = machine.device() == "cuda"
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _loss_told():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share(things: Sequence[Value]) -> list[tuple[int, Value]]:
    """This process's part of what all share, with the place of each."""
    return list(enumerate(things))[number() :: count()]


def gather(value: Value) -> list[Value]:
    """The value of each process, which must be picklable, in their order. All must call it."""
    if count() == 1:
        return [value]
    from torch import distributed

    found: list[Any] = [None] * count()
    with _loss_told():
        distributed.all_gather_object(found, value)
    return found


def first_does(work: Callable[[], Value]) -> Value:
    """What `work` gives the first process, which alone does it; the others wait. All must call it."""
    if count() == 1:
        return work()
    from torch import distributed

    found: list[Any] = [work() if first() else None]
    with _loss_told():
        distributed.broadcast_object_list(found)
    return found[0]


def add_up(gradients: Sequence[Tensor]) -> None:
    """Replaces tensors of one kind by their sums over all processes. All must call it, with equal shapes."""
    if count() == 1 or not gradients:
        return
    import torch
    from torch import distributed

    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    with _loss_told():
        distributed.all_reduce(flat)
    totals = torch.split(flat, [one.numel() for one in gradients])
    for gradient, total in zip(gradients, totals, strict=True):
        gradient.copy_(total.view_as(gradient))


def as_first(tensors: Sequence[Tensor]) -> None:
    """Gives tensors the first process's values. All must call it."""
    if count() == 1:
        return
    from torch import distributed

    with _loss_told():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


@contextmanager
def _loss_told() -> Iterator[None]:
    """Turns what a backend says of a lost connection into a LostError."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(f"another process of this stage is gone ({error})") from None
