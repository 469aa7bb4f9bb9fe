"""Gates: how much a sentence learns of each level (hybrid), and how much of a feed-forward block is open (adaptive capacity).

Shapes: B sentences, T positions of a sentence, C width, U units of a feed-forward block, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SentenceGate(nn.Module):
    """g(x) = sigmoid(w . mean encoder output + b), one a sentence; 0.5 before training (arXiv 2404.14827; the inside is our own)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, encoded_TBC: Tensor, padding_BT: Tensor) -> Tensor:
        """g [B]. The encoder is read, not taught: through the gate it would learn to look easy."""
        real_TB1 = (~padding_BT).t().unsqueeze(-1).to(encoded_TBC.dtype)
        mean_BC = (encoded_TBC.detach() * real_TB1).sum(0) / real_TB1.sum(0)
        return torch.sigmoid(self.score(mean_BC)).squeeze(-1)


def hybrid(word_B: Tensor, seq_B: Tensor, gate_B: Tensor) -> Tensor:
    """Sum over sentences of g L_word + (1 - g) L_seq (arXiv 2404.14827, equation 4). dL/dg = L_word - L_seq: see docs/methods.md."""
    return (gate_B * word_B + (1.0 - gate_B) * seq_B).sum()


CLOSED = -1000.0  # a gate's bias that no input overcomes: the gate is 0, and so is every gradient through it, so that it stays closed


class GatedLinear(nn.Module):
    """The first half of a gated feed-forward block: (W1 x + b1) * sigmoid(Wg x + bg), the gated linear unit of Dauphin et al. (2017)."""

    def __init__(self, width: int, units: int, opening: float) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(width, units), nn.Linear(width, units)
        for layer in (self.value, self.gate):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.gate.bias, opening)
        self.opened: Tensor | None = None  # the gates of the last forward pass [..., U], for those who count them

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., U]."""
        self.opened = torch.sigmoid(self.gate(x))
        return self.value(x) * self.opened

    def close(self, closed_U: Tensor) -> None:
        """Closes units for good: as if they were not there, whatever training does next."""
        with torch.no_grad():
            self.gate.weight[closed_U] = 0.0
            self.gate.bias[closed_U] = CLOSED

    def kept(self) -> Tensor:
        """Which units are not closed for good [U]."""
        return self.gate.bias > CLOSED / 2


def openness(opened_TBU: Tensor, padding_BT: Tensor) -> Tensor:
    """Each unit's mean gate over real positions [U]."""
    return opened_TBU[(~padding_BT).t()].mean(0)


def budget_penalty(open_LU: Sequence[Tensor], budget: float, polarity: float) -> Tensor:
    """(mean openness - c)^2 + polarity * mean of o (1 - o), over all units of all blocks.

    The first part pulls the mean to the budget c in (0, 1]; the second makes a unit choose between open and closed.
    """
    all_U = torch.cat(list(open_LU))
    return (all_U.mean() - budget) ** 2 + polarity * (all_U * (1.0 - all_U)).mean()


def most_open(open_LU: Sequence[Tensor], budget: float) -> list[Tensor]:
    """Which units are among the share `budget` (rounded) of all that is most open, or the most open one of their block [U] each."""
    all_U = torch.cat(list(open_LU))
    keep_U = torch.zeros_like(all_U, dtype=torch.bool)
    keep_U[all_U.argsort(descending=True, stable=True)[: round(budget * len(all_U))]] = True
    kept_LU = list(torch.split(keep_U, [len(open_U) for open_U in open_LU]))
    for keep_U, open_U in zip(kept_LU, open_LU, strict=True):
        keep_U[open_U.argmax()] = True
    return kept_LU


def cut(block: GatedLinear, after: nn.Linear, keep_U: Tensor) -> tuple[GatedLinear, nn.Linear]:
    """The block and its second matrix without the units that `keep` [U] leaves out; at least one unit stays."""
    kept = int(keep_U.sum())
    smaller, following = GatedLinear(block.value.in_features, kept, 0.0), nn.Linear(kept, after.out_features)
    with torch.no_grad():
        for new, old in ((smaller.value, block.value), (smaller.gate, block.gate)):
            new.weight.copy_(old.weight[keep_U])
            new.bias.copy_(old.bias[keep_U])
        following.weight.copy_(after.weight[:, keep_U])
        following.bias.copy_(after.bias)
    device = after.weight.device
    return smaller.to(device), following.to(device)
