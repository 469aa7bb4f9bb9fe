"""nmtkd.distil.divergences: hand-made numbers, what each is known to be, what merging outcomes does; and views that must agree."""

import math
from typing import Any

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmtkd.distil.divergences import SMALLEST, divergence, forward_kl, jensen_shannon, reverse_kl, total_variation
from nmtkd.distil.losses import grouped_lprobs, grouped_probs
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.params import Architecture
from nmtkd_fairseq.consistency import ConsistencyConfig, ConsistencyCriterion, cut_off
from tests.conftest import Tiny
from tests.unit import test_gates as gated
from tests.unit.test_plugin import Model

KINDS = ["forward_kl", "reverse_kl", "jensen_shannon", "total_variation"]
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
    half = 0.5 * (0.75 * math.log(0.75 / 0.625)) + 0.5 * (0.5 * math.log(0.5 / 0.625) + 0.25 * math.log(0.25 / 0.125))
    quarter = 0.25 * (0.75 * math.log(0.75 / 0.5625)) + 0.75 * (0.5 * math.log(0.5 / 0.5625) + 0.25 * math.log(0.25 / 0.1875))
    assert [half, quarter] == pytest.approx([0.0992280935, 0.0637121388], abs=1e-9)
    assert jensen_shannon(row(*P), row(*Q).log(), 0.5).item() == pytest.approx(half)
    assert jensen_shannon(row(*P), row(*Q).log(), 0.25).item() == pytest.approx(quarter)


def test_total_variation_by_hand() -> None:
    assert total_variation(row(*P), row(*Q).log()).tolist() == pytest.approx([0.25])


def test_two_positions_are_two_values() -> None:
    """Position 1: p = (0.5, 0.25 | 0.25), q = (0.25, 0.25 | 0.5). Position 2: p = (0.75, 0 | 0.25), q = (0.5, 0.25 | 0.25)."""
    student = torch.tensor([[0.25, 0.25, 0.125, 0.375], [0.5, 0.25, 0.125, 0.125]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.5, 0.25], [0.75, 0.0]], dtype=torch.float64)
    logq = grouped_lprobs(student, torch.tensor([[0, 1], [0, 1]]))
    assert logq.exp().tolist() == [pytest.approx([0.25, 0.25, 0.5]), pytest.approx([0.5, 0.25, 0.25])]
    by_hand = [0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5), 0.75 * math.log(1.5) + 0.25 * math.log(1)]
    assert by_hand == pytest.approx([0.17328679513998632, 0.3040988310811233])
    assert forward_kl(grouped_probs(teacher, 4), logq).tolist() == pytest.approx(by_hand)


def test_each_goes_by_its_name() -> None:
    p, logq = distribution(1), distribution(2).log()
    assert torch.equal(divergence("forward_kl", p, logq, 0.5), forward_kl(p, logq))
    assert torch.equal(divergence("reverse_kl", p, logq, 0.5), reverse_kl(p, logq))
    assert torch.equal(divergence("total_variation", p, logq, 0.5), total_variation(p, logq))
    for beta in (0.1, 0.5):
        assert torch.equal(divergence("jensen_shannon", p, logq, beta), jensen_shannon(p, logq, beta))
    values = torch.stack([divergence(kind, p, logq, 0.5) for kind in KINDS])
    assert len({value.item() for value in values[:, 0]}) == 4
    with pytest.raises(KeyError):
        divergence("wasserstein", p, logq, 0.5)


# What each is known to be


@given(SEEDS, SEEDS)
def test_they_are_torchs_own(one: int, other: int) -> None:
    p, q = distribution(one), distribution(other)
    there = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1)
    back = torch.nn.functional.kl_div(p.log(), q, reduction="none").sum(-1)
    assert torch.allclose(forward_kl(p, q.log()), there)
    assert torch.allclose(reverse_kl(p, q.log()), back)
    for beta in (0.2, 0.5):
        mixed = (beta * p + (1 - beta) * q).log()
        parts = [torch.nn.functional.kl_div(mixed, side, reduction="none").sum(-1) for side in (p, q)]
        assert torch.allclose(jensen_shannon(p, q.log(), beta), beta * parts[0] + (1 - beta) * parts[1])
    assert torch.allclose(total_variation(p, q.log()), torch.nn.functional.l1_loss(q, p, reduction="none").sum(-1) / 2)


