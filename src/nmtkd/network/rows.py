"""The rows of a text in a model, and attention among them: by sentence with padding, or packed without any.

A packed text has one row for each token, sentence after sentence. No product is spent on padding, and texts
of about as many tokens have the same shape however long their sentences are.

Shapes: N rows of queries, M rows of keys, B sentences, S positions, C width, H heads, D = C / H.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nmtkd.network.attention import Mask, attend


class Rows(Protocol):
    """Which rows are a sentence."""

    def by_sentence(self, x_NC: Tensor) -> Tensor:
        """The rows of real text by sentence [B, S, C], a view."""

    def attend(
        self, query_NC: Tensor, key_MC: Tensor, value_MC: Tensor, keys: Any, heads: int, *, causal: bool
    ) -> Tensor:
        """Attention [N, C] of each sentence's queries to the same sentence's `keys`."""


@dataclass(frozen=True)
class Padded:
    """Sentences of equal length with padding, which `mask` [B, 1, 1, S] hides (None: there is none)."""

    shape: torch.Size  # B, S
    mask_B11S: Mask

    def by_sentence(self, x_NC: Tensor) -> Tensor:
        """The rows of real text by sentence [B, S, C], a view."""
        return x_NC[: self.shape.numel()].view(*self.shape, -1)

    def attend(
        self, query_NC: Tensor, key_MC: Tensor, value_MC: Tensor, keys: Padded, heads: int, *, causal: bool
    ) -> Tensor:
        """Attention [N, C] of each sentence's queries to the same sentence's `keys`."""
        key, value = (keys.by_sentence(x) for x in (key_MC, value_MC))
        mask = None if causal else keys.mask_B11S
        return attend(self.by_sentence(query_NC), key, value, heads, mask, causal=causal).flatten(0, 1)


@dataclass(frozen=True)
class Packed:
    """Sentences one after the other. `starts` [B + 1] are their first rows, the last the number of rows.

    A sentence may have no row, in queries and keys alike. None has more than `longest`.
    """

    starts_B: Tensor  # int32, as the kernel wants them
    longest: int

    def by_sentence(self, x_NC: Tensor) -> Tensor:
        """Not to be had: sentences differ in length."""
        raise NotImplementedError

    def attend(
        self, query_NC: Tensor, key_MC: Tensor, value_MC: Tensor, keys: Packed, heads: int, *, causal: bool
    ) -> Tensor:
        """Attention [N, C] of each sentence's queries to the same sentence's `keys`.

        On a GPU by FlashAttention, in a half type; elsewhere sentence by sentence.
        """
        if query_NC.device.type == "cpu":
            starts = list(zip(self.starts_B.tolist(), keys.starts_B.tolist(), strict=True))
            spans = [(slice(a, c), slice(b, d)) for (a, b), (c, d) in itertools.pairwise(starts)]
            return torch.cat(
                [
                    attend(
                        query_NC[None, rows], key_MC[None, of], value_MC[None, of], heads, None, causal=causal
                    )[0]
                    for rows, of in spans
                    if rows.stop > rows.start
                ]
            )
        query, key, value = (x.view(len(x), heads, -1) for x in (query_NC, key_MC, value_MC))
        attended_NHD: Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, self.starts_B, keys.starts_B, self.longest, keys.longest, 0.0, causal, False
        )[0]
        return attended_NHD.flatten(1)


@dataclass(frozen=True)
class PackedText:
    """A side of a packed batch: its tokens [N] and their positions [N] as fairseq counts them."""

    tokens_N: Tensor
    positions_N: Tensor
    rows: Packed
