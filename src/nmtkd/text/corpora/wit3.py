"""WIT3, the talks of TED as IWSLT gives them out: train.tags.* for training, XML for held-out sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora import parts
from nmtkd.text.corpora.segments import Segment, Side
from nmtkd.text.corpora.tally import CorpusError, Tally


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes the splits that corpus.parts names. Errors are those of parts.read."""
    return parts.read(corpus, archives, out, _reading)


def _reading(corpus: Corpus, side: Side, name: str) -> Iterator[Segment]:
    if name.endswith(".xml"):
        return side.segments()
    if corpus.tags is None:
        raise CorpusError(
            f"{side.where}: corpus.tags is missing: which lines with tags go, and which tags; see conf/corpus"
        )
    return side.tagged(corpus.tags)