def test_the_directions_are_named_from_the_teacher() -> None:
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
        torch.autograd.grad(divergence(kind, p, torch.log_softmax(student, -1), 0.5).sum(), student)[0]
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
def test_a_teachers_zero_costs_a_finite_price(kind: str) -> None:
    """As does its gradient; the whole distribution sits where the student has nearly nothing."""
    student = torch.tensor([[0.0, 60.0, -60.0, 1.0]], requires_grad=True)
    loss = divergence(kind, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.log_softmax(student, -1), 0.5).sum()
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
    found = divergence(kind, lprobs.detach().exp(), lprobs, beta)
    assert found.abs().max() < 1e-12
    assert torch.autograd.grad(found.sum(), student)[0].abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_every_difference_costs_something(kind: str) -> None:
    p = distribution(1)
    found = divergence(kind, p, p.roll(1, -1).log(), 0.5)
    assert (found > 0.01).all()


# Merged outcomes: k kept tokens, and a bucket for all others


@pytest.mark.parametrize("kind", KINDS)
@given(teacher=SEEDS, student=SEEDS, scale=st.floats(0.1, 5.0))
def test_merging_gives_a_lower_bound_that_rises_with_k(kind: str, teacher: int, student: int, scale: float) -> None:
    """Data processing: all four are f-divergences. With k = V it is the whole one."""
    p, other = distribution(teacher, scale), logits(student, scale=scale)
    found = []
    for k in range(1, V + 1):
        probs, ids = p.topk(k, -1)
        found.append(divergence(kind, grouped_probs(probs, V), grouped_lprobs(other, ids), 0.5))
    values = torch.stack(found)
    assert (values >= -1e-12).all()
    assert (values.diff(dim=0) >= -1e-12).all()
    assert torch.allclose(values[-1], divergence(kind, p, torch.log_softmax(other, -1), 0.5))
    if teacher != student and kind != "total_variation":  # which does not see how tokens share their mass while all of them gain
        assert (values[0] < values[-1]).all()


def test_the_price_of_a_teachers_zero_is_paid_once_for_the_bucket() -> None:
    """Where reverse KL is no bound: ten zeros as one bucket hold SMALLEST once, each for itself they hold it ten times."""
    p, logq = torch.zeros(1, V, dtype=torch.float64), torch.full((1, V), -math.log(V), dtype=torch.float64)
    p[0, 0] = 1.0
    whole = reverse_kl(p, logq).item()
    merged = reverse_kl(row(1.0, 0.0), row(1 / V, 10 / V).log()).item()
    assert merged - whole == pytest.approx(10 / V * math.log(10))


# Two views of one model: the consistency of a teacher


LINES = (3, 0, 7, 12)


@pytest.fixture
def student(tiny: Tiny) -> bridge.Loaded:
    """A new model without dropout, in train mode."""
    loaded, _ = gated.built(tiny, architecture=Architecture(encoder_layers=1, decoder_layers=1, width=16, ffn=24, heads=2))
    loaded.model.train()
    return loaded


def batch(tiny: Tiny, loaded: bridge.Loaded, *lines: int) -> dict[str, Any]:
    return bridge.collate(bridge.pairs(loaded, tiny.sources, tiny.targets), lines, "cpu")


def consistent(loaded: bridge.Loaded, kind: str = "rdrop", weight: float = 3.0, smoothing: float = 0.1, **cutoff: float) -> Any:
    config = ConsistencyConfig(sentence_avg=False, label_smoothing=smoothing, kind=kind, weight=weight, **cutoff)
    return ConsistencyCriterion.build_criterion(config, loaded.task)


def stock(loaded: bridge.Loaded) -> LabelSmoothedCrossEntropyCriterion:
    return LabelSmoothedCrossEntropyCriterion(loaded.task, sentence_avg=False, label_smoothing=0.1)


def paid(criterion: Any, model: Any, sample: dict[str, Any]) -> tuple[float, Tensor, dict[str, Any]]:
    """Loss, all gradients in one row, and the log."""
    model.zero_grad()
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == log["sample_size"] == sample["ntokens"]
    return loss.item(), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]), log


