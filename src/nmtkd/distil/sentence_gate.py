"""Hybrid distillation's gate: the weight of the token level against the sentence level, per sentence.

Shapes: B sentences, T positions of a sentence, C width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmtkd.network.precision import as_written, exact


class SentenceGate(nn.Module):
    """g(x) = sigmoid(w . mean encoder output + b), one value a sentence; 0.5 before training.

    The gate is from arXiv 2404.14827, this form of it is ours.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, encoded_TBC: Tensor, padding_BT: Tensor) -> Tensor:
        """g [B]. Detached: otherwise the encoder could lower the loss by moving the gate."""
        states_TBC = encoded_TBC.detach().to(exact(encoded_TBC.dtype))
        real_TB1 = (~padding_BT).t().unsqueeze(-1).to(states_TBC.dtype)
        mean_BC = (states_TBC * real_TB1).sum(0) / real_TB1.sum(0)
        with as_written(mean_BC):
            return torch.sigmoid(self.score(mean_BC)).squeeze(-1)


def hybrid(word_B: Tensor, seq_B: Tensor, gate_B: Tensor) -> Tensor:
    """Sum over sentences of g L_word + (1 - g) L_seq (arXiv 2404.14827, equation 4).

    dL/dg = L_word - L_seq: see docs/methods.md.
    """
    return (gate_B * word_B + (1.0 - gate_B) * seq_B).sum()
