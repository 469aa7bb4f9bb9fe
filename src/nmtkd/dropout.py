"""Dropout whose random numbers cost little: sixteen bits each, drawn for a whole pass at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STEPS = 2**16  # of a drawn number: a rate is met to within 2^-17, and the scale is that of the rate as met
BYTES = 2  # of a drawn number
RAW = 8  # bytes that the generator yields at a time


class Dropout:
    """The dropout of one forward pass, at `places` places of the shape of `tokens` x `width`; with rate 0 it does nothing.

    On a CPU the numbers come from a generator seeded by torch's, so that they follow from torch's seed alone: torch's own draws are
    fifteen times dearer there (docs/performance.md). On a GPU torch's own kernel does it.
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
        """x with each value 0 at the rate, the others scaled so that the mean stays."""
        if self._raw is None:
            return torch.dropout(x, self._rate, True)
        return x * self._mask(x.dtype)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """Dropped x on top of a residual."""
        if self._rate == 0.0:
            return residual + x
        if self._raw is None:
            return residual + torch.dropout(x, self._rate, True)
        return torch.addcmul(residual, x, self._mask(x.dtype))

    def _mask(self, dtype: torch.dtype) -> Tensor:
        """0 or the scale, for the next place."""
        assert self._raw is not None
        raw = self._raw[self._place]
        self._place += 1
        return (raw >= self._bound).to(dtype).mul_(self._scale)
