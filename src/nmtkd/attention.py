"""Scaled dot-product attention for many short sequences.

On a GPU torch's fused kernel. On a CPU that kernel works through one sentence and head at a time, on one core: for sentences of ten to
twenty tokens batched products over all of them are two to three times as fast (docs/performance.md).

Shapes: B sentences, T queries, S keys, C width, H heads, D = C / H, N = B x H.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Mask = Tensor | None


def attend(query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, mask_B11S: Mask, *, causal: bool) -> Tensor:
    """softmax(q k / sqrt(D) + mask) v of each head, side by side [B, T, C]. `mask` is 0 or -inf; `causal` takes none."""
    assert mask_B11S is None or not causal
    if query_BTC.device.type == "cpu":
        return _attend_on_cpu(query_BTC, key_BSC, value_BSC, heads, mask_B11S, causal)
    query, key, value = (one.view(*one.shape[:-1], heads, -1).transpose(1, 2) for one in (query_BTC, key_BSC, value_BSC))
    found_BHTD = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_B11S, is_causal=causal)
    return found_BHTD.transpose(1, 2).flatten(2)


def _attend_on_cpu(query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, mask_B11S: Mask, causal: bool) -> Tensor:
    length = query_BTC.size(1)
    added = None if mask_B11S is None else mask_B11S.expand(-1, heads, -1, -1).flatten(0, 1)
    if causal:
        added = torch.full((1, length, length), -torch.inf, dtype=query_BTC.dtype).triu_(1)
    found: Tensor = _Attention.apply(query_BTC, key_BSC, value_BSC, heads, added)  # type: ignore[no-untyped-call]
    return found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, added: Mask) -> Tensor:
        query_NTD, key_NSD, value_NSD = (_apart(one, heads) for one in (query_BTC, key_BSC, value_BSC))
        ctx.heads, ctx.scale = heads, 1.0 / math.sqrt(query_NTD.size(-1))
        none = added is None
        start = query_NTD.new_empty(1, 1, 1) if added is None else added
        probs_NTS = torch.softmax(torch.baddbmm(start, query_NTD, key_NSD.transpose(1, 2), beta=0 if none else 1, alpha=ctx.scale), -1)
        ctx.save_for_backward(query_NTD, key_NSD, value_NSD, probs_NTS)
        return _together(torch.bmm(probs_NTS, value_NSD), heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_NTD, key_NSD, value_NSD, probs_NTS = ctx.saved_tensors
        grad_NTD = _apart(grads[0], ctx.heads)
        by_probs_NTS = torch.bmm(grad_NTD, value_NSD.transpose(1, 2))
        by_scores_NTS = torch.ops.aten._softmax_backward_data(by_probs_NTS, probs_NTS, -1, probs_NTS.dtype).mul_(ctx.scale)
        found = (
            torch.bmm(by_scores_NTS, key_NSD),
            torch.bmm(by_scores_NTS.transpose(1, 2), query_NTD),
            torch.bmm(probs_NTS.transpose(1, 2), grad_NTD),
        )
        return (*(_together(one, ctx.heads) for one in found), None, None)


def _apart(x_BTC: Tensor, heads: int) -> Tensor:
    """Heads as sequences of their own [N, T, D]."""
    sentences, length, width = x_BTC.shape
    return x_BTC.view(sentences, length, heads, width // heads).transpose(1, 2).reshape(sentences * heads, length, width // heads)


def _together(x_NTD: Tensor, heads: int) -> Tensor:
    """[N, T, D] as [B, T, C] again."""
    joined, length, width = x_NTD.shape
    return x_NTD.view(joined // heads, heads, length, width).transpose(1, 2).reshape(joined // heads, length, heads * width)
