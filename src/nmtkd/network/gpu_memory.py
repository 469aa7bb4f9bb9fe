"""A GPU's memory that is too small for a batch: part of the batch is tried, and what would fit is told."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from nmtkd import machine
from nmtkd.outputs import size

Value = TypeVar("Value")
Tried = tuple[int, int]  # tokens with padding, and the bytes that were held at most

SPARE = 0.05  # of the memory: its blocks are never all full
DIGITS = 2  # of an estimate: more would promise too much


class Gpu:
    """The memory of this process's GPU, in bytes."""

    def total(self) -> int:
        """All of it."""
        return torch.cuda.mem_get_info()[1]

    def room(self) -> int:
        """What this process may hold: what it has now, and what nobody has."""
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()

    def clear(self) -> None:
        """Frees what nothing refers to, and begins to measure anew."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """The most that this process held since `clear`."""
        return torch.cuda.max_memory_allocated()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A batch whose first rows can be tried. `compute` does so, and returns their tokens with padding.

    It must ask nothing of other processes: they wait elsewhere.
    """

    setting: str  # the size of a batch, by its name in params.yaml
    value: int
    remedy: str
    rows: int
    tokens: int  # of all rows, with padding
    compute: Callable[[int], int]
    later: int = 0  # bytes that will be held too, and are not yet


def fitted(work: Callable[[], Value], trial: Callable[[], Trial], gpu: Gpu | None = None) -> Value:
    """What `work` gives. Where the GPU's memory is full, raises MachineError that says what would fit."""
    try:
        return work()
    except torch.OutOfMemoryError:
        pass  # its traceback refers to what fills the memory; here both go
    raise machine.MachineError(_advice(trial(), gpu or Gpu()))


def tokens(sample: dict[str, Any]) -> int:
    """Tokens of a batch as max_tokens counts them: of its longer side, with padding."""
    texts = sample["net_input"]["src_tokens"], sample["target"], sample.get("hypothesis", sample)["target"]
    return max(text.numel() for text in texts)


def _advice(trial: Trial, gpu: Gpu) -> str:
    where = f"this GPU's {size(gpu.total())}, of which {size(gpu.room())} are free for it"
    rows, largest = trial.rows // 2, None
    while rows and not (largest := _tried(trial, rows, gpu)):
        rows //= 2
    fits = largest and _fits(trial, largest, _tried(trial, rows // 2, gpu), gpu.room())
    if not largest or not fits:
        return (
            f"{trial.setting}: the model itself is too large for {where}: not even one line of its batch of "
            f"{trial.tokens:,} tokens fits; choose a smaller model, or a GPU with more memory"
        )
    return (
        f"{trial.setting}: {trial.value:,} is too much for {where}: about {fits:,} would fit (the first "
        f"{largest[0]:,} tokens of a batch took {size(largest[1])}); {trial.remedy}"
    )


def _tried(trial: Trial, rows: int, gpu: Gpu) -> Tried | None:
    """What the first rows of a batch take; None where they do not fit, or are none."""
    gpu.clear()
    try:
        return (trial.compute(rows), gpu.peak()) if rows else None
    except torch.OutOfMemoryError:
        return None


def _fits(trial: Trial, larger: Tried, smaller: Tried | None, room: int) -> int:
    """Tokens that would fit: on the line through both trials, rounded down; 0 where none would."""
    found, peak = larger
    if smaller and smaller[0] < found and smaller[1] < peak:
        each = (peak - smaller[1]) / (found - smaller[0])
        found += int(((1.0 - SPARE) * room - trial.later - peak) / each)
    digits = str(max(0, min(found, trial.tokens - 1)))
    return int(digits[:DIGITS].ljust(len(digits), "0"))
