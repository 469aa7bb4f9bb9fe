"""nmtkd.network.attention: torch's own attention, by batched products."""

import math

import pytest
import torch
from torch import Tensor

from nmtkd.network.attention import attend

B, T, S, HEADS, D = 3, 4, 5, 2, 3


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    split = [one.view(*one.shape[:-1], HEADS, D).transpose(1, 2) for one in (query, key, value)]
    found = torch.nn.functional.scaled_dot_product_attention(
        split[0], split[1], split[2], attn_mask=mask, is_causal=causal
    )
    return found.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("kind", ["whole", "padded", "causal"])
def test_attention_is_torchs_with_its_gradients(kind: str) -> None:
    length = T if kind == "causal" else S
    given = [
        drawn(B, T, HEADS * D, seed=1),
        drawn(B, length, HEADS * D, seed=2),
        drawn(B, length, HEADS * D, seed=3),
    ]
    mask = torch.zeros(B, 1, 1, S, dtype=torch.float64) if kind == "padded" else None
    if mask is not None:
        mask[1, ..., 3:] = -torch.inf
    weights = drawn(B, T, HEADS * D, seed=4).detach()
    query, key, value = given
    found = attend(query, key, value, HEADS, mask, causal=kind == "causal")
    wanted = reference(query, key, value, mask, kind == "causal")
    assert torch.allclose(found, wanted, atol=1e-12)
    pairs = zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), given),
        strict=True,
    )
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in pairs)


def test_attention_takes_views_of_one_product() -> None:
    """As queries, keys and values come: thirds of one tensor."""
    joint = drawn(B, T, 3 * HEADS * D, seed=5)
    query, key, value = joint.chunk(3, -1)
    found = attend(query, key, value, HEADS, None, causal=True)
    wanted = reference(query.contiguous(), key.contiguous(), value.contiguous(), None, True)
    assert torch.allclose(found, wanted, atol=1e-12)
    (one,), (other,) = (torch.autograd.grad(value.square().sum(), joint) for value in (found, wanted))
    assert torch.allclose(one, other, atol=1e-12)


def test_attention_by_hand() -> None:
    """One head of one dimension: scores 0 and log 3, so that a quarter and three quarters of the values
    are taken."""
    query, key, value = (
        torch.tensor([[[1.0]]]),
        torch.tensor([[[0.0], [math.log(3)]]]),
        torch.tensor([[[4.0], [8.0]]]),
    )
    assert attend(query, key, value, 1, None, causal=False).item() == pytest.approx(7.0)


def test_masked_keys_have_no_gradient() -> None:
    query, key, value = (
        drawn(1, T, HEADS * D, seed=1),
        drawn(1, S, HEADS * D, seed=2),
        drawn(1, S, HEADS * D, seed=3),
    )
    mask = torch.zeros(1, 1, 1, S, dtype=torch.float64)
    mask[..., 2:] = -torch.inf
    for gradient in torch.autograd.grad(
        attend(query, key, value, HEADS, mask, causal=False).square().sum(), [key, value]
    ):
        assert gradient[:, 2:].eq(0).all() and gradient[:, :2].abs().min() > 0
