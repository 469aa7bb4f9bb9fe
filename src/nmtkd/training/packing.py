"""Packed batches: a row a token, filled up to one of few sizes, so that steps of a size are one CUDA graph.

What fills up is sentences of padding of their own at the end, whose tokens weigh nothing in a loss. Nothing
attends to them, and they attend to themselves alone.

Shapes: M source and N target tokens with what fills up, B sentences likewise, K kept tokens of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmtkd.network.rows import Packed, PackedText

# Sizes are multiples of this share of max_tokens: with it, rows that fill up are about 3 % of a batch, and a
# corpus needs some twenty to eighty graphs (bench/gpu.py).
SHARE = 16
FILLING = 128  # tokens of a sentence that fills up: no longer than a long sentence, for attention's sake
LEAST_LONGEST = (
    256  # attention's bound on a sentence is a power of two from here on; two blocks of its kernel
)


@dataclass(frozen=True, order=True)
class Size:
    """The size of a packed batch. Batches of one size have tensors of equal shapes."""

    source: int  # M
    target: int  # N
    sentences: int  # B
    longest: int  # bound on the tokens of a sentence
    kept: int  # K; 0 without a teacher


@dataclass(frozen=True)
class PackedBatch:
    """A batch. All its integers are one tensor, so that it is copied at once."""

    size: Size
    integers: Tensor
    teacher_ids_NK: Tensor | None
    teacher_probs_NK: Tensor | None

    def tensors(self) -> list[Tensor]:
        """All its tensors."""
        return [x for x in (self.integers, self.teacher_ids_NK, self.teacher_probs_NK) if x is not None]

    def each(self, change: Callable[[Tensor], Tensor]) -> PackedBatch:
        """The same with each tensor changed."""
        ids_NK, probs_NK = self.teacher_ids_NK, self.teacher_probs_NK
        return PackedBatch(
            self.size,
            change(self.integers),
            None if ids_NK is None else change(ids_NK),
            None if probs_NK is None else change(probs_NK),
        )

    def copy(self, other: PackedBatch) -> None:
        """Takes the values of a batch of the same size."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs, non_blocking=True)

    def _parts(self) -> tuple[Tensor, ...]:
        size = self.size
        source, target, starts = size.source, size.target, size.sentences + 1
        return torch.split(self.integers, [source, source, target, target, target, target, starts, starts])

    def texts(self) -> tuple[PackedText, PackedText]:
        """Source and prefix."""
        source_M, source_at_M, prefix_N, prefix_at_N, _, _, *starts = self._parts()
        rows = [Packed(each.to(torch.int32), self.size.longest) for each in starts]
        return PackedText(source_M, source_at_M, rows[0]), PackedText(prefix_N, prefix_at_N, rows[1])

    def sample(self) -> dict[str, Any]:
        """What criterions read of a batch, as one sentence: target, teacher_ids and teacher_probs."""
        *_, target_N, _, _, _ = self._parts()
        found = {"target": target_N[None]}
        if self.teacher_ids_NK is not None and self.teacher_probs_NK is not None:
            found |= {"teacher_ids": self.teacher_ids_NK[None], "teacher_probs": self.teacher_probs_NK[None]}
        return found

    def real_N(self) -> Tensor:  # noqa: N802
        """1 for tokens of the batch, 0 for those that fill up; integers."""
        *_, real_N, _, _ = self._parts()
        return real_N


def pack(sample: Mapping[str, Any], pad: int, max_tokens: int) -> PackedBatch:
    """Packs fairseq's batch of at most `max_tokens` source or target tokens, on the host."""
    source_BS, prefix_BT = (sample["net_input"][name] for name in ("src_tokens", "prev_output_tokens"))
    real = source_BS.ne(pad), sample["target"].ne(pad)
    step = max(1, max_tokens // SHARE)
    filling = -(-step // FILLING)  # sentences, each with a token at least
    lengths = [each.sum(1) for each in real]
    sizes = [-(-(int(each.sum()) + filling) // step) * step for each in lengths]
    for number, each in enumerate(lengths):
        left, over = divmod(sizes[number] - int(each.sum()), filling)
        lengths[number] = torch.cat([each, torch.tensor([left + (i < over) for i in range(filling)])])
    longest, sentences = int(torch.cat(lengths).max()), len(lengths[0])
    ids_NK, probs_NK = (
        _filled(sample[name][real[1]], sizes[1]) if name in sample else None
        for name in ("teacher_ids", "teacher_probs")
    )
    size = Size(
        source=sizes[0],
        target=sizes[1],
        sentences=_power(sentences),
        longest=max(LEAST_LONGEST, _power(longest)),
        kept=0 if ids_NK is None else ids_NK.size(-1),
    )
    parts = [
        _filled(source_BS[real[0]], size.source, pad),
        _positions(lengths[0], pad),
        _filled(prefix_BT[real[1]], size.target, pad),
        _positions(lengths[1], pad),
        _filled(sample["target"][real[1]], size.target, pad),
        _filled(torch.ones(int(real[1].sum()), dtype=torch.int64), size.target),
        *(_starts(each, size.sentences) for each in lengths),
    ]
    return PackedBatch(size, torch.cat(parts), ids_NK, probs_NK)


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()


def _filled(x: Tensor, rows: int, value: int = 0) -> Tensor:
    """x with rows of a value at the end."""
    return torch.cat([x, x.new_full((rows - len(x), *x.shape[1:]), value)])


def _positions(lengths_B: Tensor, pad: int) -> Tensor:
    """Each token's position in its sentence, counted from pad + 1 as fairseq does."""
    firsts_B = lengths_B.cumsum(0) - lengths_B
    return torch.arange(int(lengths_B.sum())) - firsts_B.repeat_interleave(lengths_B) + pad + 1


def _starts(lengths_B: Tensor, sentences: int) -> Tensor:
    """First rows of sentences, empty ones at the end up to a number of them; then the number of rows."""
    ends_B = lengths_B.cumsum(0)
    return torch.cat([ends_B.new_zeros(1), ends_B, ends_B[-1:].expand(sentences - len(ends_B))])
