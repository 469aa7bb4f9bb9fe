"""nmtkd.network.precision and what computes in it: bfloat16 is float64 within its rounding."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd.network import precision, transformer
from nmtkd.network.attention import attend
from nmtkd.network.dropout import Dropout
from tests.conftest import Tiny
from tests.unit.network.building import built
from tests.unit.network.test_transformer import BIAS, KINDS, batch, gradients

# A rounding to bfloat16, which has eight bits, moves a number by at most this share of it. A value of these
# models goes through some ten before the last norm: errors of both signs add up to the root of that.
ROUNDING = 2.0**-8
DEEP = 3 * ROUNDING


def apart(found: Tensor, wanted: Tensor) -> float:
    """Norm of the difference, as a share of the norm of what is wanted."""
    return float((found.double() - wanted).norm() / wanted.norm())


def in_bfloat16() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_gradients_are_float64s_within_rounding(tiny: Tiny, kind: str) -> None:
    loaded, _ = built(tiny, **KINDS[kind])
    model, sample = loaded.model, batch(loaded, tiny)
    exact = copy.deepcopy(model).double()
    real = sample["target"].ne(1)
    with in_bfloat16():
        features = transformer.features(model, **sample["net_input"])
    assert features.dtype == torch.bfloat16 and features.shape[:2] == real.shape
    wanted = exact(**sample["net_input"], features_only=True)[0]
    assert ROUNDING / 10 < apart(features[real], wanted[real]) < DEEP  # above: it is no float32 in disguise
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)) * real.unsqueeze(-1)
    ours, theirs = gradients(model, (features * weights).sum()), gradients(exact, (wanted * weights).sum())
    assert ours.keys() == theirs.keys() and {one.dtype for one in ours.values()} == {torch.float32}
    names = [name for name in theirs if not name.endswith(BIAS)]
    flat = [torch.cat([one[name].flatten() for name in names]) for one in (ours, theirs)]
    assert apart(*flat) < 2 * DEEP  # there and back
    # Of one matrix more: where rounding flips a unit at zero, a whole term comes or goes.
    assert max(apart(ours[name], theirs[name]) for name in names) < 5 * DEEP


def test_a_models_own_type_is_kept_without_autocast(tiny: Tiny) -> None:
    loaded, _ = built(tiny)
    sample = batch(loaded, tiny)
    for model in (loaded.model, copy.deepcopy(loaded.model).double()):
        found = transformer.features(model, **sample["net_input"])
        assert found.dtype == model.decoder.embed_tokens.weight.dtype


def test_autocast_is_as_before_after_a_pass(tiny: Tiny) -> None:
    """A stock layer that follows must still be in bfloat16."""
    loaded, _ = built(tiny)
    with in_bfloat16():
        transformer.features(loaded.model, **batch(loaded, tiny)["net_input"])
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("rows", "wanted"), [(1, 64), (64, 64), (65, 128)])
def test_rows_are_padded_by_zeros_where_kernels_are_compiled(rows: int, wanted: int) -> None:
    x = torch.ones(rows, 3)
    assert precision.padded(x) is x
    found = precision.padded(x.bfloat16())
    assert found.shape == (wanted, 3) and found[:rows].eq(1).all() and found[rows:].eq(0).all()


def test_attention_is_exact_up_to_its_input_and_output() -> None:
    """Softmax and its products are in float32: what is left is one rounding of the result."""
    drawn = torch.Generator().manual_seed(1)
    given = [(3 * torch.randn(2, 5, 8, generator=drawn)).bfloat16().requires_grad_() for _ in range(3)]
    exact = [one.detach().double().requires_grad_() for one in given]
    found, wanted = (attend(q, k, v, 2, None, causal=True) for q, k, v in (given, exact))
    assert found.dtype == torch.bfloat16 and torch.allclose(found.double(), wanted, rtol=ROUNDING, atol=1e-6)
    weights = torch.randn(2, 5, 8, generator=drawn).bfloat16()
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), exact),
        strict=True,
    ):
        assert torch.allclose(one.double(), other, rtol=ROUNDING, atol=1e-6)


def test_dropout_drops_the_same_in_each_type() -> None:
    """The scale is of float32 in each: 1 / 0.9 in eight bits would make all values too small."""
    x = torch.linspace(1.0, 2.0, 640).bfloat16().float().view(40, 16)
    dropped = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(1)
        dropout, like = Dropout(0.1, x, 2), x.to(dtype)
        dropped.append((dropout(like), dropout.add(like, torch.ones_like(like))))
    assert all(torch.equal(one.bfloat16(), other) for one, other in zip(*dropped, strict=True))
    assert 0 < int(dropped[0][0].eq(0).sum()) < x.numel()
