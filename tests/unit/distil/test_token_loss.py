"""nmtkd.distil.token_loss against torch and hand-made numbers, with gradients; the hardest tokens."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmtkd.distil.divergences import divergence, forward_kl
from nmtkd.distil.token_loss import grouped_lprobs, grouped_probs, hardest, ranking, token_level
from tests.unit.distil.helpers import KINDS, teacher_term

NO_PADDING = torch.zeros(5, dtype=torch.bool)
V = 11


def logits(positions: int = 5, vocabulary: int = V, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(positions, vocabulary, generator=generator, dtype=torch.float64) * scale


def top(teacher: Tensor, k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """ids and probs of the k likeliest tokens."""
    probs, ids = torch.softmax(teacher / temperature, -1).topk(k, -1)
    return ids, probs


def paid(
    student: Tensor,
    ids: Tensor,
    probs: Tensor,
    temperature: float = 1.0,
    padding: Tensor | None = None,
    **term: Any,
) -> Tensor:
    """token_level without padding."""
    none = torch.zeros(len(student), dtype=torch.bool)
    return token_level(
        student, ids, probs, none if padding is None else padding, teacher_term(temperature, **term)
    )


def full_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """torch's own, a position."""
    p, q = (torch.log_softmax(side / temperature, -1) for side in (teacher, student))
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)


def gradient(loss: Tensor, student: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), student, retain_graph=True)[0]


# By hand


def test_token_level_of_two_positions_by_hand() -> None:
    """Position 1: p = (0.5, 0.25 | 0.25), q = (0.25, 0.25 | 0.5). Position 2: p = (0.75, 0 | 0.25), q =
    (0.5, 0.25 | 0.25)."""
    student = torch.log(
        torch.tensor([[0.25, 0.25, 0.125, 0.375], [0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    )
    ids, probs = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0.5, 0.25], [0.75, 0.0]], dtype=torch.float64)
    assert paid(student, ids, probs).tolist() == pytest.approx([0.17328679513998632, 0.3040988310811233])
    assert paid(student, ids, probs, divergence="total_variation").tolist() == pytest.approx([0.25, 0.25])
    # Position 1: 0.25 ln(1/2) + 0.5 ln 2. Position 2: 0.5 ln(2/3) + 0.25 ln(0.25 / 2^-24).
    assert paid(student, ids, probs, divergence="reverse_kl").tolist() == pytest.approx(
        [0.17328679513998632, 3.6095769390253165]
    )
    mixed = 0.1 * (0.75 * math.log(0.75 / 0.525)) + 0.9 * (
        0.5 * math.log(0.5 / 0.525) + 0.25 * math.log(0.25 / 0.225)
    )
    assert paid(student, ids, probs, divergence="jensen_shannon", beta=0.1)[1].item() == pytest.approx(mixed)


def test_temperature_divides_logits_and_its_square_multiplies() -> None:
    """Student logits (2 ln 3, 0) at T = 2 are probabilities (3/4, 1/4); the teacher's are (1/2, 1/2)."""
    student, half = (
        torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64),
        torch.tensor([[0.5, 0.5]], dtype=torch.float64),
    )
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = paid(student, torch.tensor([[0, 1]]), half, 2.0).item()
    assert found == pytest.approx(4 * kl)
    assert found == pytest.approx(0.5753641449035617)
    assert paid(
        student, torch.tensor([[0, 1]]), half, 2.0, divergence="total_variation"
    ).item() == pytest.approx(4 * 0.25)


def test_ranking_hinge_by_hand() -> None:
    """Logits 5, 3, 2, 0: the two best are 5 and 3. The teacher's best has 2: (3 + 1) / 2; has 5: nothing;
    has 3: (2 + 0) / 2."""
    student = torch.tensor([[5.0, 3.0, 2.0, 0.0]] * 3)
    assert ranking(student, torch.tensor([2, 0, 1]), 2).tolist() == [2.0, 0.0, 1.0]
    assert ranking(student, torch.tensor([2, 0, 1]), 3).tolist() == pytest.approx([4 / 3, 0.0, 2 / 3])
    for ranked in (4, 9):  # no more than there are
        assert ranking(student, torch.tensor([2, 0, 1]), ranked).tolist() == [1.0, 0.0, 0.5]
    free = student.clone().requires_grad_()
    assert gradient(ranking(free, torch.tensor([2, 0, 1]), 2), free).tolist() == [
        [0.5, 0.5, -1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.5, -0.5, 0.0, 0.0],
    ]


