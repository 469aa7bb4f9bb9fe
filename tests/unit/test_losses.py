"""nmtkd.distil.losses: the KL of word-level distillation against torch, against hand-made numbers, and its gradient."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmtkd.distil.losses import coarsened_kl, word_level

NO_PADDING = torch.zeros(5, dtype=torch.bool)


def logits(positions: int = 5, vocabulary: int = 11, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(positions, vocabulary, generator=generator, dtype=torch.float64) * scale


def top(teacher: Tensor, k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """ids and probs of the k likeliest tokens."""
    probs, ids = torch.softmax(teacher / temperature, -1).topk(k, -1)
    return ids, probs


def full_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """torch's own, a position."""
    p, q = (torch.log_softmax(side / temperature, -1) for side in (teacher, student))
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)


def test_two_tokens_by_hand() -> None:
    """Position 1: p = (0.5, 0.25 | 0.25), q = (0.25, 0.25 | 0.5). Position 2: p = (0.75, 0 | 0.25), q = (0.5, 0.25 | 0.25)."""
    student = torch.log(torch.tensor([[0.25, 0.25, 0.125, 0.375], [0.5, 0.25, 0.125, 0.125]], dtype=torch.float64))
    ids = torch.tensor([[0, 1], [0, 1]])
    probs = torch.tensor([[0.5, 0.25], [0.75, 0.0]], dtype=torch.float64)
    by_hand = [0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5), 0.75 * math.log(1.5) + 0.25 * math.log(1)]
    assert by_hand == pytest.approx([0.17328679513998632, 0.3040988310811233])
    assert coarsened_kl(student, ids, probs).tolist() == pytest.approx(by_hand)
    assert word_level(student, ids, probs, torch.tensor([False, False]), 1.0).item() == pytest.approx(sum(by_hand))


def test_temperature_divides_logits_and_its_square_multiplies() -> None:
    """Student logits (2 ln 3, 0) at T = 2 are probabilities (3/4, 1/4); the teacher's are (1/2, 1/2)."""
    student = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
    half = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = word_level(student, torch.tensor([[0, 1]]), half, torch.tensor([False]), 2.0)
    assert found.item() == pytest.approx(4 * kl) == pytest.approx(0.5753641449035617)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_with_all_tokens_it_is_torchs_kl(temperature: float) -> None:
    teacher, student = logits(seed=1), logits(seed=2)
    ids, probs = top(teacher, 11, temperature)
    assert torch.allclose(coarsened_kl(torch.log_softmax(student / temperature, -1), ids, probs), full_kl(teacher, student, temperature))
    found = word_level(student, ids, probs, NO_PADDING, temperature)
    assert found.item() == pytest.approx(temperature**2 * full_kl(teacher, student, temperature).sum().item(), rel=1e-5)


@given(st.integers(0, 10**6), st.floats(0.1, 5.0))
def test_it_is_a_lower_bound_that_grows_with_k(seed: int, scale: float) -> None:
    teacher, student = logits(seed=seed, scale=scale), logits(seed=seed + 1, scale=scale)
    lprobs = torch.log_softmax(student, -1)
    found = torch.stack([coarsened_kl(lprobs, *top(teacher, k)) for k in range(1, 12)])
    assert (found >= -1e-12).all()
    assert (found.diff(dim=0) >= -1e-12).all()
    assert torch.allclose(found[-1], full_kl(teacher, student))
    assert (found[0] < found[-1]).all()


