"""nmtkd.network.unit_gates by hand: a gate before each unit."""

import math

import pytest
import torch
from torch import nn

from nmtkd.network.unit_gates import GatedLinear, budget_penalty, cut, most_open, openness


def filled(
    weights: list[list[float]], gates: list[list[float]], biases: tuple[list[float], list[float]]
) -> GatedLinear:
    found = GatedLinear(len(weights[0]), len(weights), 0.0)
    with torch.no_grad():
        for layer, weight, bias in zip((found.value, found.gate), (weights, gates), biases, strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
    return found


def test_gated_block_by_hand() -> None:
    """x = (1, 2). Values: 1 + 4 + 1 = 6 and 3 - 2 = 1. Gates: sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2."""
    block = filled([[1.0, 2.0], [3.0, -1.0]], [[math.log(3), 0.0], [2.0, -1.0]], ([1.0, 0.0], [0.0, 0.0]))
    assert block(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([4.5, 0.5])
    assert block.opened is not None and block.opened.tolist() == pytest.approx([0.75, 0.5])


def test_gates_start_as_open_as_asked() -> None:
    block = GatedLinear(4, 7, 2.0)
    block(torch.zeros(4))
    assert block.opened is not None and block.opened.tolist() == pytest.approx([1 / (1 + math.exp(-2.0))] * 7)
    assert block.value.bias.eq(0).all()


def test_openness_does_not_count_padding() -> None:
    """Gates of two positions of two sentences; the second position of the first sentence is padding."""
    opened = torch.tensor([[[0.2, 0.4], [0.6, 0.0]], [[99.0, 99.0], [0.1, 0.8]]])
    assert openness(opened, torch.tensor([[False, True], [False, False]])).tolist() == pytest.approx(
        [0.3, 0.4]
    )


def test_budget_penalty_by_hand() -> None:
    """Three units in two blocks: mean 0.5; o (1 - o) is 0.1875, 0.25, 0.1875."""
    opened = [torch.tensor([0.25, 0.5]), torch.tensor([0.75])]
    assert budget_penalty(opened, 0.5, 0.0).item() == 0.0
    assert budget_penalty(opened, 0.25, 0.0).item() == pytest.approx(0.0625)
    assert budget_penalty(opened, 0.25, 0.3).item() == pytest.approx(0.0625 + 0.3 * 0.625 / 3)
    assert budget_penalty([torch.tensor([0.0, 1.0])], 0.5, 9.0).item() == 0.0


def test_budget_penalty_pulls_to_the_budget_and_apart() -> None:
    unit = torch.tensor([0.4, 0.6], requires_grad=True)
    assert torch.autograd.grad(budget_penalty([unit], 0.25, 0.0), unit)[0].tolist() == pytest.approx(
        [0.25, 0.25]
    )
    low, high = torch.autograd.grad(budget_penalty([unit], 0.5, 1.0), unit)[0].tolist()
    assert low == pytest.approx(0.1) and high == pytest.approx(-0.1)  # the closed closes, the open opens


@pytest.mark.parametrize("how", ["closed", "unheard"])
def test_cutting_units_that_say_nothing_changes_nothing(how: str) -> None:
    """Closed gates: sigmoid(-200) is 0 in float32; unheard: no weight leads on. Up to the order of a sum's
    terms."""
    torch.manual_seed(1)
    block, after = GatedLinear(6, 9, 0.5), nn.Linear(9, 5)
    keep = torch.tensor([True, False, True, True, False, False, True, True, True])
    with torch.no_grad():
        if how == "closed":
            block.gate.weight[~keep], block.gate.bias[~keep] = 0.0, -200.0
        else:
            after.weight[:, ~keep] = 0.0
    x = torch.randn(4, 3, 6)
    smaller, following = cut(block, after, keep)
    assert (smaller.value.out_features, smaller.gate.out_features, following.in_features) == (6, 6, 6)
    assert torch.allclose(following(smaller(x)), after(block(x)), rtol=0, atol=1e-6)
    assert torch.equal(smaller(x), block(x)[..., keep])


def test_closed_units_stay_closed_whatever_is_learnt() -> None:
    """Momentum that it had and weight decay do not open it; the others learn on."""
    torch.manual_seed(1)
    block, after = GatedLinear(6, 9, 0.5), nn.Linear(9, 5)
    parameters = [*block.parameters(), *after.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01)
    closed, before = torch.arange(9) % 3 == 0, block.value.weight.clone()
    assert block.kept().all()
    for step in range(60):
        if step == 10:
            block.close(closed)
        optimizer.zero_grad()
        (after(block(torch.randn(4, 6))) - 3.0).square().sum().backward()
        optimizer.step()
    block(torch.randn(50, 6) * 10.0)
    assert (
        block.opened is not None
        and block.opened[:, closed].eq(0.0).all()
        and block.opened[:, ~closed].mean() > 0.1
    )
    assert torch.equal(block.kept(), ~closed) and not torch.allclose(before, block.value.weight)


def test_most_open_units_stay_and_one_of_each_block() -> None:
    """Half of five are two; of equal ones the first; the closed block keeps its best."""
    opened = [torch.tensor([0.9, 0.5, 0.5]), torch.tensor([0.1, 0.2])]
    assert [one.tolist() for one in most_open(opened, 0.5)] == [[True, True, False], [False, True]]
    assert [one.tolist() for one in most_open(opened, 1.0)] == [[True] * 3, [True] * 2]
    assert [one.tolist() for one in most_open(opened, 0.01)] == [[True, False, False], [False, True]]


def test_cutting_units_that_speak_takes_out_their_part() -> None:
    block = filled([[1.0], [2.0]], [[0.0], [0.0]], ([0.0, 0.0], [0.0, 0.0]))
    after = nn.Linear(2, 1)
    smaller, following = cut(block, after, torch.tensor([False, True]))
    whole, rest = after(block(torch.ones(1))), following(smaller(torch.ones(1)))
    assert (whole - rest).item() == pytest.approx(0.5 * after.weight[0, 0].item())
