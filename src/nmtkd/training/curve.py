"""The learning curve of a training: a row for each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Losses are in bits per token, as in fairseq's logs. gate and openness are means since the last row, empty
# for models without gates.
CURVE = "update,epoch,train_loss,valid_loss,valid_bleu,target_tokens,gate,openness"
WATCHED = ("gate", "openness")


class Curve:
    """`rows` of the curve so far, and what is noted since the last of them."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._restart()

    def _restart(self) -> None:
        self._losses: list[tuple[float, float]] = []  # (sum of losses, tokens) of each update
        self._watched: dict[str, list[float]] = {name: [] for name in WATCHED}

    def note(self, log: Mapping[str, Any]) -> None:
        """Notes an update by what Stepper.step returns."""
        self._losses.append((log["loss"] * log["ntokens"], log["ntokens"]))
        for name in WATCHED:
            self._watched[name] += [log[name] / log["nsentences"]] if name in log else []

    def add(
        self, *, update: int, epoch: int, valid_loss: float, valid_bleu: float | None, target_tokens: int
    ) -> str:
        """Adds a row. Returns its losses and gates as a message."""
        train_loss = sum(loss for loss, _ in self._losses) / max(1, sum(tokens for _, tokens in self._losses))
        watched = [sum(values) / len(values) if values else None for values in self._watched.values()]
        self._restart()
        row = [update, epoch, train_loss, valid_loss, valid_bleu, target_tokens, *watched]
        self.rows.append([round(value, 4) if isinstance(value, float) else value for value in row])
        shown = "".join(
            f", {name} {value:.2f}" for name, value in zip(WATCHED, watched, strict=True) if value is not None
        )
        return f"update {update}: train loss {train_loss:.3f}, valid loss {valid_loss:.3f}{shown}"