@pytest.mark.parametrize("k", [1, 4, 11])
def test_a_student_that_is_its_teacher_pays_nothing_and_learns_nothing(k: int) -> None:
    student = logits().float().requires_grad_()
    ids, probs = top(student.detach(), k)
    loss = word_level(student, ids, probs, NO_PADDING, 1.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-6


def test_a_one_hot_teacher_is_cross_entropy() -> None:
    student = logits().float().requires_grad_()
    gold = torch.tensor([3, 0, 10, 7, 7])
    loss = word_level(student, gold[:, None], torch.ones(5, 1), NO_PADDING, 1.0)
    wanted = torch.nn.functional.cross_entropy(student, gold, reduction="sum")
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    found, right = (torch.autograd.grad(each, student)[0] for each in (loss, wanted))
    assert torch.allclose(found, right, atol=1e-6)


def test_the_direction_is_from_the_teacher() -> None:
    teacher, student = logits(seed=1), logits(seed=2)
    there = coarsened_kl(torch.log_softmax(student, -1), *top(teacher, 11))
    back = full_kl(student, teacher)
    assert not torch.allclose(there, back, rtol=0.01)


@pytest.mark.parametrize("k", [1, 3, 11])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradients_are_right(k: int, temperature: float) -> None:
    ids, probs = top(logits(seed=1), k, temperature)

    def loss(student: Tensor) -> Tensor:
        return temperature**2 * coarsened_kl(torch.log_softmax(student / temperature, -1), ids, probs)

    student = logits(seed=2).requires_grad_()
    assert torch.autograd.gradcheck(loss, (student,))
    # The same through word_level, whose softmax is in float32.
    whole = torch.autograd.grad(word_level(student, ids, probs, NO_PADDING, temperature), student)[0]
    assert torch.allclose(whole, torch.autograd.grad(loss(student).sum(), student)[0], atol=1e-5)


def test_the_gradient_is_the_difference_of_probabilities() -> None:
    """At T = 1 and k = V: dKL/dlogits = q - p (Hinton et al. 2015, eq. 2)."""
    teacher, student = logits(seed=1), logits(seed=2).requires_grad_()
    loss = coarsened_kl(torch.log_softmax(student, -1), *top(teacher, 11)).sum()
    wanted = torch.softmax(student, -1) - torch.softmax(teacher, -1)
    assert torch.allclose(torch.autograd.grad(loss, student)[0], wanted)


def test_padding_changes_neither_loss_nor_gradient() -> None:
    student = logits(seed=2).float()
    ids, probs = top(logits(seed=1).float(), 3)
    alone = student.clone().requires_grad_()
    loss = word_level(alone, ids, probs, NO_PADDING, 2.0)
    # Rows of padding before, between and behind, as bad as can be.
    places = torch.tensor([1, 2, 4, 5, 7])
    padding = torch.ones(9, dtype=torch.bool)
    padding[places] = False
    wide_ids, wide_probs = torch.zeros(9, 3, dtype=torch.int64), torch.zeros(9, 3)
    wide_ids[places], wide_probs[places] = ids, probs
    wide = torch.full((9, 11), -1e9)
    wide[0], wide[8] = torch.inf, torch.nan
    wide[places] = student
    wide.requires_grad_()
    padded = word_level(wide, wide_ids, wide_probs, padding, 2.0)
    assert padded.item() == loss.item()
    loss.backward()  # type: ignore[no-untyped-call]
    padded.backward()  # type: ignore[no-untyped-call]
    assert alone.grad is not None
    assert wide.grad is not None
    assert torch.equal(wide.grad[places], alone.grad)
    assert wide.grad[padding].eq(0).all()


def test_nothing_but_padding_costs_nothing() -> None:
    found = word_level(logits(), torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5, 2), ~NO_PADDING, 1.0)
    assert found.item() == 0.0


def test_rounding_to_float16_leaves_no_negative_rest() -> None:
    student = torch.log_softmax(logits(1, 8), -1)
    probs = torch.tensor([[0.7, 0.2, 0.1]]).half().double()
    assert probs.sum() > 1
    found = coarsened_kl(student, torch.tensor([[0, 1, 2]]), probs)
    assert found.item() == pytest.approx((probs * (probs.log() - student[:, :3])).sum().item(), abs=1e-12)


def test_a_student_that_is_sure_keeps_its_digits() -> None:
    """The student's log mass outside the kept token is -40: in float32, 1 - exp(-4e-18) would be nothing at all."""
    student = torch.tensor([[0.0, -40.0, -200.0]]).requires_grad_()
    loss = word_level(student, torch.tensor([[0]]), torch.tensor([[0.5]]), torch.tensor([False]), 1.0)
    assert loss.item() == pytest.approx(0.5 * math.log(0.5) + 0.5 * (math.log(0.5) + 40.0), rel=1e-6)
    assert torch.autograd.grad(loss, student)[0].tolist()[0] == pytest.approx([0.5, -0.5, 0.0], abs=1e-6)


def test_half_precision_logits_are_scored_in_float32() -> None:
    student = logits(seed=2).half()
    ids, probs = top(logits(seed=1), 3)
    found = word_level(student, ids, probs.float(), NO_PADDING, 1.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(coarsened_kl(torch.log_softmax(student.double(), -1), ids, probs).sum().item(), rel=1e-5)
