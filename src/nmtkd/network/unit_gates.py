"""Adaptive capacity: gates on the units of a feed-forward block.

Shapes: B sentences, T positions of a sentence, C width, U units of a feed-forward block, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nmtkd.network.precision import exact, linear

# Bias of a closed gate. No input overcomes it: the gate and all its gradients are 0, so it stays closed.
CLOSED = -1000.0


class GatedLinear(nn.Module):
    """The first half of a gated feed-forward block: (W1 x + b1) * sigmoid(Wg x + bg).

    This is the gated linear unit of Dauphin et al. (2017).
    """

    def __init__(self, width: int, units: int, opening: float) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(width, units), nn.Linear(width, units)
        for layer in (self.value, self.gate):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.gate.bias, opening)
        self.opened: Tensor | None = None  # gates of the last forward pass [..., U]

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., U]."""
        self.opened = torch.sigmoid(linear(self.gate, x))
        return linear(self.value, x) * self.opened

    def close(self, closed_U: Tensor) -> None:
        """Permanently closes units: further training cannot open them."""
        with torch.no_grad():
            self.gate.weight[closed_U] = 0.0
            self.gate.bias[closed_U] = CLOSED

    def kept(self) -> Tensor:
        """Which units are not closed [U]."""
        return self.gate.bias > CLOSED / 2


def openness(opened_TBU: Tensor, padding_BT: Tensor) -> Tensor:
    """Each unit's mean gate over real positions [U]."""
    return opened_TBU[(~padding_BT).t()].mean(0, dtype=exact(opened_TBU.dtype))


@dataclass(frozen=True)
class Openness:
    """Each unit's mean gate in a batch or a part of one, by block, with the weights of parts in a batch."""

    open_LU: Sequence[Tensor]
    positions_L: Sequence[int]  # real positions that the means are over
    size: int  # sample size

    def to(self, device: torch.device | str) -> Openness:
        """The same on a device."""
        return replace(self, open_LU=[open_U.to(device) for open_U in self.open_LU])

    @classmethod
    def of(cls, parts: Sequence[Openness]) -> Openness:
        """That of the batch that has these parts."""
        positions_L = [sum(counts) for counts in zip(*(part.positions_L for part in parts), strict=True)]
        sums_LU = [torch.zeros_like(open_U) for open_U in parts[0].open_LU]
        for part in parts:
            sums_LU = [
                sum_U + count * open_U
                for sum_U, count, open_U in zip(sums_LU, part.positions_L, part.open_LU, strict=True)
            ]
        means_LU = [sum_U / count for sum_U, count in zip(sums_LU, positions_L, strict=True)]
        return cls(means_LU, positions_L, sum(part.size for part in parts))

    def through(self, part: Openness) -> list[Tensor]:
        """The values of the whole batch, with gradients through one part.

        For any f, the sum over parts of size x f has the value and the gradient of the batch's size x f.
        """
        return [
            whole_U.detach() + (of_part / of_whole) * (self.size / part.size) * (open_U - open_U.detach())
            for whole_U, of_whole, open_U, of_part in zip(
                self.open_LU, self.positions_L, part.open_LU, part.positions_L, strict=True
            )
        ]


def budget_penalty(open_LU: Sequence[Tensor], budget: float, polarity: float) -> Tensor:
    """(mean openness - c)^2 + polarity * mean of o (1 - o), over all units of all blocks.

    The first term pulls the mean to the budget c in (0, 1]; the second pushes each gate to 0 or 1.
    """
    all_U = torch.cat(list(open_LU))
    return (all_U.mean() - budget) ** 2 + polarity * (all_U * (1.0 - all_U)).mean()


def most_open(open_LU: Sequence[Tensor], budget: float) -> list[Tensor]:
    """Which units of each block stay [U]: the most open share `budget` (rounded) of all units.

    The most open unit of each block also stays.
    """
    all_U = torch.cat(list(open_LU))
    keep_U = torch.zeros_like(all_U, dtype=torch.bool)
    keep_U[all_U.argsort(descending=True, stable=True)[: round(budget * len(all_U))]] = True
    kept_LU = list(torch.split(keep_U, [len(open_U) for open_U in open_LU]))
    for keep_U, open_U in zip(kept_LU, open_LU, strict=True):
        keep_U[open_U.argmax()] = True
    return kept_LU


def cut(block: GatedLinear, after: nn.Linear, keep_U: Tensor) -> tuple[GatedLinear, nn.Linear]:
    """The block and its second matrix with only the units in `keep` [U], of which there is at least one."""
    units = int(keep_U.sum())
    smaller, following = (
        GatedLinear(block.value.in_features, units, 0.0),
        nn.Linear(units, after.out_features),
    )
    with torch.no_grad():
        for new, old in ((smaller.value, block.value), (smaller.gate, block.gate)):
            new.weight.copy_(old.weight[keep_U])
            new.bias.copy_(old.bias[keep_U])
        following.weight.copy_(after.weight[:, keep_U])
        following.bias.copy_(after.bias)
    device = after.weight.device
    return smaller.to(device), following.to(device)
