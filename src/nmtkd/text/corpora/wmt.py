"""WMT's shared tasks: plain lines, and sgm for test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora import parts
from nmtkd.text.corpora.segments import Segment, Side
from nmtkd.text.corpora.tally import Tally


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes the splits that corpus.parts names. Errors are those of parts.read."""
    return parts.read(corpus, archives, out, _reading)


def _reading(corpus: Corpus, side: Side, name: str) -> Iterator[Segment]:
    return side.segments() if name.endswith(".sgm") else side.plain()