def test_ranking_hinge_is_added_at_temperature_1() -> None:
    """Its token is the first of the kept: the teacher's best, though neither the likeliest nor the last of
    the dictionary."""
    student = torch.tensor([[5.0, 3.0, 2.0, 0.0]], dtype=torch.float64)
    ids, probs = torch.tensor([[2, 0]]), torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    for temperature in (1.0, 2.0):
        bare = paid(student, ids, probs, temperature)
        assert paid(
            student, ids, probs, temperature, ranking={"weight": 0.25, "tokens": 2}
        ).item() == pytest.approx(bare.item() + 0.25 * 2.0)


# All tokens, and fewer


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_token_level_with_all_tokens_is_torchs_kl(temperature: float) -> None:
    teacher, student = logits(seed=1, scale=1.0), logits(seed=2)
    ids, probs = top(teacher, V, temperature)
    assert torch.allclose(
        paid(student, ids, probs, temperature), temperature**2 * full_kl(teacher, student, temperature)
    )
    back = paid(student, ids, probs, temperature, divergence="reverse_kl")
    assert torch.allclose(back, temperature**2 * full_kl(student, teacher, temperature))
    p, q = (torch.softmax(side / temperature, -1) for side in (teacher, student))
    far = torch.nn.functional.l1_loss(q, p, reduction="none").sum(-1)
    assert torch.allclose(
        paid(student, ids, probs, temperature, divergence="total_variation"), temperature**2 * far / 2
    )


@given(st.integers(0, 10**6), st.floats(0.1, 5.0))
def test_token_level_is_a_lower_bound_that_grows_with_k(seed: int, scale: float) -> None:
    teacher, student = logits(seed=seed, scale=scale), logits(seed=seed + 1, scale=scale)
    found = torch.stack([paid(student, *top(teacher, k)) for k in range(1, V + 1)])
    assert (found >= -1e-12).all()
    assert (found.diff(dim=0) >= -1e-12).all()
    assert torch.allclose(found[-1], full_kl(teacher, student))
    assert (found[0] < found[-1]).all()


@given(st.integers(0, 10**6), st.integers(1, V - 1))
def test_bucket_holds_what_the_kept_tokens_leave(seed: int, k: int) -> None:
    teacher, student = logits(seed=seed), logits(seed=seed + 1)
    ids, probs = top(teacher, k)
    others = torch.ones(5, V, dtype=torch.bool).scatter(-1, ids, False)
    q, p = torch.softmax(student, -1), torch.softmax(teacher, -1)
    merged = torch.cat([q.gather(-1, ids), (q * others).sum(-1, keepdim=True)], -1)
    assert torch.allclose(grouped_lprobs(student, ids).exp(), merged)
    assert torch.allclose(
        grouped_probs(probs, V), torch.cat([p.gather(-1, ids), (p * others).sum(-1, keepdim=True)], -1)
    )
    assert torch.allclose(grouped_lprobs(student, ids).exp().sum(-1), torch.ones(5, dtype=torch.float64))


def test_rounding_to_float16_leaves_no_negative_rest() -> None:
    student = torch.log_softmax(logits(1, 8), -1)
    probs = torch.tensor([[0.7, 0.2, 0.1]]).half().double()
    assert probs.sum() > 1
    assert grouped_probs(probs, 8)[0, -1] == 0.0
    found = paid(student, torch.tensor([[0, 1, 2]]), probs)
    assert found.item() == pytest.approx((probs * (probs.log() - student[:, :3])).sum().item(), abs=1e-12)


def test_student_that_is_sure_keeps_its_digits() -> None:
    """The student's log mass outside the kept token is -40: in float32, 1 - exp(-4e-18) would be nothing
    at all."""
    student = torch.tensor([[0.0, -40.0, -200.0]]).requires_grad_()
    loss = paid(student, torch.tensor([[0]]), torch.tensor([[0.5]]))
    assert loss.item() == pytest.approx(0.5 * math.log(0.5) + 0.5 * (math.log(0.5) + 40.0), rel=1e-6)
    assert gradient(loss, student).tolist()[0] == pytest.approx([0.5, -0.5, 0.0], abs=1e-6)


