"""What a student pays at a position for differing from its teacher. Tensors in, tensor out.

Shapes: N positions, V vocabulary, K kept tokens of the teacher's distribution, J outcomes: K and one bucket for all other tokens, or K = V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from nmtkd.distil.divergences import divergence


@dataclass(frozen=True, kw_only=True)
class Term:
    """The teacher's term. `ranking` weighs a hinge on the teacher's best token against the student's `ranked` best ones."""

    temperature: float = 1.0
    divergence: str = "forward_kl"
    beta: float = 0.5
    ranking: float = 0.0
    ranked: int = 0


class _Grouped(torch.autograd.Function):
    """Logits of the K kept tokens, and the log of the summed exponentials of all others, as one tensor [N, K + 1].

    One pass over the vocabulary each way. 1 - sum(kept) would lose all digits where the kept tokens hold nearly everything.
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
        grad_NV = (logits_NV - others_N.unsqueeze(-1)).exp_().mul_(grad_NJ[:, -1:])  # may overflow at kept tokens, which follow
        return grad_NV.scatter_(-1, ids_NK, grad_NJ[:, :-1]), None


def grouped_lprobs(logits_NV: Tensor, ids_NK: Tensor) -> Tensor:
    """The student's log-probabilities of the kept tokens and of all others together [N, J]; J = K where K = V."""
    if ids_NK.size(-1) == logits_NV.size(-1):
        return torch.log_softmax(logits_NV.gather(-1, ids_NK), dim=-1)
    grouped_NJ: Tensor = _Grouped.apply(logits_NV, ids_NK)  # type: ignore[no-untyped-call]
    return torch.log_softmax(grouped_NJ, dim=-1)


def grouped_probs(probs_NK: Tensor, vocabulary: int) -> Tensor:
    """The teacher's probabilities of the same outcomes [N, J]; what is missing to 1 belongs to the others, and is never below 0."""
    if probs_NK.size(-1) == vocabulary:
        return probs_NK
    return torch.cat([probs_NK, (1.0 - probs_NK.sum(-1, keepdim=True)).clamp(min=0.0)], dim=-1)


def token_level(logits_NV: Tensor, ids_NK: Tensor, probs_NK: Tensor, padding_N: Tensor, term: Term) -> Tensor:
    """T^2 D(teacher, student) at temperature T, and the ranking hinge, for each position [N]; 0 at padding.

    `probs` were made at the same temperature (sum <= 1 up to rounding); T^2 keeps the gradient's size where T changes (Hinton et al. 2015).
    Merging outcomes never raises such a divergence (data processing; reverse KL's floor for the teacher's zeros is the exception), so the
    value is a lower bound of the one over all V tokens, and equal to it where K = V. In float32, or in float64 where the logits are.
    """
    exact_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
    softened_NV = exact_NV if term.temperature == 1.0 else exact_NV / term.temperature
    logq_NJ = grouped_lprobs(softened_NV, ids_NK)
    p_NJ = grouped_probs(probs_NK, logits_NV.size(-1))
    paid_N = term.temperature**2 * divergence(term.divergence, p_NJ, logq_NJ, term.beta)
    if term.ranking > 0.0:
        paid_N = paid_N + term.ranking * ranking(exact_NV, ids_NK[:, 0], term.ranked)
    return paid_N.masked_fill(padding_N, 0.0)


def ranking(logits_NV: Tensor, best_N: Tensor, ranked: int) -> Tensor:
    """Mean over the student's `ranked` best tokens of max(0, log q(token) - log q(teacher's best)) [N]; 0 where the student agrees.

    In the spirit of the top-1 ranking of Zhang et al. (2023, TIE-KD): what a teacher's distribution teaches is mostly its best token.
    """
    return (logits_NV.topk(ranked, dim=-1).values - logits_NV.gather(-1, best_N.unsqueeze(-1))).clamp(min=0.0).mean(-1)


def hardest(nll_N: Tensor, padding_N: Tensor, share: float) -> Tensor:
    """Which positions are the `share` (rounded up) with the largest negative log-likelihood [N] (Wang et al. 2021, batch-level).

    Padding is left out before anything is counted.
    """
    real = int((~padding_N).sum())
    count = math.ceil(Fraction(str(share)) * real)  # as the share is written: 0.28 of 25 is 7, not 7.000000000000001
    chosen_N = torch.zeros_like(padding_N)
    chosen_N[nll_N.detach().masked_fill(padding_N, -torch.inf).topk(count).indices] = True
    return chosen_N & ~padding_N