class TwoViews(Model):
    """Says one thing, then another."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__(torch.stack([first, second]))
        self.passes = 0

    def forward(self, **net_input: Any) -> tuple[Tensor, None]:
        self.passes += 1
        return self.logits[self.passes - 1], None


def test_disagreement_by_hand(student: bridge.Loaded) -> None:
    """p = (1/2, 1/2, 0, 0), q = (3/4, 1/4, 0, 0) and the label is the first token; a position of padding follows, where all differs."""
    nothing = -1e4
    p = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
    q = torch.tensor([[[0.75, 0.25], [0.001, 0.999]]]).log()
    p, q = (torch.cat([side, torch.full((1, 2, 2), nothing)], -1) for side in (p, q))
    sample = {"target": torch.tensor([[0, 1]]), "ntokens": 1, "net_input": {}}
    there, back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2), 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    for kind, wanted in (
        ("simcut", -math.log(0.5) + 3.0 * there),
        ("rdrop", (-math.log(0.5) - math.log(0.75)) / 2 + 3.0 / 4 * (there + back)),
    ):
        loss, gradient, log = paid(consistent(student, kind, smoothing=0.0), TwoViews(p, q), sample)
        assert loss == pytest.approx(wanted, rel=1e-5)
        assert log["nll_loss"].item() == pytest.approx(math.log(2))
        gradient_2TV = gradient.view(2, 2, 4)
        assert (gradient_2TV[:, 0].abs().amax(-1) > 0.1).all()  # both views learn
        assert gradient_2TV[:, 1].eq(0).all()  # and padding teaches neither


@pytest.mark.parametrize("kind", ["rdrop", "simcut"])
def test_two_equal_views_agree(tiny: Tiny, student: bridge.Loaded, kind: str) -> None:
    """Without dropout and cutoff the regulariser is 0, and its gradient too. In validation it is not even asked."""
    sample = batch(tiny, student, *LINES)
    found, wanted = (paid(criterion, student.model, sample) for criterion in (consistent(student, kind), stock(student)))
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    assert torch.allclose(found[1], wanted[1], atol=1e-5)
    assert found[2]["nll_loss"].item() == pytest.approx(wanted[2]["nll_loss"].item())
    valid = paid(consistent(student, kind, cutoff=0.5).eval(), student.model, sample)
    assert valid[0] == wanted[0] and torch.equal(valid[1], wanted[1]) and valid[2] == wanted[2]


@pytest.mark.parametrize("kind", ["rdrop", "simcut"])
def test_dropout_makes_views_that_differ(tiny: Tiny, kind: str) -> None:
    loaded, _ = gated.built(tiny, dropout=0.3)
    loaded.model.train()
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(1)
        losses.append(paid(consistent(loaded, kind, weight), loaded.model, batch(tiny, loaded, *LINES))[0])
    assert losses[1] > losses[0] + 0.01


def test_cutting_off_everything_leaves_positions_alone(tiny: Tiny, student: bridge.Loaded) -> None:
    """Outside the block, and after an error inside it, words are words again."""
    model, inputs = student.model, batch(tiny, student, *LINES)["net_input"]
    tables = {id(table): table for table in (model.encoder.embed_tokens, model.decoder.embed_tokens)}
    whole = model(**inputs)[0]
    with cut_off(model, 1.0):
        assert all(table(inputs["src_tokens"]).eq(0).all() for table in tables.values())
        cut = model(**inputs)[0]
        others = {"src_tokens": inputs["src_tokens"].where(inputs["src_tokens"].eq(1), 9), "src_lengths": inputs["src_lengths"]}
        others["prev_output_tokens"] = inputs["prev_output_tokens"].where(inputs["prev_output_tokens"].eq(1), 11)
        assert torch.equal(model(**others)[0], cut)
    with pytest.raises(TypeError), cut_off(model, 1.0):
        model(nonsense=inputs)
    assert not any(table._forward_hooks for table in tables.values())
    assert torch.equal(model(**inputs)[0], whole) and not torch.allclose(whole, cut, atol=1e-3)
    with cut_off(model, 0.25):
        embedded = model.encoder.embed_tokens(torch.full((40, 50), 9))
    struck = embedded.eq(0).all(-1)
    assert torch.equal(struck, embedded.eq(0).any(-1))  # a whole token or nothing
    assert 0.22 < struck.float().mean().item() < 0.28


def test_a_batch_of_two_views_is_the_sum_of_its_sentences(tiny: Tiny, student: bridge.Loaded) -> None:
    """The second view has no words at all, so that nothing is drawn: padding changes neither view."""
    criterion = consistent(student, "simcut", cutoff=1.0)
    alone = [paid(criterion, student.model, batch(tiny, student, line))[0] for line in LINES]
    found = paid(criterion, student.model, batch(tiny, student, *LINES))[0]
    assert found == pytest.approx(sum(alone), rel=1e-5)
    assert found > paid(stock(student), student.model, batch(tiny, student, *LINES))[0] + 0.1
