"""The teacher's term of the loss at each position, from logits, as functions of tensors.

Shapes: N positions, V vocabulary, K kept tokens of the teacher's distribution, J outcomes (K + 1 with the
bucket of all other tokens, or K where K = V).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from nmtkd.distil.divergences import divergence
from nmtkd.plan.methods import Method


class _Grouped(torch.autograd.Function):
    """Logits of the K kept tokens, and the logsumexp of all other logits [N, K + 1].

    One pass over the vocabulary forward and one backward. 1 - sum(kept) would cancel where the kept
    tokens hold nearly all mass.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, ids_NK: Tensor) -> Tensor:
        others_N = logits_NV.scatter(-1, ids_NK, -torch.inf).logsumexp(-1)
        ctx.save_for_backward(logits_NV, ids_NK, others_N)
        return torch.cat([logits_NV.gather(-1, ids_NK), others_N.unsqueeze(-1)], dim=-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logits_NV, ids_NK, others_N = ctx.saved_tensors
        (grad_NJ,) = grads
        # This may overflow at the kept tokens, whose gradients are overwritten next.
        grad_NV = (logits_NV - others_N.unsqueeze(-1)).exp_().mul_(grad_NJ[:, -1:])
        return grad_NV.scatter_(-1, ids_NK, grad_NJ[:, :-1]), None


def grouped_lprobs(logits_NV: Tensor, ids_NK: Tensor) -> Tensor:
    """The student's log-probabilities of kept tokens and of all others together [N, J]; J = K where K = V."""
    if ids_NK.size(-1) == logits_NV.size(-1):
        return torch.log_softmax(logits_NV.gather(-1, ids_NK), dim=-1)
    grouped_NJ: Tensor = _Grouped.apply(logits_NV, ids_NK)  # type: ignore[no-untyped-call]
    return torch.log_softmax(grouped_NJ, dim=-1)


def grouped_probs(probs_NK: Tensor, outcomes: int) -> Tensor:
    """The teacher's probabilities of J outcomes [N, J]; for J = K + 1 with the mass of all others (>= 0)."""
    if probs_NK.size(-1) == outcomes:
        return probs_NK
    return torch.cat([probs_NK, (1.0 - probs_NK.sum(-1, keepdim=True)).clamp(min=0.0)], dim=-1)


@dataclass(frozen=True, kw_only=True)
class TeacherTerm:
    """A method's divergence at temperature T, that of the teacher's distributions."""

    method: Method
    temperature: float = 1.0

    def __call__(self, probs_NK: Tensor, logq_NJ: Tensor) -> Tensor:
        """T^2 D(teacher, student) [N]. `logq` are the student's log-probabilities at temperature T.

        The factor T^2 keeps the gradient's size independent of T (Hinton et al. 2015).
        """
        p_NJ = grouped_probs(probs_NK, logq_NJ.size(-1))
        return self.temperature**2 * divergence(self.method, p_NJ, logq_NJ)


def token_level(
    logits_NV: Tensor, ids_NK: Tensor, probs_NK: Tensor, padding_N: Tensor, term: TeacherTerm
) -> Tensor:
    """T^2 D(teacher, student) plus the ranking loss at each position [N]; 0 at padding.

    `probs` have the same temperature (sum <= 1 up to rounding). The divergence is a lower bound of the one
    over all V tokens, and equal to it where K = V: merging outcomes never raises it (data processing
    inequality). The exception is reverse KL, whose teacher has a floor. Computed in float32, or in float64
    where the logits are.
    """
    exact_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
    softened_NV = exact_NV if term.temperature == 1.0 else exact_NV / term.temperature
    loss_N = term(probs_NK, grouped_lprobs(softened_NV, ids_NK))
    rank = term.method.ranking
    if rank is not None:
        loss_N = loss_N + rank.weight * ranking(exact_NV, ids_NK[:, 0], rank.tokens)
    return loss_N.masked_fill(padding_N, 0.0)


def ranking(logits_NV: Tensor, best_N: Tensor, ranked: int) -> Tensor:
    """Mean over the student's top `ranked` tokens of max(0, log q(token) - log q(teacher's best)) [N].

    0 where both agree on the best token. After the top-1 ranking of Zhang et al. (2023, TIE-KD), who find
    that a teacher's distribution teaches mostly its best token.
    """
    return (
        (
            logits_NV.topk(min(ranked, logits_NV.shape[-1]), dim=-1).values
            - logits_NV.gather(-1, best_N.unsqueeze(-1))
        )
        .clamp(min=0.0)
        .mean(-1)
    )


def hardest(nll_N: Tensor, padding_N: Tensor, share: float) -> Tensor:
    """Which positions are the `share` (rounded up) with the largest negative log-likelihood [N].

    This is the batch-level selection of Wang et al. (2021). Padding does not count.
    """
    real = int((~padding_N).sum())
    # Exact arithmetic on the share as written: 0.28 of 25 is 7, not 7.000000000000001.
    count = math.ceil(Fraction(str(share)) * real)
    chosen_N = torch.zeros_like(padding_N)
    chosen_N[nll_N.detach().masked_fill(padding_N, -torch.inf).topk(count).indices] = True
    return chosen_N & ~padding_N
