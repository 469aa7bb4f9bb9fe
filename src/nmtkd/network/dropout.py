"""Dropout with cheap random numbers: 16 bits each, drawn once for a forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

STEPS = 2**16  # values of a drawn number: the rate is rounded to within 2^-17, and the scale follows it
BYTES = 2  # of a drawn number
RAW = 8  # bytes of one output of the generator


class Dropout:
    """All dropouts of a forward pass: `places` tensors of the shape of `like`. Rate 0 does nothing.

    On a CPU numpy's generator, seeded by torch's, draws the numbers: torch's own draws cost fifteen times as
    much there (docs/performance.md). The numbers follow from torch's seed alone. On a GPU torch draws them.
    """

    def __init__(self, rate: float, like: Tensor, places: int) -> None:
        self._rate = rate
        self._raw: np.ndarray[Any, np.dtype[np.int16]] | None = None
        self._place = 0
        if rate > 0.0 and like.device.type == "cpu":
            count = places * like.numel()
            seed = int(torch.randint(torch.iinfo(torch.int64).max, ()).item())
            raw = np.random.SFC64(seed).random_raw(-(-count * BYTES // RAW))
            self._raw = raw.view(np.int16)[:count].reshape(places, *like.shape)
            dropped = round(rate * STEPS)
            self._bound, self._scale = dropped - STEPS // 2, STEPS / (STEPS - dropped)

    def __call__(self, x: Tensor) -> Tensor:
        """x with values zeroed at the rate, the others scaled to keep the mean."""
        if self._raw is None:
            return torch.dropout(x, self._rate, True)
        return (x * self._mask(x.dtype)).mul_(self._scale)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + dropout(x)."""
        if self._rate == 0.0:
            return residual + x
        if self._raw is None:
            return residual + torch.dropout(x, self._rate, True)
        return torch.addcmul(residual, x, self._mask(x.dtype), value=self._scale)

    def _mask(self, dtype: torch.dtype) -> Tensor:
        """The next dropout's mask: 0 or 1. By numpy, which compares and casts several times as fast."""
        assert self._raw is not None
        kept = self._raw[self._place] >= self._bound
        self._place += 1
        if dtype.itemsize != BYTES:
            return torch.from_numpy(kept.astype(np.float32)).to(dtype)
        one = torch.ones((), dtype=dtype).view(torch.int16).numpy()  # its bits
        return torch.from_numpy(kept * one).view(dtype)
