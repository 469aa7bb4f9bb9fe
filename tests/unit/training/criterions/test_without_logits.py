"""Criterions' way without logits beside their way with logits, on a real model and truncated targets."""

from typing import Any

import pytest
import torch

from nmtkd.decoding.scoring import distributions
from nmtkd.distil.chunked_loss import ChunkedLoss, chunked_loss
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.criterions import cross_entropy
from nmtkd.training.criterions.distillation import DistillationCriterion
from nmtkd.training.dataset import HypothesesDataset, TokenTargetsDataset
from tests.conftest import Tiny
from tests.unit.training.helpers import LINES, Memory, V, bare, mixed, paid, same, word

K = 5
OPTIONS: dict[str, dict[str, Any]] = {
    "forward": {},
    "no temperature": {"temperature": 1.0},
    "reverse": {"divergence": "reverse_kl"},
    "mixed": {"divergence": "jensen_shannon", "beta": 0.3},
    "plain": {"teacher_weight": 0.0},
    "teacher alone": {"teacher_weight": 1.0},
}


@pytest.fixture
def truncated(tiny: Tiny, student: bridge.Loaded) -> dict[str, Any]:
    """Gold, other lines as hypotheses, and the tiny model's five likeliest tokens at each gold position."""
    rows = {
        line: (ids, probs)
        for line, ids, probs in distributions(tiny.folder, tiny.sources, tiny.targets, K, 2.0, 1000)
    }
    targets = Memory([rows[line] for line in range(40)])
    object.__setattr__(targets.header, "top_k", K)
    gold, said = (bridge.pairs(student, tiny.sources, side) for side in (tiny.targets, tiny.targets[::-1]))
    dataset = TokenTargetsDataset(HypothesesDataset(gold, said), targets)
    return dataset.collater([dataset[line] for line in LINES])


def both_ways(
    criterion: Any, student: bridge.Loaded, sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any]:
    """Loss, gradients and log without logits, and with them."""
    calls = []

    def counted(*given: Any) -> ChunkedLoss:
        calls.append(1)
        return chunked_loss(*given)

    monkeypatch.setattr(cross_entropy, "chunked_loss", counted)
    without = paid(criterion, student.model, sample)
    assert calls, "the way without logits was not taken"
    monkeypatch.setattr(DistillationCriterion, "needs_no_logits", lambda *_: False)
    before = len(calls)
    found = paid(criterion, student.model, sample)
    assert len(calls) == before
    return without, found


@pytest.mark.parametrize("option", OPTIONS)
def test_word_level_without_logits(
    student: bridge.Loaded, truncated: dict[str, Any], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    without, found = both_ways(word(student, **OPTIONS[option]), student, truncated, monkeypatch)
    assert same(without, found)
    for name in ("nll_loss", "loss"):
        assert float(without[2][name]) == pytest.approx(float(found[2][name]), rel=1e-5)
    assert {name: without[2][name] for name in ("ntokens", "nsentences", "sample_size")} == {
        name: found[2][name] for name in ("ntokens", "nsentences", "sample_size")
    }


def test_sample_without_logits_has_no_label(
    student: bridge.Loaded, truncated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_label = paid(word(student), student.model, truncated)
    without, found = both_ways(word(student), student, {**truncated, "sampled": True}, monkeypatch)
    assert same(without, found) and not same(without, with_label)


@pytest.mark.parametrize("gate", [None, 0.25])
def test_hybrid_without_logits(
    student: bridge.Loaded, truncated: dict[str, Any], monkeypatch: pytest.MonkeyPatch, gate: float | None
) -> None:
    """With a learnt gate that differs between sentences, whose gradients are part of it."""
    criterion = mixed(student) if gate is None else mixed(student, gate=gate)
    weights = list(criterion.parameters())
    if gate is None:
        assert criterion.gate is not None
        torch.nn.init.normal_(criterion.gate.score.weight, generator=torch.Generator().manual_seed(1))
    kept: list[list[torch.Tensor]] = []
    backward = torch.Tensor.backward

    def watched(loss: torch.Tensor) -> None:
        criterion.zero_grad()
        backward(loss)  # type: ignore[no-untyped-call]
        kept.append([weight.grad.clone() for weight in weights if weight.grad is not None])

    monkeypatch.setattr(torch.Tensor, "backward", watched)
    without, found = both_ways(criterion, student, truncated, monkeypatch)
    assert same(without, found) and without[2]["gate"] == found[2]["gate"]
    assert len(kept[0]) == (2 if gate is None else 0)
    assert all(
        torch.allclose(one, other, rtol=1e-4, atol=1e-5) and one.abs().max() > 0
        for one, other in zip(*kept, strict=True)
    )


def test_hardest_tokens_are_left_to_the_way_with_logits(
    student: bridge.Loaded, truncated: dict[str, Any]
) -> None:
    assert word(student).needs_no_logits(student.model, truncated)
    assert not word(student, hardest=0.5).needs_no_logits(student.model, truncated)
    assert not word(student, ranking={"weight": 0.5, "tokens": 2}).needs_no_logits(student.model, truncated)


def test_whole_distributions_are_left_to_the_way_with_logits(
    student: bridge.Loaded, truncated: dict[str, Any]
) -> None:
    whole = {**truncated, "teacher_ids": torch.arange(V).expand(*truncated["target"].shape, V)}
    assert not word(student).needs_no_logits(student.model, whole)
    assert word(student).needs_no_logits(student.model, truncated)
    assert word(student, teacher_weight=0.0).needs_no_logits(student.model, bare(truncated))