def test_half_precision_logits_are_scored_in_float32() -> None:
    student = logits(seed=2).half()
    ids, probs = top(logits(seed=1), 3)
    for kind in KINDS:
        found = paid(student, ids, probs.float(), divergence=kind)
        assert found.dtype == torch.float32
        exact = divergence(
            teacher_term(divergence=kind).method,
            grouped_probs(probs, V),
            grouped_lprobs(student.double(), ids),
        )
        assert found.tolist() == pytest.approx(exact.tolist(), rel=1e-5)
    assert paid(student.double(), ids, probs).dtype == torch.float64


# Teachers that are known


@pytest.mark.parametrize("k", [1, 4, V])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_student_that_is_its_teacher_pays_nothing_and_learns_nothing(
    kind: str, temperature: float, k: int
) -> None:
    student = logits().requires_grad_()
    ids, probs = top(student.detach(), k, temperature)
    loss = paid(student, ids, probs, temperature, divergence=kind, ranking={"weight": 0.5, "tokens": 3})
    assert loss.abs().max() < 1e-12
    # Total variation has a kink there, where the last digit decides: a position then pulls with all its
    # strength, T / 4 a token.
    bound = temperature / 4 + 1e-12 if kind == "total_variation" else 1e-12
    assert gradient(loss, student).abs().max() <= bound
    single = logits().float().requires_grad_()
    loss = paid(single, ids, probs.float(), temperature, divergence=kind)
    assert loss.abs().max() < 2e-6
    assert kind == "total_variation" or gradient(loss, single).abs().max() < 2e-6


def test_one_hot_teacher_is_cross_entropy() -> None:
    student = logits().float().requires_grad_()
    gold = torch.tensor([3, 0, 10, 7, 7])
    wanted = torch.nn.functional.cross_entropy(student, gold, reduction="none")
    rows = [
        (gold[:, None], torch.ones(5, 1)),
        (torch.arange(V).expand(5, V), torch.nn.functional.one_hot(gold, V).float()),
    ]
    for ids, probs in rows:  # k = 1, k = V
        loss = paid(student, ids, probs)
        assert loss.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
        assert torch.allclose(gradient(loss, student), gradient(wanted, student), atol=1e-6)


def test_direction_of_token_level_is_from_the_teacher() -> None:
    teacher, student = logits(seed=1), logits(seed=2)
    assert not torch.allclose(paid(student, *top(teacher, V)), full_kl(student, teacher), rtol=0.01)
    assert torch.allclose(paid(student, *top(teacher, V)), full_kl(teacher, student))


# Gradients


@pytest.mark.parametrize("k", [1, 3, V])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hinge", [0.0, 0.7])
def test_token_levels_gradients_are_right(kind: str, temperature: float, k: int, hinge: float) -> None:
    """Against finite differences, in float64; no two logits are nearly equal, so that the hinge has no
    kink nearby."""
    ids, probs = top(logits(seed=1), k, temperature)
    student = logits(seed=2).requires_grad_()
    values = student.detach().sort(-1).values
    assert values.diff(dim=-1).min() > 1e-3
    option: dict[str, Any] = {"beta": 0.3} if kind == "jensen_shannon" else {}
    option |= {"ranking": {"weight": hinge, "tokens": 3}} if hinge else {}
    term = teacher_term(temperature, divergence=kind, **option)
    padding = torch.tensor([False, False, True, False, False])
    assert torch.autograd.gradcheck(lambda free: token_level(free, ids, probs, padding, term), (student,))


def test_token_levels_gradient_is_the_difference_of_probabilities() -> None:
    """At T = 1 and k = V: dKL/dlogits = q - p (Hinton et al. 2015, eq. 2)."""
    teacher, student = logits(seed=1), logits(seed=2).requires_grad_()
    wanted = torch.softmax(student, -1) - torch.softmax(teacher, -1)
    assert torch.allclose(gradient(paid(student, *top(teacher, V)), student), wanted)


