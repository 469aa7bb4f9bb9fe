"""Adaptive capacity during a training: gated units close at one update and are removed at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nmtkd.network import gated
from nmtkd.network.fairseq_bridge import Loaded
from nmtkd.plan.models import UnitGates
from nmtkd.text.text_form import TextForm
from nmtkd.training import validation
from nmtkd.training.validation import Sides


class AdaptiveCapacity:
    """The unit gates of one training. `facts` holds their sizes and validation BLEU so far, for the card."""

    def __init__(self, gates: UnitGates, loaded: Loaded, valid: Sides, form: TextForm) -> None:
        self.gates, self.loaded, self.valid, self.form = gates, loaded, valid, form
        self.facts: dict[str, Any] = {}

    def close(self, batches: Sequence[dict[str, Any]]) -> str:
        """Closes units. `facts` and the returned message hold validation BLEU (greedy) before and after."""
        before = self._bleu()
        self.facts = {"parameters_before": self.loaded.parameters(), "valid_bleu_before": before}
        gated.close(self.loaded.model, batches, self.loaded.dictionary.pad(), self.gates.budget)
        after = self._bleu()
        self.facts["valid_bleu_closed"] = after
        return (
            f"update {self.gates.closing}: gates close, validation BLEU {before or 0.0:.1f} before "
            f"and {after or 0.0:.1f} after"
        )

    def trim(self) -> list[str]:
        """Removes closed units. Returns fairseq's options for the model's new shape."""
        options, shape = gated.trim(self.loaded.model)
        self.facts |= {**shape, "valid_bleu_end": self._bleu()}
        return options

    def _bleu(self) -> float | None:
        return validation.bleu(self.loaded, self.valid, self.form)
