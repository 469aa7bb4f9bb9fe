"""Adaptive capacity in a training: gated units close at one update, and are cut out at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from nmtkd.models import validation
from nmtkd.models.fairseq_bridge import Loaded
from nmtkd.models.validation import Sides
from nmtkd.params import Gates


class Gating(Protocol):
    """What nmtkd_fairseq.gated does to a gated model, in place."""

    def close(self, model: Any, batches: Sequence[dict[str, Any]], pad: int, budget: float) -> None:
        """Closes for good all units but the share `budget` that `batches` open most."""

    def trim(self, model: Any) -> tuple[list[str], dict[str, Any]]:
        """Cuts them out; returns options that build the new shape, and facts about it."""


class Adaptive:
    """The gates of one training, judged by the validation set. `facts` says what happened to them so far."""

    def __init__(self, gates: Gates, gating: Gating, loaded: Loaded, valid: Sides) -> None:
        self.gates, self.gating, self.loaded, self.valid = gates, gating, loaded, valid
        self.facts: dict[str, Any] = {}

    def close(self, batches: Sequence[dict[str, Any]]) -> str:
        """Closes units, and notes validation BLEU (greedy) before and after; returns a line that says so."""
        self.facts = {"parameters_before": self.loaded.parameters(), "valid_bleu_before": validation.bleu(self.loaded, self.valid)}
        self.gating.close(self.loaded.model, batches, self.loaded.dictionary.pad(), self.gates.budget)
        self.facts["valid_bleu_closed"] = validation.bleu(self.loaded, self.valid)
        told = [f"{self.facts[name] or 0.0:.1f}" for name in ("valid_bleu_before", "valid_bleu_closed")]
        return f"update {self.gates.closing}: gates close, validation BLEU {told[0]} before and {told[1]} after"

    def trim(self) -> list[str]:
        """Cuts what is closed; the options of the model's new shape."""
        options, shape = self.gating.trim(self.loaded.model)
        self.facts |= {**shape, "valid_bleu_end": validation.bleu(self.loaded, self.valid)}
        return options