@given(st.integers(0, 10**6), st.integers(1, V - 1), st.floats(0.1, 50.0))
def test_grouping_by_hand_is_grouping_by_torch(seed: int, k: int, scale: float) -> None:
    """grouped_lprobs with a backward of its own, against scatter, logsumexp and gather."""
    student = logits(seed=seed, scale=scale).requires_grad_()
    ids, _ = top(logits(seed=seed + 1), k)
    others = student.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    plain = torch.log_softmax(torch.cat([student.gather(-1, ids), others], -1), -1)
    ours = grouped_lprobs(student, ids)
    assert torch.equal(ours, plain)
    pull = logits(5, k + 1, seed=seed + 2)
    one, other = (gradient(lprobs * pull, student) for lprobs in (ours, plain))
    assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
    one, other = (gradient(forward_kl(pull.softmax(-1), lprobs), student) for lprobs in (ours, plain))
    assert torch.allclose(one, other)


# Padding


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [3, V])
def test_padding_changes_neither_token_level_nor_its_gradient(kind: str, k: int) -> None:
    """Rows of padding before, between and behind, as bad as a model can make them."""
    term = teacher_term(2.0, divergence=kind, ranking={"weight": 0.5, "tokens": 2})
    student = logits(seed=2).float()
    ids, probs = top(logits(seed=1).float(), k)
    alone = student.clone().requires_grad_()
    loss = token_level(alone, ids, probs, NO_PADDING, term)
    places = torch.tensor([1, 2, 4, 5, 7])
    padding = torch.ones(9, dtype=torch.bool)
    padding[places] = False
    wide_ids, wide_probs = torch.zeros(9, k, dtype=torch.int64), torch.zeros(9, k)
    wide_probs[3] = 0.9
    wide_ids[places], wide_probs[places] = ids, probs
    wide = torch.full((9, V), -1e9)
    wide[0], wide[8, 4] = 1e30, 1e9
    wide[places] = student
    wide.requires_grad_()
    padded = token_level(wide, wide_ids, wide_probs, padding, term)
    assert torch.equal(padded[places], loss)
    assert padded[padding].tolist() == [0.0] * 4
    assert torch.equal(gradient(padded, wide)[places], gradient(loss, alone))
    assert gradient(padded, wide)[padding].eq(0).all()


def test_nothing_but_padding_costs_nothing() -> None:
    found = paid(logits(), torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5, 2), padding=~NO_PADDING)
    assert found.tolist() == [0.0] * 5


# The hardest tokens


def test_hardest_by_hand() -> None:
    """Six real tokens of eight, a share of 0.5: three, the largest losses among them. Padding is harder
    than all, and not chosen."""
    nll = torch.tensor([9.0, 0.5, 3.0, 2.0, 0.1, 9.0, 4.0, 1.0])
    padding = torch.tensor([True, False, False, False, False, True, False, False])
    assert hardest(nll, padding, 0.5).nonzero().flatten().tolist() == [2, 3, 6]
    assert hardest(nll, padding, 0.51).nonzero().flatten().tolist() == [2, 3, 6, 7]  # rounded up
    assert hardest(nll, padding, 0.01).nonzero().flatten().tolist() == [6]
    assert torch.equal(hardest(nll, padding, 1.0), ~padding)
    assert (
        int(hardest(torch.rand(25), torch.zeros(25, dtype=torch.bool), 0.28).sum()) == 7
    )  # though 0.28 * 25 is above 7 in floats
    assert not hardest(nll, torch.ones(8, dtype=torch.bool), 0.5).any()


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 100), st.integers(0, 10**6))
def test_hardest_are_as_many_as_asked_and_never_padding(real: int, pads: int, parts: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    padding = torch.tensor([False] * real + [True] * pads)[torch.randperm(real + pads, generator=generator)]
    nll = torch.rand(real + pads, generator=generator) * 10 - 5  # a density may be above 1
    chosen = hardest(nll, padding, parts / 100)
    assert int(chosen.sum()) == -(-parts * real // 100)
    assert not (chosen & padding).any()
    left = ~chosen & ~padding
    assert not left.any() or nll[chosen].min() >= nll[left].max()


def test_hardest_is_a_choice_without_gradient() -> None:
    assert not hardest(torch.rand(5, requires_grad=True), NO_PADDING, 0.5).requires_grad
