"""Passes forwards and backwards as CUDA graphs: a GPU then need not wait for Python.

A model of some forty million parameters has over a thousand kernels in a step, most of which take less time
than Python needs to start them. A graph starts them all at once. One is recorded for each size of batches
(packing.py) when the first of them comes, and every batch is computed by a graph, the first too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nmtkd.training.packing import PackedBatch, Size

Compute = Callable[[PackedBatch], Tensor]
SPARE = 2  # updates that may be under way before the host waits for the oldest


class Graphs:
    """`compute` of batches, which adds to the gradients of `parameters` and returns numbers.

    Graphs share their memory: what one leaves there, but for its numbers, is lost to the next.
    """

    def __init__(self, compute: Compute, parameters: list[torch.nn.Parameter]) -> None:
        self._compute, self._parameters = compute, parameters
        self._recorded: dict[Size, tuple[Any, PackedBatch, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __len__(self) -> int:
        return len(self._recorded)

    def record(self, batch: PackedBatch) -> None:
        """Records the graph of a batch's size, if there is none. Gradients are lost."""
        if batch.size in self._recorded:
            return
        own = batch.each(torch.clone)
        if not self._recorded:
            self._warm_up(own)
        graph = torch.cuda.CUDAGraph()
        # thread_local: what another thread asks of the GPU, as to copy a batch, is no part of it.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            found = self._compute(own)
        self._recorded[batch.size] = graph, own, found

    def __call__(self, batch: PackedBatch) -> Tensor:
        """Computes a batch of a recorded size."""
        graph, own, found = self._recorded[batch.size]
        own.copy(batch)
        graph.replay()
        return found.clone()

    def _warm_up(self, batch: PackedBatch) -> None:
        """Computes once, so that libraries are ready and each gradient has its place."""
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._compute(batch)
        torch.cuda.current_stream().wait_stream(stream)


def moved(x: Tensor, device: torch.device) -> Tensor:
    """x on a GPU, which copies it while the host goes on."""
    return x.pin_memory().to(device, non_blocking=True)


class Later:
    """Numbers that a GPU will have computed. `read` waits for them, and not for what is started later."""

    def __init__(self, numbers: Tensor) -> None:
        self._host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        self._host.copy_(numbers, non_blocking=True)
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record()

    def read(self) -> list[float]:
        """The numbers."""
        self._done.synchronize()
        found: list[float] = self._host.tolist()
        return found
