"""nmtkd.training.criterions.cross_entropy: the stock loss, and the budget of gated units."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from omegaconf import open_dict
from torch import nn

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.gated import blocks
from nmtkd.plan.models import UnitGates
from nmtkd.training.criterions.cross_entropy import (
    CrossEntropyConfig,
    CrossEntropyCriterion,
    use_chunked_cross_entropy,
)
from nmtkd.training.task import DistillationTask
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, batches, built, various

PADDED = {"src_tokens": (3, 0), "prev_output_tokens": (0, 2)}


@pytest.mark.parametrize(
    ("update", "penalty"),
    [(0, 0.0625), (5, 0.0625 + 0.5 * 0.4 * 0.25), (9, 0.0625 + 0.9 * 0.4 * 0.25), (10, 0.0), (30, 0.0)],
)
def test_budget_is_paid_beside_the_loss_a_token(tiny: Tiny, update: int, penalty: float) -> None:
    """All gates are at 1/2; the budget is 1/4, polarity grows within 10 updates.

    The task says which update it is. Padding on either side changes nothing.
    """
    loaded, _ = various(tiny, steady=True)
    for _, layer in blocks(loaded.model):
        layer.fc1.gate.bias.data.zero_()
    gates = UnitGates(budget=0.25, weight=2.0, polarity=0.4, closing=10, opening=0.0).model_dump_json()
    config = CrossEntropyConfig(sentence_avg=False, label_smoothing=0.1, unit_gates=gates)
    criterion = CrossEntropyCriterion(loaded.task, config)
    stock = LabelSmoothedCrossEntropyCriterion(loaded.task, sentence_avg=False, label_smoothing=0.1)
    task, sample = (
        DistillationTask(loaded.task.cfg, loaded.dictionary, loaded.dictionary),
        batches(tiny, loaded)[0],
    )
    found, size, log = task.train_step(
        sample, loaded.model, criterion, SimpleNamespace(backward=lambda loss: None), update
    )
    assert found.item() == pytest.approx(
        stock(loaded.model, sample)[0].item() + size * 2.0 * penalty, rel=1e-6
    )
    assert (log["openness"] / log["nsentences"], log["loss"], size) == (
        pytest.approx(0.5),
        found,
        sample["ntokens"],
    )
    assert torch.equal(criterion.eval()(loaded.model, sample)[0], stock(loaded.model, sample)[0])
    for _, layer in blocks(loaded.model):
        layer.fc1.gate.weight.data = torch.randn(24, 16, generator=torch.Generator().manual_seed(1))
    inputs = {
        name: nn.functional.pad(sample["net_input"][name], sides, value=1) for name, sides in PADDED.items()
    }
    wide = {
        **sample,
        "target": nn.functional.pad(sample["target"], (0, 2), value=1),
        "net_input": {**sample["net_input"], **inputs},
    }
    losses = [criterion.train()(loaded.model, one)[0].item() for one in (sample, wide)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and abs(losses[0] - found.item()) > 1e-3


def test_use_chunked_cross_entropy_is_of_the_stock_value(tiny: Tiny) -> None:
    """The same loss and gradients; in validation to the last bit."""
    loaded, _ = built(tiny, architecture=PLAIN)
    cfg = bridge.configuration(tiny.command)
    with open_dict(cfg):
        use_chunked_cross_entropy(cfg)
    criterion = loaded.task.build_criterion(cfg.criterion)
    assert isinstance(criterion, CrossEntropyCriterion) and criterion.unit_gates is None
    stock = LabelSmoothedCrossEntropyCriterion(loaded.task, sentence_avg=False, label_smoothing=0.1)
    sample, seen = batches(tiny, loaded)[0], []
    for one in (criterion.train(), stock):
        loaded.model.train().zero_grad()
        loss, size, log = one(loaded.model, sample)
        loss.backward()
        gradients = [weight.grad.clone() for weight in loaded.model.parameters()]
        seen.append((loss.item(), size, log["nll_loss"].item(), gradients))
    assert seen[0][:3] == pytest.approx(seen[1][:3], rel=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(seen[0][3], seen[1][3], strict=True))
    loaded.model.eval()
    assert torch.equal(criterion.eval()(loaded.model, sample)[0], stock.eval()(loaded.model, sample)[0])
