"""Cross-entropy and the teacher's term, with gradients, from features in one pass over chunks of logits.

A chunk's logits are computed, reduced to losses and turned into their gradients while they are in the cache.
Only the gradients of features and output matrix are stored. The formulas are those of token_loss.py and of
fairseq's label-smoothed cross-entropy.

Shapes: N positions without padding, C width, V vocabulary, K kept tokens of the teacher's distribution,
J = K + 1 outcomes; n, not N, for one chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nmtkd.network.matmul import matmul_transposed
from nmtkd.network.precision import ROWS, as_written, exact, padded, wanted

# Bytes of a chunk of logits, which fits a core's share of the cache. 2 to 16 MiB made no difference
# (docs/performance.md).
CHUNK_BYTES = 2**23
CHUNK_BYTES_GPU = 2**28  # a GPU needs large matrix products, and has the memory
# Logits up to this need no shift before exp: float32 ends at e^88, a sum of 10^5 such terms is below e^72.
SAFE = 60.0


class Term(Protocol):
    """The teacher's term: token_loss.TeacherTerm."""

    @property
    def temperature(self) -> float:
        """T of the teacher's distributions."""

    def __call__(self, probs_NK: Tensor, logq_NJ: Tensor) -> Tensor:
        """The term of each position [N]."""


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Targets of positions: a label with weight `label_weight`, soft targets with weight `teacher_weight`.

    Weights [N] may require gradients (a gate's). Without a teacher the last four fields are None.
    """

    target_N: Tensor
    label_weight_N: Tensor
    smoothing: float
    ids_NK: Tensor | None = None
    probs_NK: Tensor | None = None
    teacher_weight_N: Tensor | None = None
    term: Term | None = None


@dataclass(frozen=True)
class ChunkedLoss:
    """The weighted sum, which has gradients, and its terms at each position [N], which have none."""

    total: Tensor
    ce_N: Tensor
    nll_N: Tensor
    term_N: Tensor


def chunked_loss(
    features_NC: Tensor, output_VC: Tensor, positions: Positions, scale: float = 1.0
) -> ChunkedLoss:
    """Sum over positions of label_weight * CE + teacher_weight * T^2 D(teacher, student).

    The logits are features @ output^T. Computed in float32 (products in the features' own type), or in
    float64 where the features are. Gradients are kept times `scale`, a power of two, until they are asked
    for: where that is what the loss is multiplied by, float16 loses no small one (training/loss_scale.py).
    """
    features_NC = features_NC.to(wanted(features_NC))
    weights = positions.label_weight_N, positions.teacher_weight_N
    with as_written(features_NC):
        total, ce_N, nll_N, term_N = _Loss.apply(  # type: ignore[no-untyped-call]
            features_NC, output_VC, *weights, positions, scale
        )
    return ChunkedLoss(total, ce_N, nll_N, term_N)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features_NC: Tensor,
        output_VC: Tensor,
        label_weight_N: Tensor,
        teacher_weight_N: Tensor | None,
        positions: Positions,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        passes = _Passes(features_NC, output_VC, positions, scale)
        for start in range(0, len(features_NC), passes.rows):
            passes.chunk(slice(start, start + passes.rows))
        total = passes.ce_N.dot(label_weight_N.to(passes.dtype))
        if teacher_weight_N is not None:
            total = total + passes.term_N.dot(teacher_weight_N.to(passes.dtype))
        ctx.save_for_backward(*passes.gradients(), passes.ce_N, passes.term_N)
        ctx.scales = scale, scale, 1.0, 1.0
        ctx.mark_non_differentiable(passes.ce_N, passes.nll_N, passes.term_N)
        return total, passes.ce_N, passes.nll_N, passes.term_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        # The saved tensors are the gradients by the first four inputs, in order.
        gradients = [
            saved * (grad / scale).to(saved.dtype) if needed else None
            for saved, scale, needed in zip(ctx.saved_tensors, ctx.scales, ctx.needs_input_grad, strict=False)
        ]
        return (*gradients, None, None)


class _Passes:
    """Passes over all chunks, and their losses and gradients."""

    def __init__(self, features_NC: Tensor, output_VC: Tensor, positions: Positions, scale: float) -> None:
        count, vocabulary = len(features_NC), len(output_VC)
        self.dtype = exact(features_NC.dtype)
        self.scale = scale
        size = CHUNK_BYTES if features_NC.device.type == "cpu" else CHUNK_BYTES_GPU
        self.rows = max(1, size // (self.dtype.itemsize * vocabulary) // ROWS * ROWS)
        self.features_NC, self.output_VC, self.positions = (
            features_NC,
            output_VC.to(features_NC.dtype),
            positions,
        )
        # Probability of each token but the target in the smoothed label, as in fairseq.
        self.other = positions.smoothing / (vocabulary - 1)
        self.gold = 1.0 - positions.smoothing - self.other
        # Smoothing needs the sum of all logits. It is a product with one vector, as is its gradient: no pass
        # over logits.
        self.sum_C = output_VC.to(self.dtype).sum(0)
        self.logits_N = features_NC.to(self.dtype) @ self.sum_C
        # Cauchy-Schwarz: abs(logit) <= norm(feature) * norm(embedding). Where that is below SAFE, exp cannot
        # overflow and no maximum is subtracted. A GPU would have to be waited for.
        safe = SAFE * min(1.0, positions.term.temperature if positions.term else 1.0)
        self.shifted = features_NC.device.type != "cpu" or not _bound(features_NC, output_VC) < safe
        self.ce_N, self.nll_N, self.term_N = (
            torch.zeros(count, dtype=self.dtype, device=features_NC.device) for _ in range(3)
        )
        self.grad_NC = torch.empty_like(features_NC)
        self.grad_VC = torch.zeros_like(output_VC, dtype=self.dtype)

    def chunk(self, part: slice) -> None:
        """Losses and gradients of one chunk. Its logits become their own gradient, in place."""
        positions, inputs_nC = self.positions, self.features_NC[part]
        count, inputs_nC = len(inputs_nC), padded(inputs_nC)
        target_n1, label_weight_n1 = (
            positions.target_N[part, None],
            positions.label_weight_N[part, None].to(self.dtype) * self.scale,
        )
        logits_nV = matmul_transposed(inputs_nC, self.output_VC)[:count].to(self.dtype)
        at_target_n1 = logits_nV.gather(-1, target_n1)
        ids_nK = target_n1[:, :0] if positions.ids_NK is None else positions.ids_NK[part]
        kept_nK = logits_nV.gather(-1, ids_nK)
        # Only the other tokens remain: computing their mass as 1 - sum(kept) would cancel.
        logits_nV.scatter_(-1, ids_nK, -torch.inf)
        max_n1 = logits_nV.amax(-1, keepdim=True) if self.shifted else torch.zeros_like(at_target_n1)
        if self.shifted:
            logits_nV.sub_(max_n1)
        temperature = positions.term.temperature if positions.term else 1.0
        soft_nV = (logits_nV / temperature).exp_() if temperature != 1.0 else None
        mass_n1 = logits_nV.exp_().sum(-1, keepdim=True)
        rest_n1 = max_n1 + mass_n1.log()
        log_z_n1 = torch.cat([kept_nK, rest_n1], -1).logsumexp(-1, keepdim=True)
        nll_n1 = log_z_n1 - at_target_n1
        smooth_n1 = len(self.output_VC) * log_z_n1 - self.logits_N[part, None]
        self.nll_N[part], self.ce_N[part] = nll_n1[:, 0], (self.gold * nll_n1 + self.other * smooth_n1)[:, 0]
        scale_n1, grad_kept_nK = (
            label_weight_n1 * (rest_n1 - log_z_n1).exp() / mass_n1,
            label_weight_n1 * (kept_nK - log_z_n1).exp(),
        )
        if positions.teacher_weight_N is not None:
            soft_mass_n1 = mass_n1 if soft_nV is None else soft_nV.sum(-1, keepdim=True)
            grad_nJ = (
                self._teacher_term(part, torch.cat([kept_nK, max_n1], -1) / temperature, soft_mass_n1)
                / temperature
            )
            grad_kept_nK = grad_kept_nK + grad_nJ[:, :-1]
            soft_scale_n1 = grad_nJ[:, -1:] / soft_mass_n1
            if soft_nV is None:
                logits_nV.mul_(scale_n1 + soft_scale_n1)
            else:
                logits_nV.mul_(scale_n1).addcmul_(soft_nV, soft_scale_n1)
        else:
            logits_nV.mul_(scale_n1)
        logits_nV.scatter_(-1, ids_nK, grad_kept_nK).scatter_add_(-1, target_n1, -self.gold * label_weight_n1)
        grad_nV = padded(logits_nV.to(inputs_nC.dtype))
        self.grad_NC[part] = matmul_transposed(grad_nV, self.output_VC.t())[:count]
        if inputs_nC.dtype == self.dtype:
            self.grad_VC.addmm_(grad_nV.t(), inputs_nC)
        else:
            self.grad_VC.add_(grad_nV.t() @ inputs_nC)

    def _teacher_term(self, part: slice, softened_nJ: Tensor, mass_n1: Tensor) -> Tensor:
        """Stores the teacher's term. Returns the gradient of its weighted sum by softened logits [n, J].

        The last of the J logits is that of all other tokens together.
        """
        positions = self.positions
        assert (
            positions.probs_NK is not None
            and positions.teacher_weight_N is not None
            and positions.term is not None
        )
        grouped_nJ = torch.cat(
            [softened_nJ[:, :-1], softened_nJ[:, -1:] + mass_n1.log()], -1
        ).requires_grad_()
        with torch.enable_grad():
            probs_nK = positions.probs_NK[part].to(self.dtype)
            term_n = positions.term(probs_nK, grouped_nJ.log_softmax(-1))
            (gradient_nJ,) = torch.autograd.grad(
                term_n, grouped_nJ, positions.teacher_weight_N[part].to(self.dtype) * self.scale
            )
        self.term_N[part] = term_n.detach()
        return gradient_nJ

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Gradients by features and by output matrix, with the part of smoothing that all tokens share."""
        label_weight_N = self.positions.label_weight_N.to(self.dtype) * self.scale
        self.grad_NC.addr_(
            label_weight_N.to(self.grad_NC.dtype), self.sum_C.to(self.grad_NC.dtype), alpha=-self.other
        )
        self.grad_VC.sub_(self.other * (label_weight_N @ self.features_NC.to(self.dtype)))
        return self.grad_NC, self.grad_VC


def _bound(features_NC: Tensor, output_VC: Tensor) -> float:
    """What no logit exceeds."""
    if not len(features_NC):
        return 0.0
    norms = [matrix.detach().float().norm(dim=-1).max() for matrix in (features_NC, output_VC)]
    return float(norms[0] * norms[1])
