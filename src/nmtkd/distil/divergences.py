"""How far a student's distribution is from its teacher's. Tensors in, tensor out.

Shapes: N positions, J outcomes (kept tokens, and the bucket of all others where there is one). All in natural logarithms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 2.0**-24  # float16's smallest number above zero: what a stored probability of 0 may have been


def forward_kl(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """KL(teacher || student) [N] (Hinton et al. 2015; Kim & Rush 2016 up to the teacher's entropy, which has no gradient)."""
    return (torch.xlogy(p_NJ, p_NJ) - p_NJ * logq_NJ).sum(-1)


def reverse_kl(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """KL(student || teacher) [N] (Gu et al. 2024); the teacher's zeros count as SMALLEST, so that the value stays finite."""
    return (logq_NJ.exp() * (logq_NJ - p_NJ.clamp(min=SMALLEST).log())).sum(-1)


def jensen_shannon(p_NJ: Tensor, logq_NJ: Tensor, beta: float) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q [N] (Agarwal et al. 2024); 0.5 is symmetric."""
    logm_NJ = torch.logaddexp(p_NJ.log() + math.log(beta), logq_NJ + math.log1p(-beta))
    teacher_N = (torch.xlogy(p_NJ, p_NJ) - p_NJ * logm_NJ).sum(-1)
    return beta * teacher_N + (1.0 - beta) * (logq_NJ.exp() * (logq_NJ - logm_NJ)).sum(-1)


def total_variation(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """Half the sum of absolute differences [N], between 0 and 1 (Wen et al. 2023)."""
    return 0.5 * (p_NJ - logq_NJ.exp()).abs().sum(-1)


def divergence(kind: str, p_NJ: Tensor, logq_NJ: Tensor, beta: float) -> Tensor:
    """The divergence of that name [N]; `beta` is jensen_shannon's."""
    if kind == "jensen_shannon":
        return jensen_shannon(p_NJ, logq_NJ, beta)
    return {"forward_kl": forward_kl, "reverse_kl": reverse_kl, "total_variation": total_variation}[kind](p_NJ, logq_NJ)
