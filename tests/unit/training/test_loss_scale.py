"""nmtkd.training.loss_scale: the scale of a loss in float16, when it falls and when it rises."""

import pytest
import torch

from nmtkd.plan.values import BFLOAT16, FLOAT16, FLOAT32
from nmtkd.training.loss_scale import LossScale

FINITE, INFINITE, NOTHING = (torch.tensor(value) for value in (3.0, torch.inf, torch.nan))


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
def test_other_precisions_have_none(precision: str) -> None:
    """Whatever the gradient is: nothing is computed again, and nobody waits for a GPU to know."""
    scale = LossScale(precision)
    assert all(scale.fits(norm) for norm in (FINITE, INFINITE, NOTHING) * 1000) and scale.value == 1.0


def test_scale_is_halved_until_the_gradient_is_finite_and_no_further_than_1() -> None:
    scale = LossScale(FLOAT16)
    assert scale.value == 128.0 and scale.fits(FINITE) and scale.value == 128.0
    assert not scale.fits(INFINITE) and scale.value == 64.0
    assert not scale.fits(NOTHING) and scale.value == 32.0
    assert [scale.fits(INFINITE) for _ in range(6)] == [False] * 5 + [True] and scale.value == 1.0


def test_scale_doubles_after_2000_updates_in_a_row_that_fitted() -> None:
    scale = LossScale(FLOAT16)
    for _ in range(1999):
        scale.fits(FINITE)
    scale.fits(INFINITE)
    for _ in range(1999):
        scale.fits(FINITE)
    assert scale.value == 64.0
    goes_on = LossScale(FLOAT16)
    goes_on.load(scale.state())
    for one in (scale, goes_on):
        one.fits(FINITE)
        assert one.value == 128.0
    for _ in range(20 * 2000):
        scale.fits(FINITE)
    assert scale.value == 32768.0
