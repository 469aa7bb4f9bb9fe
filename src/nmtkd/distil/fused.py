"""From features to loss without keeping logits: cross-entropy and the teacher's term of a position in one pass over chunks.

A chunk's logits are made, paid for and turned into gradients while they lie in the cache; what outlives it are gradients of features and
output matrix. The formulas are those of losses.py and of fairseq's label-smoothed cross-entropy.

Shapes: N positions without padding, C width, V vocabulary, K kept tokens of the teacher's distribution, J = K + 1 outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmtkd.distil.divergences import divergence
from nmtkd.distil.losses import Term, grouped_probs
from nmtkd.products import product

CHUNK_BYTES = (
    2**23
)  # of logits at a time: lies in a core's share of the cache; from 2 to 16 MiB it made no difference (docs/performance.md)
CHUNK_BYTES_GPU = 2**28  # a GPU wants large products, and has the memory
SAFE = 60.0  # logits of this size may go into exp as they are: float32 ends at e^88, and a sum of 10^5 of them at e^72


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What positions learn: the target token with weight `label` [N], and the teacher's distribution with weight `taught` [N].

    Weights may have gradients (a gate's). Without a teacher the last four are None.
    """

    target_N: Tensor
    label_N: Tensor
    smoothing: float
    ids_NK: Tensor | None = None
    probs_NK: Tensor | None = None
    taught_N: Tensor | None = None
    term: Term | None = None


@dataclass(frozen=True)
class Paid:
    """The weighted sum, through which gradients flow, and what it is made of at each position [N], without gradients."""

    total: Tensor
    ce_N: Tensor
    nll_N: Tensor
    term_N: Tensor


def fits(term: Term, kept: int, vocabulary: int) -> bool:
    """Whether `pay` knows this term: the ranking hinge, and whole distributions, are for losses.token_level."""
    return term.ranking == 0.0 and kept < vocabulary


def pay(features_NC: Tensor, output_VC: Tensor, lesson: Lesson) -> Paid:
    """sum of label * CE + taught * T^2 D(teacher, student) over positions, logits being features @ output^T.

    Computed in float32 (products in the features' own type), or in float64 where the features are.
    """
    if torch.is_autocast_enabled(features_NC.device.type):
        features_NC = features_NC.to(torch.get_autocast_dtype(features_NC.device.type))
    total, ce_N, nll_N, term_N = _Pay.apply(features_NC, output_VC, lesson.label_N, lesson.taught_N, lesson)  # type: ignore[no-untyped-call]
    return Paid(total, ce_N, nll_N, term_N)


class _Pay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features_NC: Tensor, output_VC: Tensor, label_N: Tensor, taught_N: Tensor | None, lesson: Lesson
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        run = _Run(features_NC, output_VC, lesson)
        for start in range(0, len(features_NC), run.rows):
            run.chunk(slice(start, start + run.rows))
        total = run.ce_N.dot(label_N.to(run.dtype))
        if taught_N is not None:
            total = total + run.term_N.dot(taught_N.to(run.dtype))
        ctx.save_for_backward(*run.gradients(), run.ce_N, run.term_N)
        ctx.mark_non_differentiable(run.ce_N, run.nll_N, run.term_N)
        return total, run.ce_N, run.nll_N, run.term_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        found = [
            saved * grad.to(saved.dtype) if needed else None for saved, needed in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)
        ]
        return (*found, None)


