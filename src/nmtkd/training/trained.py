"""What comes of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from nmtkd import files, machine, processes
from nmtkd.network.stamps import stamp
from nmtkd.plan import layout

PASS_DIGITS = NORM_DIGITS = 4  # decimals of a number of passes, of a gradient's norm


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What trainings on a text of `pairs` pairs saw of it. Tokens include EOS, not padding."""

    pairs: int
    updates: int = 0
    sentences: int = 0
    source_tokens: int = 0
    target_tokens: int = 0  # those that the loss is divided by
    trainings: int = 1
    largest_norm: float = 0.0  # of an update's gradient, before it was clipped

    def after(self, log: dict[str, Any]) -> Seen:
        """The same and one update more, by what Stepper.step returns of it."""
        return replace(
            self,
            updates=self.updates + 1,
            sentences=self.sentences + int(log["nsentences"]),
            source_tokens=self.source_tokens + int(log["source_tokens"]),
            target_tokens=self.target_tokens + int(log["ntokens"]),
            largest_norm=max(self.largest_norm, log["gradient_norm"]),
        )

    def __add__(self, other: Seen) -> Seen:
        """What both saw, of equally many pairs."""
        counts = ("updates", "sentences", "source_tokens", "target_tokens", "trainings")
        sums = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return replace(self, largest_norm=max(self.largest_norm, other.largest_norm), **sums)

    def facts(self) -> dict[str, int | float]:
        """Its counts for a card, with the number of passes over the pairs."""
        return {
            "updates": self.updates,
            "sentences": self.sentences,
            "passes": round(self.sentences / self.pairs, PASS_DIGITS),
            "source_tokens": self.source_tokens,
            "target_tokens": self.target_tokens,
            "trainings": self.trainings,
        }


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of a training: the card, which follows from its settings, and its cost on this machine."""

    card: dict[str, Any]
    seconds: float
    seen: Seen

    @property
    def cost(self) -> dict[str, float]:
        """Seconds of training, and target tokens per second."""
        rate = self.seen.target_tokens / max(self.seconds, math.ulp(1.0))
        return {"seconds": round(self.seconds, 1), "target_tokens_per_second": round(rate, 1)}

    def write_card(self, folder: Path) -> None:
        """Writes the card of the model in `folder`, with its hash. Only the first process has a model."""
        if processes.first():
            files.write_json(folder / layout.CARD, {**self.card, "model": stamp(layout.model_dir(folder))})

    def record(self, key: str, folder: Path) -> str:
        """Keeps what the model in `folder` cost in reports/machine/, and returns a line that says so.

        With it goes the largest norm of a gradient, by which bench/quality.py compares precisions.
        The model's hash goes with it: seconds are never shown beside another model. A process that helped
        with the training records nothing.
        """
        if not processes.first():
            return ""
        model = stamp(layout.model_dir(folder))
        norm = round(self.seen.largest_norm, NORM_DIGITS)
        measured = machine.measurement(
            layout.TRAINING, key, model, processes.count(), **self.cost, largest_gradient_norm=norm
        )
        files.write_script(layout.machine_file(layout.TRAINING, key), layout.MEASURED, measured)
        rate = self.cost["target_tokens_per_second"]
        return f"{self.card['parameters']} parameters, {self.cost['seconds']:g} s, {rate:g} target tokens/s"


def together(trainings: Sequence[Trained], card: dict[str, Any]) -> Trained:
    """Several trainings as one, of `card`: what they saw and their seconds are sums."""
    seen = reduce(lambda one, other: one + other, (training.seen for training in trainings))
    return Trained(
        card={**card, "data": seen.facts()},
        seconds=sum(training.seconds for training in trainings),
        seen=seen,
    )
