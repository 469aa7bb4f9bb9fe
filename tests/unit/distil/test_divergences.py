"""nmtkd.distil.divergences: hand-made numbers, what each is known to be, what merging outcomes does."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmtkd.distil.divergences import (
    SMALLEST,
    divergence,
    forward_kl,
    jensen_shannon,
    reverse_kl,
    total_variation,
)
from nmtkd.distil.token_loss import grouped_lprobs, grouped_probs
from nmtkd.plan.methods import DIVERGENCE_OPTIONS, Method
from tests.unit.distil.helpers import KINDS, method

SEEDS = st.integers(0, 10**6)
V = 11


def logits(seed: int, positions: int = 5, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(positions, V, generator=generator, dtype=torch.float64) * scale


def distribution(seed: int, scale: float = 2.0) -> Tensor:
    """No outcome below 0.001: far above SMALLEST."""
    return 0.989 * torch.softmax(logits(seed, scale=scale), -1) + 0.001


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def named(kind: str, beta: float | None = None) -> Method:
    """A method of this divergence; `beta` is for the one that has it."""
    has_beta = DIVERGENCE_OPTIONS.get(kind) == "beta" and beta is not None
    return method(divergence=kind, **({"beta": beta} if has_beta else {}))


# By hand


P, Q = (0.75, 0.25, 0.0), (0.5, 0.25, 0.25)


def test_forward_kl_by_hand() -> None:
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(1) + 0.0
    assert by_hand == pytest.approx(0.3040988310811233)
    assert forward_kl(row(*P), row(*Q).log()).item() == pytest.approx(by_hand)


def test_reverse_kl_by_hand() -> None:
    """The teacher's zero counts as 2^-24: 0.25 is 2^22 times as much."""
    by_hand = 0.5 * math.log(0.5 / 0.75) + 0.25 * math.log(1) + 0.25 * 22 * math.log(2)
    assert by_hand == pytest.approx(3.6095769390253165)
    assert reverse_kl(row(*P), row(*Q).log()).item() == pytest.approx(by_hand)


def test_jensen_shannon_by_hand() -> None:
    """At beta = 1/2 the mixture is (5/8, 1/4, 1/8), at 1/4 it is (9/16, 1/4, 3/16)."""
    half = 0.5 * (0.75 * math.log(0.75 / 0.625)) + 0.5 * (
        0.5 * math.log(0.5 / 0.625) + 0.25 * math.log(0.25 / 0.125)
    )
    quarter = 0.25 * (0.75 * math.log(0.75 / 0.5625)) + 0.75 * (
        0.5 * math.log(0.5 / 0.5625) + 0.25 * math.log(0.25 / 0.1875)
    )
    assert [half, quarter] == pytest.approx([0.0992280935, 0.0637121388], abs=1e-9)
    assert jensen_shannon(row(*P), row(*Q).log(), 0.5).item() == pytest.approx(half)
    assert jensen_shannon(row(*P), row(*Q).log(), 0.25).item() == pytest.approx(quarter)


def test_total_variation_by_hand() -> None:
    assert total_variation(row(*P), row(*Q).log()).tolist() == pytest.approx([0.25])


def test_forward_kl_of_two_positions_is_two_values() -> None:
    """Position 1: p = (0.5, 0.25 | 0.25), q = (0.25, 0.25 | 0.5). Position 2: p = (0.75, 0 | 0.25), q =
    (0.5, 0.25 | 0.25)."""
    student = torch.tensor([[0.25, 0.25, 0.125, 0.375], [0.5, 0.25, 0.125, 0.125]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.5, 0.25], [0.75, 0.0]], dtype=torch.float64)
    logq = grouped_lprobs(student, torch.tensor([[0, 1], [0, 1]]))
    assert logq.exp().tolist() == [pytest.approx([0.25, 0.25, 0.5]), pytest.approx([0.5, 0.25, 0.25])]
    by_hand = [
        0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5),
        0.75 * math.log(1.5) + 0.25 * math.log(1),
    ]
    assert by_hand == pytest.approx([0.17328679513998632, 0.3040988310811233])
    assert forward_kl(grouped_probs(teacher, 4), logq).tolist() == pytest.approx(by_hand)


def test_divergence_goes_by_its_name() -> None:
    p, logq = distribution(1), distribution(2).log()
    assert torch.equal(divergence(named("forward_kl"), p, logq), forward_kl(p, logq))
    assert torch.equal(divergence(named("reverse_kl"), p, logq), reverse_kl(p, logq))
    assert torch.equal(divergence(named("total_variation"), p, logq), total_variation(p, logq))
    for beta in (0.1, 0.5):
        assert torch.equal(divergence(named("jensen_shannon", beta), p, logq), jensen_shannon(p, logq, beta))
    values = torch.stack([divergence(named(kind), p, logq) for kind in KINDS])
    assert len({value.item() for value in values[:, 0]}) == len(KINDS) > 3
    with pytest.raises(KeyError):
        divergence(named("forward_kl").model_copy(update={"divergence": "wasserstein"}), p, logq)


# What each is known to be


@given(SEEDS, SEEDS)
def test_divergences_are_torchs_own(one: int, other: int) -> None:
    p, q = distribution(one), distribution(other)
    there = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1)
    back = torch.nn.functional.kl_div(p.log(), q, reduction="none").sum(-1)
    assert torch.allclose(forward_kl(p, q.log()), there)
    assert torch.allclose(reverse_kl(p, q.log()), back)
    for beta in (0.2, 0.5):
        mixed = (beta * p + (1 - beta) * q).log()
        parts = [torch.nn.functional.kl_div(mixed, side, reduction="none").sum(-1) for side in (p, q)]
        assert torch.allclose(jensen_shannon(p, q.log(), beta), beta * parts[0] + (1 - beta) * parts[1])
    assert torch.allclose(
        total_variation(p, q.log()), torch.nn.functional.l1_loss(q, p, reduction="none").sum(-1) / 2
    )


