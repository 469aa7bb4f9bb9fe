"""The scale of a loss in float16, without which small gradients would be zero (Micikevicius et al. 2018).

A gradient is computed of the loss times a scale, and divided by it in float32. A scale too large shows as an
infinite gradient. Where others skip such an update, here its batches are computed again at half the scale:
every training makes as many updates, of the same pairs.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from nmtkd.plan.values import FLOAT16

FIRST = 2.0**7  # fairseq's: losses here are sums over tokens, not means, and so are their gradients
RAISED_AFTER = 2000  # updates, as in Micikevicius et al. 2018 and torch's GradScaler
LARGEST = 2.0**15  # float16 ends at 65,504, and the weight of a label is multiplied by it
FACTOR = 2.0  # a power of two rounds nothing


class LossScale:
    """1 for ever, but in float16."""

    def __init__(self, precision: str) -> None:
        self._moves = precision == FLOAT16
        self.value = FIRST if self._moves else 1.0
        self._fitted = 0  # updates in a row

    def fits(self, norm: Tensor) -> bool:
        """Whether an update may be made of a gradient with this norm; else the scale is half of what it was.

        An infinite gradient at scale 1 is no matter of the scale: True, and the caller sees to it.
        """
        if not self._moves:
            return True
        if not math.isfinite(float(norm)) and self.value > 1.0:
            self.value, self._fitted = self.value / FACTOR, 0
            return False
        self._fitted += 1
        if self._fitted % RAISED_AFTER == 0:
            self.value = min(LARGEST, self.value * FACTOR)
        return True

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"value": self.value, "fitted": self._fitted}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.value, self._fitted = state["value"], state["fitted"]