class _Run:
    """The passes over all chunks, and what they leave."""

    def __init__(self, features_NC: Tensor, output_VC: Tensor, lesson: Lesson) -> None:
        count, vocabulary = len(features_NC), len(output_VC)
        self.dtype = torch.float64 if features_NC.dtype == torch.float64 else torch.float32
        size = CHUNK_BYTES if features_NC.device.type == "cpu" else CHUNK_BYTES_GPU
        self.rows = max(1, size // (self.dtype.itemsize * vocabulary))
        self.features_NC, self.output_VC, self.lesson = features_NC, output_VC.to(features_NC.dtype), lesson
        self.other = lesson.smoothing / (vocabulary - 1)  # of a token that is not the target: fairseq's way of smoothing
        self.gold = 1.0 - lesson.smoothing - self.other
        # Smoothing asks for the sum of all logits. That is a product with one vector, and so is its gradient: no pass over logits.
        self.sum_C = output_VC.to(self.dtype).sum(0)
        self.logits_N = features_NC.to(self.dtype) @ self.sum_C
        # No logit is larger than the product of both norms: while that is small, the passes that look for the largest can be left out.
        bound = float(features_NC.detach().float().norm(dim=-1).max() * output_VC.detach().float().norm(dim=-1).max()) if count else 0.0
        self.shifted = not bound < SAFE * min(1.0, lesson.term.temperature if lesson.term else 1.0)
        self.ce_N, self.nll_N, self.term_N = (torch.zeros(count, dtype=self.dtype, device=features_NC.device) for _ in range(3))
        self.grad_NC = torch.empty_like(features_NC)
        self.grad_VC = torch.zeros_like(output_VC, dtype=self.dtype)

    def chunk(self, part: slice) -> None:
        """Values and gradients of one chunk; its logits become their own gradient, in place."""
        lesson, inputs_nC = self.lesson, self.features_NC[part]
        target_n1, label_n1 = lesson.target_N[part, None], lesson.label_N[part, None].to(self.dtype)
        logits_nV = product(inputs_nC, self.output_VC).to(self.dtype)
        at_target_n1 = logits_nV.gather(-1, target_n1)
        ids_nK = target_n1[:, :0] if lesson.ids_NK is None else lesson.ids_NK[part]
        kept_nK = logits_nV.gather(-1, ids_nK)
        logits_nV.scatter_(-1, ids_nK, -torch.inf)  # left are all others: their mass as 1 - sum(kept) would lose all digits
        most_n1 = logits_nV.amax(-1, keepdim=True) if self.shifted else torch.zeros_like(at_target_n1)
        if self.shifted:
            logits_nV.sub_(most_n1)
        temperature = lesson.term.temperature if lesson.term else 1.0
        soft_nV = (logits_nV / temperature).exp_() if temperature != 1.0 else None
        mass_n1 = logits_nV.exp_().sum(-1, keepdim=True)
        rest_n1 = most_n1 + mass_n1.log()
        whole_n1 = torch.cat([kept_nK, rest_n1], -1).logsumexp(-1, keepdim=True)
        nll_n1 = whole_n1 - at_target_n1
        smooth_n1 = len(self.output_VC) * whole_n1 - self.logits_N[part, None]
        self.nll_N[part], self.ce_N[part] = nll_n1[:, 0], (self.gold * nll_n1 + self.other * smooth_n1)[:, 0]
        scale_n1, pull_nK = label_n1 * (rest_n1 - whole_n1).exp() / mass_n1, label_n1 * (kept_nK - whole_n1).exp()
        if lesson.taught_N is not None:
            soft_mass_n1 = mass_n1 if soft_nV is None else soft_nV.sum(-1, keepdim=True)
            grad_nJ = self._taught(part, torch.cat([kept_nK, most_n1], -1) / temperature, soft_mass_n1) / temperature
            pull_nK = pull_nK + grad_nJ[:, :-1]
            soft_scale_n1 = grad_nJ[:, -1:] / soft_mass_n1
            if soft_nV is None:
                logits_nV.mul_(scale_n1 + soft_scale_n1)
            else:
                logits_nV.mul_(scale_n1).addcmul_(soft_nV, soft_scale_n1)
        else:
            logits_nV.mul_(scale_n1)
        logits_nV.scatter_(-1, ids_nK, pull_nK).scatter_add_(-1, target_n1, -self.gold * label_n1)
        self.grad_NC[part] = product(logits_nV.to(inputs_nC.dtype), self.output_VC.t())
        if inputs_nC.dtype == self.dtype:
            self.grad_VC.addmm_(logits_nV.t(), inputs_nC)
        else:
            self.grad_VC.add_(logits_nV.to(inputs_nC.dtype).t() @ inputs_nC)

    def _taught(self, part: slice, softened_nJ: Tensor, mass_n1: Tensor) -> Tensor:
        """Notes the teacher's term; returns the gradient of its weighted sum by softened logits [n, J], `others` as one."""
        lesson = self.lesson
        assert lesson.probs_NK is not None and lesson.taught_N is not None and lesson.term is not None
        grouped_nJ = torch.cat([softened_nJ[:, :-1], softened_nJ[:, -1:] + mass_n1.log()], -1).requires_grad_()
        with torch.enable_grad():
            p_nJ = grouped_probs(lesson.probs_NK[part].to(self.dtype), len(self.output_VC))
            found_n = lesson.term.temperature**2 * divergence(lesson.term.divergence, p_nJ, grouped_nJ.log_softmax(-1), lesson.term.beta)
            (gradient_nJ,) = torch.autograd.grad(found_n, grouped_nJ, lesson.taught_N[part].to(self.dtype))
        self.term_N[part] = found_n.detach()
        return gradient_nJ

    def gradients(self) -> tuple[Tensor, Tensor]:
        """By features and by output matrix, with what smoothing takes from every token alike."""
        label_N = self.lesson.label_N.to(self.dtype)
        self.grad_NC.addr_(label_N.to(self.grad_NC.dtype), self.sum_C.to(self.grad_NC.dtype), alpha=-self.other)
        self.grad_VC.sub_(self.other * (label_N @ self.features_NC.to(self.dtype)))
        return self.grad_NC, self.grad_VC
