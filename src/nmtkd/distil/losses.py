"""What a student pays for differing from its teacher. Tensors in, tensor out.

Shapes: N positions, V vocabulary, K kept tokens of the teacher's distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor


def coarsened_kl(lprobs_NV: Tensor, ids_NK: Tensor, probs_NK: Tensor) -> Tensor:
    """KL(teacher || student) a position [N], over the K kept tokens and one bucket for all others.

    lprobs are the student's log-probabilities, probs the teacher's (float32, sum <= 1 up to rounding). Merging outcomes never raises a
    KL divergence (log-sum inequality), so this is a lower bound of the full one, and equal to it where K = V.
    Word-level distillation of Kim & Rush (2016, section 3.1) up to the teacher's entropy, which has no gradient.
    """
    kept_NK = lprobs_NV.gather(-1, ids_NK)
    rest_N = (1.0 - probs_NK.sum(-1)).clamp(min=0.0)
    # log of the student's mass outside the kept tokens; 1 - sum(kept) would lose all digits where the sum is near 1
    others_N = lprobs_NV.scatter(-1, ids_NK, -torch.inf).logsumexp(-1)
    inside_N = (torch.xlogy(probs_NK, probs_NK) - probs_NK * kept_NK).sum(-1)
    if ids_NK.size(-1) == lprobs_NV.size(-1):
        return inside_N
    return inside_N + torch.xlogy(rest_N, rest_N) - rest_N * others_N


def word_level(logits_NV: Tensor, ids_NK: Tensor, probs_NK: Tensor, padding_N: Tensor, temperature: float) -> Tensor:
    """T^2 * sum over positions of KL(teacher || student) at temperature T (Hinton et al. 2015), padding left out before the sum.

    `probs` were made at the same temperature; T^2 keeps the gradient's size where T changes. Softmax in float32.
    """
    real_N = ~padding_N
    lprobs_NV = torch.log_softmax(logits_NV[real_N].float() / temperature, dim=-1)
    return temperature**2 * coarsened_kl(lprobs_NV, ids_NK[real_N], probs_NK[real_N]).sum()