def test_directions_of_kl_are_named_from_the_teacher() -> None:
    p, q = distribution(1), distribution(2)
    assert torch.allclose(reverse_kl(p, q.log()), forward_kl(q, p.log()))
    assert ((forward_kl(p, q.log()) - reverse_kl(p, q.log())).abs() > 0.01).all()


@given(SEEDS, SEEDS, st.floats(0.5, 20.0))
def test_jensen_shannon_is_bounded_and_at_one_half_symmetric(one: int, other: int, scale: float) -> None:
    p, q = (torch.softmax(logits(seed, scale=scale), -1) for seed in (one, other))
    found = jensen_shannon(p, q.log(), 0.5)
    assert torch.allclose(found, jensen_shannon(q, p.log(), 0.5))
    assert (found >= -1e-12).all()
    assert (found <= math.log(2) + 1e-12).all()
    assert torch.allclose(jensen_shannon(p, q.log(), 0.3), jensen_shannon(q, p.log(), 0.7))


def test_jensen_shannon_is_a_quarter_as_steep_as_kl_near_the_teacher() -> None:
    """beta (1 - beta) as steep, at any beta."""
    p = distribution(1)
    student = (p.log() + 1e-4 * logits(2)).requires_grad_()
    steep, flat = (
        torch.autograd.grad(divergence(named(kind), p, torch.log_softmax(student, -1)).sum(), student)[0]
        for kind in ("forward_kl", "jensen_shannon")
    )
    assert torch.allclose(flat, steep / 4, rtol=0.01, atol=1e-7)


def test_opposites_are_as_far_as_can_be() -> None:
    p, logq = row(1.0, 0.0), torch.tensor([[-800.0, 0.0]], dtype=torch.float64)
    assert jensen_shannon(p, logq, 0.5).item() == pytest.approx(math.log(2))
    assert total_variation(p, logq).item() == pytest.approx(1.0)
    assert forward_kl(p, logq).item() == pytest.approx(800.0)


@given(SEEDS, SEEDS, st.floats(0.5, 20.0))
def test_total_variation_lies_between_0_and_1(one: int, other: int, scale: float) -> None:
    p, q = (torch.softmax(logits(seed, scale=scale), -1) for seed in (one, other))
    found = total_variation(p, q.log())
    assert torch.allclose(found, total_variation(q, p.log()))
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    assert torch.allclose(found, (p - q).clamp(min=0).sum(-1))  # the mass that would have to move


@pytest.mark.parametrize("kind", KINDS)
def test_teachers_zero_costs_a_finite_price(kind: str) -> None:
    """As does its gradient; the whole distribution sits where the student has nearly nothing."""
    student = torch.tensor([[0.0, 60.0, -60.0, 1.0]], requires_grad=True)
    loss = divergence(named(kind), torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.log_softmax(student, -1)).sum()
    (gradient,) = torch.autograd.grad(loss, student)
    assert math.isfinite(loss.item())
    assert gradient.isfinite().all()
    assert 0.0 < loss.item() <= 121.0


def test_smallest_is_float16s_smallest_number() -> None:
    assert torch.tensor(SMALLEST).half().item() == SMALLEST == 2**-24
    assert torch.tensor(SMALLEST / 2.01).half().item() == 0.0


# A student that is its teacher


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_no_difference_costs_nothing_and_teaches_nothing(kind: str, beta: float) -> None:
    student = logits(3).requires_grad_()
    lprobs = torch.log_softmax(student, -1)
    found = divergence(named(kind, beta), lprobs.detach().exp(), lprobs)
    assert found.abs().max() < 1e-12
    assert torch.autograd.grad(found.sum(), student)[0].abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_every_difference_costs_something(kind: str) -> None:
    p = distribution(1)
    found = divergence(named(kind), p, p.roll(1, -1).log())
    assert (found > 0.01).all()


# Merged outcomes: k kept tokens, and a bucket for all others


@pytest.mark.parametrize("kind", KINDS)
@given(teacher=SEEDS, student=SEEDS, scale=st.floats(0.1, 5.0))
def test_merging_gives_a_lower_bound_that_rises_with_k(
    kind: str, teacher: int, student: int, scale: float
) -> None:
    """Data processing: all four are f-divergences. With k = V it is the whole one."""
    p, other = distribution(teacher, scale), logits(student, scale=scale)
    found = []
    for k in range(1, V + 1):
        probs, ids = p.topk(k, -1)
        found.append(divergence(named(kind), grouped_probs(probs, V), grouped_lprobs(other, ids)))
    values = torch.stack(found)
    assert (values >= -1e-12).all()
    assert (values.diff(dim=0) >= -1e-12).all()
    assert torch.allclose(values[-1], divergence(named(kind), p, torch.log_softmax(other, -1)))
    if (
        teacher != student and kind != "total_variation"
    ):  # which does not see how tokens share their mass while all of them gain
        assert (values[0] < values[-1]).all()


def test_price_of_a_teachers_zero_is_paid_once_for_the_bucket() -> None:
    """Where reverse KL is no bound: ten zeros as one bucket hold SMALLEST once, each for itself they hold
    it ten times."""
    p, logq = torch.zeros(1, V, dtype=torch.float64), torch.full((1, V), -math.log(V), dtype=torch.float64)
    p[0, 0] = 1.0
    whole = reverse_kl(p, logq).item()
    merged = reverse_kl(row(1.0, 0.0), row(1 / V, 10 / V).log()).item()
    assert merged - whole == pytest.approx(10 / V * math.log(10))
