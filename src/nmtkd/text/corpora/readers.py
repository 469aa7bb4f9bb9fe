"""The readers of corpora: each turns archives into line-aligned text and counts what it drops or changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtkd.files import write_json
from nmtkd.plan.data import Archive, Corpus
from nmtkd.plan.layout import CARD
from nmtkd.text.corpora import catalogue, checksums, homeassistant, multi30k, own_files, parts, wit3, wmt
from nmtkd.text.corpora.tally import CorpusError, Tally


def _all_archives(corpus: Corpus) -> list[Archive]:
    return list(corpus.archives)


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    `read(corpus, archives, out)` writes the text into the folder `out`. `needed` chooses the archives that it
    reads.
    """

    read: Callable[[Corpus, dict[str, Path], Path], Tally]
    needed: Callable[[Corpus], list[Archive]] = _all_archives


READERS = {
    "homeassistant": Reader(homeassistant.read),
    "multi30k": Reader(multi30k.read, needed=multi30k.needed),
    "files": Reader(own_files.read),
    "mtdata": Reader(catalogue.read, needed=catalogue.needed),
    "wit3": Reader(wit3.read, needed=parts.needed),
    "wmt": Reader(wmt.read, needed=parts.needed),
}


def _reader(corpus: Corpus) -> Reader:
    if corpus.reader not in READERS:
        raise CorpusError(
            f"corpus.reader: must be one of {', '.join(READERS)}; got {corpus.reader!r}; "
            "correct it, or write that reader and add it to READERS in src/nmtkd/text/corpora/readers.py"
        )
    return READERS[corpus.reader]


def needed(corpus: Corpus) -> list[Archive]:
    """The archives that this pair and these test sets are read from.

    Raises CorpusError if the corpus lacks one, or if its reader is unknown.
    """
    return _reader(corpus).needed(corpus)


def extract(corpus: Corpus, archives: dict[str, Path], out: Path) -> dict[str, Any]:
    """Writes the corpus into `out` as line-aligned text, with its card. Returns the card.

    `archives` maps the name of each needed archive to a file whose checksum was verified. A corpus that comes
    split becomes NAME.src and NAME.tgt for train, valid and each test set. Any other becomes all.src, all.tgt
    and all.group: the group of each pair, which a split keeps together. Raises CorpusError or
    ParallelTextError.
    """
    reader = _reader(corpus)
    out.mkdir(parents=True, exist_ok=True)
    tally = reader.read(corpus, archives, out)
    card = {
        "corpus": corpus.name,
        "reader": corpus.reader,
        "source": corpus.source,
        "target": corpus.target,
        "license": corpus.license,
        "archives": [checksums.card(archive, archives[archive.name]) for archive in reader.needed(corpus)],
        "pairs": tally.pairs,
        "dropped": dict(tally.dropped),
        "changed": dict(tally.changed),
        **tally.facts,
    }
    write_json(out / CARD, card)
    return card
