"""What comes of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtkd import files, machine
from nmtkd.plan import layout


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of a training: the card, which follows from its settings, and its cost on this machine."""

    card: dict[str, Any]
    seconds: float
    target_tokens: int

    @property
    def cost(self) -> dict[str, float]:
        """Seconds of training, and target tokens per second."""
        rate = self.target_tokens / max(self.seconds, math.ulp(1.0))
        return {"seconds": round(self.seconds, 1), "target_tokens_per_second": round(rate, 1)}

    def record(self, key: str, folder: Path) -> str:
        """Keeps what the model in `folder` cost in reports/machine/, and returns a line that says so.

        The model's hash goes with it: seconds are never shown beside another model.
        """
        model = (layout.model_dir(folder) / layout.HASH).read_text(encoding="utf-8").strip()
        measured = machine.measurement(layout.TRAINING, key, model, **self.cost)
        files.write_script(layout.machine_file(layout.TRAINING, key), layout.MEASURED, measured)
        rate = self.cost["target_tokens_per_second"]
        return f"{self.card['parameters']} parameters, {self.cost['seconds']:g} s, {rate:g} target tokens/s"
