"""Dropout with cheap random numbers: 16 bits each, drawn once for a forward pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STEPS = 2**16  # values of a drawn number: the rate is rounded to within 2^-17, and the scale follows it
BYTES = 2  # of a drawn number
RAW = 8  # bytes of one output of the generator


class Dropout:
    """All dropouts of a forward pass: `places` tensors of shape `tokens` x `width`. Rate 0 does nothing.

    On a CPU numpy's generator, seeded by torch's, draws the numbers: torch's own draws cost fifteen times as
    much there (docs/performance.md). The numbers follow from torch's seed alone. On a GPU torch draws them.
    """

    def __init__(self, rate: float, tokens: Tensor, width: int, places: int) -> None:
        self._rate = rate
        self._raw: Tensor | None = None
        self._place = 0
        if rate > 0.0 and tokens.device.type == "cpu":
            shape = (places, *tokens.shape, width)
            count = places * tokens.numel() * width
            seed = int(torch.randint(torch.iinfo(torch.int64).max, ()).item())
            raw = np.random.SFC64(seed).random_raw(-(-count * BYTES // RAW))
            self._raw = torch.from_numpy(raw.view(np.int16)[:count]).view(shape)
            dropped = round(rate * STEPS)
            self._bound, self._scale = dropped - STEPS // 2, STEPS / (STEPS - dropped)

    def __call__(self, x: Tensor) -> Tensor:
        """x with values zeroed at the rate, the others scaled to keep the mean."""
        if self._raw is None:
            return torch.dropout(x, self._rate, True)
        return x * self._mask(x.dtype)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + dropout(x)."""
        if self._rate == 0.0:
            return residual + x
        if self._raw is None:
            return residual + torch.dropout(x, self._rate, True)
        return torch.addcmul(residual, x, self._mask(x.dtype))

    def _mask(self, dtype: torch.dtype) -> Tensor:
        """The next dropout's mask: 0 or the scale."""
        assert self._raw is not None
        raw = self._raw[self._place]
        self._place += 1
        return (raw >= self._bound).to(dtype).mul_(self._scale)
