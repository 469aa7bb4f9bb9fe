"""Scaled dot-product attention for many short sequences.

On a GPU torch's fused kernel computes it. On a CPU that kernel handles one sentence and head at a time, on
one core. There batched matrix products are two to three times as fast for sentences of ten to twenty tokens
(docs/performance.md). They are in float32 also where their input is of a half type: so small a product takes
less than the compilation of its kernel.

Shapes: B sentences, T queries, S keys, C width, H heads, D = C / H, N = B x H.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nmtkd.network.precision import as_written, exact

Mask = Tensor | None


def attend(
    query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, mask_B11S: Mask, *, causal: bool
) -> Tensor:
    """softmax(q k / sqrt(D) + mask) v of each head, concatenated [B, T, C].

    `mask` holds 0 or -inf; it must be None where `causal`.
    """
    assert mask_B11S is None or not causal
    if query_BTC.device.type == "cpu":
        return _attend_on_cpu(query_BTC, key_BSC, value_BSC, heads, mask_B11S, causal)
    query, key, value = (
        x.view(*x.shape[:-1], heads, -1).transpose(1, 2) for x in (query_BTC, key_BSC, value_BSC)
    )
    mask = None if mask_B11S is None else mask_B11S.to(query.dtype)
    output_BHTD = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )
    return output_BHTD.transpose(1, 2).flatten(2)


def _attend_on_cpu(
    query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, mask_B11S: Mask, causal: bool
) -> Tensor:
    length = query_BTC.size(1)
    added = None if mask_B11S is None else mask_B11S.expand(-1, heads, -1, -1).flatten(0, 1)
    if causal:
        added = torch.full((1, length, length), -torch.inf, dtype=exact(query_BTC.dtype)).triu_(1)
    output_BTC: Tensor = _Attention.apply(query_BTC, key_BSC, value_BSC, heads, added)  # type: ignore[no-untyped-call]
    return output_BTC


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_BTC: Tensor, key_BSC: Tensor, value_BSC: Tensor, heads: int, added: Mask
    ) -> Tensor:
        query_NTD, key_NSD, value_NSD = (_split_heads(x, heads) for x in (query_BTC, key_BSC, value_BSC))
        ctx.heads, ctx.dtype, ctx.scale = heads, query_BTC.dtype, 1.0 / math.sqrt(query_NTD.size(-1))
        none = added is None
        start = query_NTD.new_empty(1, 1, 1) if added is None else added
        probs_NTS = torch.softmax(
            torch.baddbmm(start, query_NTD, key_NSD.transpose(1, 2), beta=0 if none else 1, alpha=ctx.scale),
            -1,
        )
        ctx.save_for_backward(query_NTD, key_NSD, value_NSD, probs_NTS)
        return _join_heads(torch.bmm(probs_NTS, value_NSD), heads, query_BTC.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_NTD, key_NSD, value_NSD, probs_NTS = ctx.saved_tensors
        with as_written(grads[0]):
            grad_NTD = _split_heads(grads[0], ctx.heads)
            grad_probs_NTS = torch.bmm(grad_NTD, value_NSD.transpose(1, 2))
            grad_scores_NTS = torch.ops.aten._softmax_backward_data(
                grad_probs_NTS, probs_NTS, -1, probs_NTS.dtype
            ).mul_(ctx.scale)
            input_grads = (
                torch.bmm(grad_scores_NTS, key_NSD),
                torch.bmm(grad_scores_NTS.transpose(1, 2), query_NTD),
                torch.bmm(probs_NTS.transpose(1, 2), grad_NTD),
            )
        return (*(_join_heads(grad, ctx.heads, ctx.dtype) for grad in input_grads), None, None)


def _split_heads(x_BTC: Tensor, heads: int) -> Tensor:
    """[B, T, C] as one sequence a head [N, T, D], in float32 or float64."""
    sentences, length, width = x_BTC.shape
    split_BHTD = x_BTC.view(sentences, length, heads, width // heads).transpose(1, 2)
    x_BHTD = torch.empty(split_BHTD.shape, dtype=exact(x_BTC.dtype)).copy_(split_BHTD)
    return x_BHTD.view(sentences * heads, length, width // heads)


def _join_heads(x_NTD: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """[N, T, D] as [B, T, C] of a type."""
    sequences, length, width = x_NTD.shape
    x_BTHD = x_NTD.view(sequences // heads, heads, length, width).transpose(1, 2)
    joined_BTHD = torch.empty(x_BTHD.shape, dtype=dtype).copy_(x_BTHD)
    return joined_BTHD.view(sequences // heads, length, heads * width)
