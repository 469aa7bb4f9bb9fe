"""Settings and results of a search, shared by both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from nmtkd.plan.decoding import Decoding, Evaluate, Sampling
from nmtkd.plan.values import FLOAT32, Compute

BATCH_TOKENS = 4096  # source tokens of a batch; changes speed and memory, not the result

NBest = list[tuple[str, float]]  # an engine's (BPE text, score), best first
Group = tuple[Sequence[str], int]  # lines that share a limit, and the limit in BPE tokens


@dataclass(frozen=True, kw_only=True)
class Search:
    """Beam search (beam 1 is greedy), or `beam` samples with `sampling`.

    An output is cut at factor * (source length) + offset BPE tokens, of which there is one at least.
    `compute` is the type of CTranslate2's matrix products; fairseq has float32 alone.
    """

    beam: int
    nbest: int = 1
    length_penalty: float
    max_length_factor: float
    max_length_offset: int
    sampling: Sampling | None = None
    compute: Compute = FLOAT32

    @classmethod
    def of(cls, asked: Decoding | Evaluate, length_penalty: float) -> Search:
        """The search that params ask for, with one of their length penalties."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in asked if name in names}, length_penalty=length_penalty)

    def limit(self, length: int) -> int:
        """The maximal number of BPE tokens of an output whose source has `length`, EOS apart."""
        return max(1, int(self.max_length_factor * length) + self.max_length_offset)


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A translation in BPE.

    score = log probability / length ** length_penalty; truncated if it reached the limit.
    """

    text: str
    score: float
    truncated: bool
