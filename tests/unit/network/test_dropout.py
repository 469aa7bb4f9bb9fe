"""nmtkd.network.dropout: the rate is met, the mean stays, and torch's seed decides."""

import pytest
import torch

from nmtkd.network.dropout import STEPS, Dropout

WIDTH = 32
ONES = torch.ones(50, 20, WIDTH)


def made(rate: float, seed: int = 1, places: int = 2) -> Dropout:
    torch.manual_seed(seed)
    return Dropout(rate, ONES, places)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
def test_dropout_zeroes_at_the_rate_and_scales_the_rest(rate: float) -> None:
    found = made(rate)(ONES)
    kept = found[found != 0]
    exact = round(rate * STEPS) / STEPS  # sixteen bits
    assert abs(exact - rate) <= 1 / (2 * STEPS)
    assert kept.min().item() == kept.max().item() == pytest.approx(1 / (1 - exact))
    share = 1 - len(kept) / ONES.numel()
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / ONES.numel()) ** 0.5)


def test_dropout_differs_by_place_and_seed_alone() -> None:
    one, two, other = made(0.3), made(0.3), made(0.3, seed=2)
    first, second = one(ONES), one(ONES)
    assert torch.equal(first, two(ONES)) and torch.equal(second, two(ONES))
    assert not torch.equal(first, second) and not torch.equal(first, other(ONES))
    alike = (first.eq(0) & second.eq(0)).float().mean().item()
    assert alike == pytest.approx(0.09, abs=0.01)  # independent: the product of both rates


def test_dropout_onto_a_residual_is_the_same_draw() -> None:
    x, residual = torch.randn(50, 20, WIDTH), torch.randn(50, 20, WIDTH)
    assert torch.allclose(made(0.3).add(x, residual), residual + made(0.3)(x), atol=1e-6)


def test_dropouts_gradient_passes_where_values_pass() -> None:
    x = ONES.clone().requires_grad_()
    found = made(0.3).add(x, torch.zeros_like(ONES))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and torch.equal(x.grad, found.detach())


def test_dropout_of_rate_0_draws_nothing_and_changes_nothing() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    dropout = Dropout(0.0, ONES, 2)
    assert torch.equal(dropout(ONES), ONES) and torch.equal(dropout.add(ONES, ONES), 2 * ONES)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_at_more_places_than_named_is_an_error() -> None:
    dropout = made(0.3, places=1)
    dropout(ONES)
    with pytest.raises(IndexError):
        dropout(ONES)
