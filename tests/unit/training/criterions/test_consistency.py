"""nmtkd.training.criterions.consistency: two views of one model must agree."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.criterions.consistency import ConsistencyConfig, ConsistencyCriterion, cut_off
from tests.conftest import Tiny
from tests.unit.network.building import built
from tests.unit.training.helpers import LINES, FreeLogits, stock


def batch(tiny: Tiny, loaded: bridge.Loaded, *lines: int) -> dict[str, Any]:
    return bridge.collate(bridge.pairs(loaded, tiny.sources, tiny.targets), lines, "cpu")


def consistent(
    loaded: bridge.Loaded, kind: str = "rdrop", weight: float = 3.0, smoothing: float = 0.1, **cutoff: float
) -> Any:
    config = ConsistencyConfig(
        sentence_avg=False, label_smoothing=smoothing, kind=kind, weight=weight, **cutoff
    )
    return ConsistencyCriterion.build_criterion(config, loaded.task)


def loss_in_a_row(criterion: Any, model: Any, sample: dict[str, Any]) -> tuple[float, Tensor, dict[str, Any]]:
    """Loss, all gradients in one row, and the log."""
    model.zero_grad()
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == log["sample_size"] == sample["ntokens"]
    return (
        loss.item(),
        torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]),
        log,
    )


class TwoViews(FreeLogits):
    """Says one thing, then another."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__(torch.stack([first, second]))
        self.passes = 0

    def forward(self, **net_input: Any) -> tuple[Tensor, None]:
        self.passes += 1
        return self.logits[self.passes - 1], None


def test_disagreement_by_hand(student: bridge.Loaded) -> None:
    """p = (1/2, 1/2, 0, 0), q = (3/4, 1/4, 0, 0) and the label is the first token; a position of padding
    follows, where all differs."""
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
        loss, gradient, log = loss_in_a_row(consistent(student, kind, smoothing=0.0), TwoViews(p, q), sample)
        assert loss == pytest.approx(wanted, rel=1e-5)
        assert log["nll_loss"].item() == pytest.approx(math.log(2))
        gradient_2TV = gradient.view(2, 2, 4)
        assert (gradient_2TV[:, 0].abs().amax(-1) > 0.1).all()  # both views learn
        assert gradient_2TV[:, 1].eq(0).all()  # and padding teaches neither


@pytest.mark.parametrize("kind", ["rdrop", "simcut"])
def test_two_equal_views_agree(tiny: Tiny, student: bridge.Loaded, kind: str) -> None:
    """Without dropout and cutoff the regulariser is 0, and its gradient too. In validation it is not even
    asked."""
    sample = batch(tiny, student, *LINES)
    found, wanted = (
        loss_in_a_row(criterion, student.model, sample)
        for criterion in (consistent(student, kind), stock(student))
    )
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    assert torch.allclose(found[1], wanted[1], atol=1e-5)
    assert found[2]["nll_loss"].item() == pytest.approx(wanted[2]["nll_loss"].item())
    valid = loss_in_a_row(consistent(student, kind, cutoff=0.5).eval(), student.model, sample)
    assert valid[0] == wanted[0] and torch.equal(valid[1], wanted[1]) and valid[2] == wanted[2]


@pytest.mark.parametrize("kind", ["rdrop", "simcut"])
def test_dropout_makes_views_that_differ(tiny: Tiny, kind: str) -> None:
    loaded, _ = built(tiny, dropout=0.3)
    loaded.model.train()
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(1)
        losses.append(
            loss_in_a_row(consistent(loaded, kind, weight), loaded.model, batch(tiny, loaded, *LINES))[0]
        )
    assert losses[1] > losses[0] + 0.01


def test_cutting_off_everything_leaves_positions_alone(tiny: Tiny, student: bridge.Loaded) -> None:
    """Outside the block, and after an error inside it, words are words again."""
    model, inputs = student.model, batch(tiny, student, *LINES)["net_input"]
    tables = {id(table): table for table in (model.encoder.embed_tokens, model.decoder.embed_tokens)}
    whole = model(**inputs)[0]
    with cut_off(model, 1.0):
        assert all(table(inputs["src_tokens"]).eq(0).all() for table in tables.values())
        cut = model(**inputs)[0]
        others = {
            "src_tokens": inputs["src_tokens"].where(inputs["src_tokens"].eq(1), 9),
            "src_lengths": inputs["src_lengths"],
        }
        others["prev_output_tokens"] = inputs["prev_output_tokens"].where(
            inputs["prev_output_tokens"].eq(1), 11
        )
        assert torch.equal(model(**others)[0], cut)
    with pytest.raises(TypeError), cut_off(model, 1.0):
        model(nonsense=inputs)
    assert not any(table(inputs["src_tokens"]).eq(0).all() for table in tables.values())
    assert torch.equal(model(**inputs)[0], whole) and not torch.allclose(whole, cut, atol=1e-3)
    with cut_off(model, 0.25):
        embedded = model.encoder.embed_tokens(torch.full((40, 50), 9))
    struck = embedded.eq(0).all(-1)
    assert torch.equal(struck, embedded.eq(0).any(-1))  # a whole token or nothing
    assert 0.22 < struck.float().mean().item() < 0.28


def test_consistency_of_a_batch_is_the_sum_of_its_sentences(tiny: Tiny, student: bridge.Loaded) -> None:
    """The second view has no words at all, so that nothing is drawn: padding changes neither view."""
    criterion = consistent(student, "simcut", cutoff=1.0)
    alone = [loss_in_a_row(criterion, student.model, batch(tiny, student, line))[0] for line in LINES]
    found = loss_in_a_row(criterion, student.model, batch(tiny, student, *LINES))[0]
    assert found == pytest.approx(sum(alone), rel=1e-5)
    assert found > loss_in_a_row(stock(student), student.model, batch(tiny, student, *LINES))[0] + 0.1
