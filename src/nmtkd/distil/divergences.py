"""Divergences between a teacher's and a student's distribution, as functions of tensors.

Shapes: N positions, J outcomes (the teacher's top k tokens, and the bucket of all others if there is one).
Values are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nmtkd.plan.methods import Method

SMALLEST = 2.0**-24  # float16's smallest positive number: a stored probability of 0 may have been this large


def forward_kl(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """KL(teacher || student) [N] (Hinton et al. 2015).

    Kim & Rush (2016) leave out the teacher's entropy, which has no gradient.
    """
    return (torch.xlogy(p_NJ, p_NJ) - p_NJ * logq_NJ).sum(-1)


def reverse_kl(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """KL(student || teacher) [N] (Gu et al. 2024).

    Teacher probabilities are raised to at least SMALLEST, so that the value is finite.
    """
    return (logq_NJ.exp() * (logq_NJ - p_NJ.clamp(min=SMALLEST).log())).sum(-1)


def jensen_shannon(p_NJ: Tensor, logq_NJ: Tensor, beta: float) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m) [N], m = beta p + (1 - beta) q (Agarwal et al. 2024).

    It is symmetric for beta = 0.5.
    """
    logm_NJ = torch.logaddexp(p_NJ.log() + math.log(beta), logq_NJ + math.log1p(-beta))
    teacher_N = (torch.xlogy(p_NJ, p_NJ) - p_NJ * logm_NJ).sum(-1)
    return beta * teacher_N + (1.0 - beta) * (logq_NJ.exp() * (logq_NJ - logm_NJ)).sum(-1)


def total_variation(p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """Half the sum of absolute differences [N], between 0 and 1 (Wen et al. 2023)."""
    return 0.5 * (p_NJ - logq_NJ.exp()).abs().sum(-1)


def _required(option: float | None) -> float:
    assert option is not None, "plan/methods.py sees to it that a divergence has its option"
    return option


# Each takes the teacher's probabilities, the student's log-probabilities, and the method for its options.
DIVERGENCES: dict[str, Callable[[Tensor, Tensor, Method], Tensor]] = {
    "forward_kl": lambda p_NJ, logq_NJ, _: forward_kl(p_NJ, logq_NJ),
    "reverse_kl": lambda p_NJ, logq_NJ, _: reverse_kl(p_NJ, logq_NJ),
    "jensen_shannon": lambda p_NJ, logq_NJ, method: jensen_shannon(p_NJ, logq_NJ, _required(method.beta)),
    "total_variation": lambda p_NJ, logq_NJ, _: total_variation(p_NJ, logq_NJ),
}


def divergence(method: Method, p_NJ: Tensor, logq_NJ: Tensor) -> Tensor:
    """The method's divergence [N]."""
    assert method.divergence is not None, "a teacher's term needs a divergence"
    return DIVERGENCES[method.divergence](p_NJ, logq_NJ, method)
